#include <algorithm>
#include <array>

#include "graft/tensor/cpu/panel_packing.h"
#include "graft/tensor/cpu/panel_product.h"
#include "graft/tensor/cpu/panel_terms.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

// The columns of w that one work item multiplies, as far as the panels of a block reach, stay in a
// second-level cache, and so does a tile of dy, 32 rows of it, while all of these columns meet it.
// Fixed, as in the forward product.
constexpr int64_t block_rows = 352;
constexpr int64_t block_panels = 12;
constexpr int64_t group_columns = 96;
static_assert(group_columns % panel_width == 0);

/// The tiles of some columns of consecutive panels.
template <class Number>
class Tiles {
 public:
  explicit Tiles(const PanelMatrix& w)
      : w_(w), buffer_(Tensor::empty({block_panels * group_columns * panel_width})) {}

  void fetch(Range panels, Range columns) {
    for (int64_t i = 0; i < panels.size(); ++i) {
      Number* buffer =
          reinterpret_cast<Number*>(buffer_.data<float>()) + i * group_columns * row_words;
      tiles_[static_cast<size_t>(i)] = tile(panels.begin + i, columns, buffer);
    }
  }
  /// Row `column` of each tile: 32 numbers along n.
  std::array<const Number*, block_panels> rows(int64_t column) const {
    std::array<const Number*, block_panels> result{};
    for (size_t i = 0; i < result.size(); ++i)
      result[i] = tiles_[i] + column * row_words;
    return result;
  }

 private:
  static constexpr int64_t row_words = panel_width / per_word<Number>;

  const Number* tile(int64_t panel, Range columns, Number* buffer) const {
    if constexpr (std::is_same_v<Number, float>)
      return w_.floats(w_, panel, columns.begin, columns.size(), buffer);
    else
      return w_.pairs_along_n(w_, panel, columns.begin, columns.size(), buffer);
  }

  const PanelMatrix& w_;
  Tensor buffer_;
  std::array<const Number*, block_panels> tiles_{};
};

template <class Number>
auto backward_of(const TileKernels& kernels) {
  if constexpr (std::is_same_v<Number, float>)
    return kernels.backward;
  else
    return kernels.backward_pairs;
}

/// (32 columns, 32 rows) of sums -> 32 columns of `rows` rows.
void turn(const TileKernels& kernels, const float* sums, int64_t rows, float* out, int64_t stride) {
  std::array<float, panel_width * panel_width> turned;
  kernels.transpose(sums, panel_width, panel_width, panel_width, panel_width, turned.data());
  for (int64_t i = 0; i < rows; ++i)
    std::copy_n(turned.data() + i * panel_width, panel_width, out + i * stride);
}

template <class Number>
void backward(const PanelMatrix& w, const LinearBackwardArgs& args) {
  const TileKernels& kernels = *w.kernels;
  const int64_t panels = parts(w.n, panel_width);
  const Cut blocks = cut(args.dy.sizes[0], block_rows, panel_width);
  const Cut panel_blocks = cut(panels, block_panels);
  const Cut depths{panels * panel_width, panel_blocks.count, panel_width};
  const int64_t groups = parts(w.k, group_columns);
  const PackedRows<Number> dy(kernels, args.dy, blocks, depths, TileRows{panel_width, true});
  const LowRankTerm low_rank(kernels, args.g, args.a, false, blocks);
  const auto tile_kernel = backward_of<Number>(kernels);
  const auto run = [&](int64_t block, int64_t group) {
    const Range rows = blocks[block];
    const int64_t row_tiles = std::ssize(dy.tiles(block));
    const Range columns{group * group_columns, std::min(w.depth, (group + 1) * group_columns)};
    // (row tile, column of the group, 32 rows)
    Tensor sums = Tensor::empty({row_tiles, group_columns, panel_width});
    const auto sums_of = [&](int64_t tile, int64_t column) {
      return sums.data<float>() + (tile * group_columns + column) * panel_width;
    };
    const Cut column_tiles = cut(columns.size(), kernels.rows);
    Tiles<Number> tiles(w);
    for (int64_t p = 0; p < panel_blocks.count; ++p) {
      const Range panel_block = panel_blocks[p];
      const auto packed = dy.columns(block, p);
      tiles.fetch(panel_block, columns);
      for (int64_t t = 0; t < row_tiles; ++t) {
        const Number* dy_tile = packed.tile({t * panel_width, (t + 1) * panel_width});
        for (int64_t c = 0; c < column_tiles.count; ++c) {
          const Range tile = column_tiles[c];
          tile_kernel(static_cast<int>(tile.size()), panel_block.size(),
                      tiles.rows(tile.begin).data(), dy_tile, sums_of(t, tile.begin), p > 0);
        }
      }
    }
    Tensor buffer = Tensor::empty({rows.size(), panel_width});
    for (int64_t column = columns.begin; column < std::min(columns.end, w.k);
         column += panel_width) {
      const int64_t panel = column / panel_width;
      const ResultColumns out(args.dx, rows, panel, buffer.data<float>());
      for (int64_t t = 0; t < row_tiles; ++t) {
        const int64_t first = t * panel_width;
        float* to = out.data() + first * out.stride();
        const int64_t count = std::min(panel_width, rows.size() - first);
        turn(kernels, sums_of(t, column - columns.begin), count, to, out.stride());
      }
      if (low_rank)
        low_rank.add(block, panel, out.data(), out.stride());
      out.finish(kernels, {});
    }
  };
  parallel_for(blocks.count * groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      run(i / groups, i % groups);
  });
}

}  // namespace

void panel_linear_backward(Compute compute, const PanelMatrix& w, const LinearBackwardArgs& args) {
  if (compute == Compute::pairs)
    backward<uint32_t>(w, args);
  else
    backward<float>(w, args);
}

}  // namespace graft::cpu_kernels
