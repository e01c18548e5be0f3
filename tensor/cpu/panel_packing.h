// Rows of a matrix in the order in which micro-kernels read them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/panel_tiles.h"
#include "graft/tensor/parallel.h"
#include "graft/tensor/tensor.h"

namespace graft::cpu_kernels {

inline int64_t parts(int64_t n, int64_t largest) {
  return (n + largest - 1) / largest;
}

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

/// [0, n) in `count` parts of nearly equal size that begin at multiples of `step`.
struct Cut {
  int64_t n, count, step = 1;
  Range operator[](int64_t i) const {
    const int64_t steps = parts(n, step);
    return {std::min(n, steps * i / count * step), std::min(n, steps * (i + 1) / count * step)};
  }
};

/// As few such parts as none of them needs to be larger than `largest`, a multiple of `step`.
inline Cut cut(int64_t n, int64_t largest, int64_t step = 1) {
  return {n, std::max<int64_t>(1, parts(n, largest)), step};
}

/// What is multiplied: floats, or pairs of bf16 in one word.
template <class Number>
inline constexpr int64_t per_word = std::is_same_v<Number, float> ? 1 : 2;

/// Columns of rows of a row-major matrix as words: floats, or pairs of bf16. In place where they
/// are that already, else converted into `scratch`, with zeros from column `limit` on.
template <class Number, class T>
const float* read_words(const T* x, int64_t stride, int64_t rows, Range columns, int64_t limit,
                        float* scratch, int64_t* word_stride) {
  constexpr int64_t step = per_word<Number>;
  using Half = std::conditional_t<step == 1, float, bf16>;
  const bool all_there = columns.end <= limit && stride % step == 0;
  if constexpr (std::is_same_v<T, Half>) {
    if (all_there) {
      *word_stride = stride / step;
      return reinterpret_cast<const float*>(x + columns.begin);
    }
  }
  *word_stride = columns.size() / step;
  Half* out = reinterpret_cast<Half*>(scratch);
  const int64_t count = std::min(columns.end, limit) - columns.begin;
  for (int64_t i = 0; i < rows; ++i, out += columns.size()) {
    const T* row = x + i * stride + columns.begin;
    for (int64_t k = 0; k < count; ++k)
      out[k] = convert<Half>(row[k]);
    for (int64_t k = std::max<int64_t>(count, 0); k < columns.size(); ++k)
      out[k] = Half(0.0F);
  }
  return scratch;
}

/// Columns of rows of a row-major matrix, transposed: out (columns, width), for pairs (columns / 2,
/// width, 2). Zeros stand for columns from `limit` on and for rows up to `width`.
template <class Number, class T>
void transpose(const TileKernels& kernels, const T* x, int64_t stride, int64_t rows, Range columns,
               int64_t limit, int64_t width, Number* out) {
  Tensor scratch = Tensor::empty({rows, columns.size()});
  int64_t word_stride = 0;
  const float* words =
      read_words<Number>(x, stride, rows, columns, limit, scratch.data<float>(), &word_stride);
  kernels.transpose(words, word_stride, static_cast<int>(rows), columns.size() / per_word<Number>,
                    static_cast<int>(width), reinterpret_cast<float*>(out));
}

/// How the rows of a block are grouped into tiles.
struct TileRows {
  int64_t largest;
  bool padded;  ///< all tiles have the largest size, with rows of zeros in the last one

  Cut tiles(int64_t rows) const {
    return padded ? Cut{parts(rows, largest) * largest, parts(rows, largest), largest}
                  : cut(rows, largest);
  }
};

/// A row-major matrix (rows, columns) of a floating dtype: by blocks of rows, in these by blocks of
/// columns, in these by tiles of rows, in these column after column.
template <class Number>
class PackedRows {
 public:
  PackedRows(const TileKernels& kernels, const TensorView& x, const Cut& blocks, const Cut& depths,
             TileRows tile_rows)
      : kernels_(kernels), blocks_(blocks), depths_(depths), tile_rows_(tile_rows) {
    block_words_ = padded_block_rows() * depths.n / per_word<Number>;
    storage_ = Tensor::empty({block_words_ * blocks.count}, DType::f32);
    data_ = reinterpret_cast<Number*>(storage_.data<float>());
    visit_float(x.dtype, [&]<class T>() {
      parallel_for(blocks.count * depths.count, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          pack(x.as<T>(), x.sizes[1], i / depths_.count, i % depths_.count);
      });
      return KernelStatus::done;
    });
  }

  /// The tiles of a block, found once so that loops over tiles divide nothing.
  std::vector<Range> tiles(int64_t block) const {
    const Cut cut = cut_of(block);
    std::vector<Range> result;
    result.reserve(static_cast<size_t>(cut.count));
    for (int64_t t = 0; t < cut.count; ++t)
      result.push_back(cut[t]);
    return result;
  }
  /// The tiles of some columns of a block: each (columns, rows of the tile).
  class Columns {
   public:
    Columns(const Number* data, int64_t row_words) : data_(data), row_words_(row_words) {}
    const Number* tile(Range rows) const { return data_ + rows.begin * row_words_; }

   private:
    const Number* data_;
    int64_t row_words_;
  };
  Columns columns(int64_t block, int64_t depth) const {
    return {data_ + offset(block, depth, 0), depths_[depth].size() / per_word<Number>};
  }

 private:
  /// Rows of the largest block, padding included.
  int64_t padded_block_rows() const {
    const int64_t rows = parts(blocks_.n, blocks_.count) + blocks_.step - 1;
    return tile_rows_.tiles(rows).n;
  }
  Cut cut_of(int64_t block) const { return tile_rows_.tiles(blocks_[block].size()); }
  int64_t offset(int64_t block, int64_t depth, int64_t row) const {
    const Range columns = depths_[depth];
    const int64_t before = columns.begin * cut_of(block).n + row * columns.size();
    return block * block_words_ + before / per_word<Number>;
  }

  template <class T>
  void pack(const T* x, int64_t columns, int64_t block, int64_t depth) {
    const Range rows = blocks_[block];
    for (const Range tile : tiles(block)) {
      const int64_t real = std::min(tile.end, rows.size()) - tile.begin;
      transpose<Number>(kernels_, x + (rows.begin + tile.begin) * columns, columns, real,
                        depths_[depth], columns, tile.size(),
                        data_ + offset(block, depth, tile.begin));
    }
  }

  const TileKernels& kernels_;
  Cut blocks_, depths_;
  TileRows tile_rows_;
  int64_t block_words_ = 0;
  Tensor storage_;
  Number* data_ = nullptr;
};

}  // namespace graft::cpu_kernels
