// Attention on the micro-kernels of panel products: heads in the layouts these read.
//
// A matrix of scores (queries, keys) lies in panels of 32 keys: (panels, queries, 32). So does what
// has the width of a head: (panels of the head, rows, 32). Columns beyond a head and keys beyond
// the last one are zeros.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

#include "graft/tensor/attention.h"
#include "graft/tensor/cpu/attention_heads.h"
#include "graft/tensor/cpu/isa.h"
#include "graft/tensor/cpu/panel_packing.h"
#include "graft/tensor/cpu/row_kernels.h"

namespace graft::cpu_kernels {

/// The kernels of one instruction set.
struct AttentionKernels {
  const TileKernels& tiles;
  const RowKernels& rows;
};

/// What one task works on. Not taken from the allocator, whose requests would then depend on which
/// tasks meet.
class Scratch {
 public:
  explicit Scratch(int64_t count)
      : numbers_(static_cast<float*>(
            ::operator new(static_cast<size_t>(count) * sizeof(float), alignment))) {}
  float* data() const { return numbers_.get(); }

 private:
  static constexpr std::align_val_t alignment{64};  // a vector does not cross cache lines
  struct Release {
    void operator()(float* numbers) const { ::operator delete(numbers, alignment); }
  };
  std::unique_ptr<float, Release> numbers_;
};

/// Queries, and panels of keys, of a tile of scores.
inline constexpr int64_t tile_queries = 48;
inline constexpr int64_t tile_panels = 4;
inline constexpr int64_t tile_keys = tile_panels * panel_width;
/// Numbers from one panel of scores to the next.
inline constexpr int64_t score_stride = tile_queries * panel_width;

/// Queries below which these layouts cost more than they save.
inline constexpr int64_t fewest_queries = 8;

/// Rows of a head in groups of `group`, in these column after column: (groups, D, group), times
/// `factor`.
void pack_transposed(const TileKernels& tiles, const Operand& head, int64_t group, float factor,
                     float* out);
int64_t transposed_size(int64_t rows, int64_t width, int64_t group);

/// Rows of a head in panels of 32 columns: (ceil(D/32), rows rounded up to 32, 32), times `factor`.
void pack_columns(const Operand& head, float factor, float* out);
int64_t columns_size(int64_t rows, int64_t width);
/// Numbers from one panel of columns to the next.
inline int64_t column_stride(int64_t rows) {
  return parts(rows, panel_width) * panel_width * panel_width;
}

/// A tile of scores (queries, keys) = rows · keysᵀ: rows from pack_transposed in groups of
/// tiles.rows, beginning with a group, keys from pack_transposed in groups of 32.
void score_product(const TileKernels& tiles, int64_t width, const float* rows, int64_t queries,
                   const float* keys, int64_t panels, float* scores);

/// c (panels of the head, c_rows, 32) += a tile of scores (queries, keys) times rows from
/// pack_columns, which begin with that of the first key.
void add_score_product(const TileKernels& tiles, const float* scores, int64_t queries,
                       int64_t panels, const float* columns, int64_t columns_stride, float* c,
                       int64_t c_stride, int64_t head_panels);

/// c (panels of the head, tile_keys, 32) += the transpose of a tile of scores times rows from
/// pack_columns, which begin with that of the first query.
void add_transposed_product(const TileKernels& tiles, const float* scores, int64_t queries,
                            int64_t panels, const float* columns, int64_t columns_stride, float* c,
                            int64_t head_panels);

/// Sets the scores of keys that are not seen to minus infinity.
void hide_scores(const Visibility& visibility, int64_t query, int64_t queries, int64_t key,
                 int64_t panels, float* scores);

/// Rounds rows [row, row + rows) out of panels of columns, times `factor`, into a head.
void store_columns(const Operand& head, int64_t row, int64_t rows, const float* columns,
                   int64_t columns_stride, float factor);

KernelStatus attention_in_panels(const AttentionKernels& kernels, const AttentionArgs& args);
KernelStatus attention_backward_in_panels(const AttentionKernels& kernels,
                                          const AttentionBackwardArgs& args);

}  // namespace graft::cpu_kernels
