#include <algorithm>
#include <array>
#include <vector>

#include "graft/tensor/cpu/panel_packing.h"
#include "graft/tensor/cpu/panel_product.h"
#include "graft/tensor/cpu/panel_terms.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

// A block of x, rows x depth, and what is read with it should stay in a second-level cache of a
// megabyte, see block_depth. The sizes are fixed, so that results do not depend on the number of
// threads.
constexpr int64_t block_rows = 360;

template <class Number>
const Number* tile_of(const PanelMatrix& w, int64_t panel, Range columns, Number* buffer) {
  if constexpr (std::is_same_v<Number, float>)
    return w.floats(w, panel, columns.begin, columns.size(), buffer);
  else
    return w.pairs_along_k(w, panel, columns.begin, columns.size(), buffer);
}

template <class Number>
auto forward_of(const TileKernels& kernels) {
  if constexpr (std::is_same_v<Number, float>)
    return kernels.forward;
  else
    return kernels.forward_pairs;
}

template <class Number>
void forward(const PanelMatrix& w, const LinearArgs& args) {
  const TileKernels& kernels = *w.kernels;
  const Cut blocks = cut(args.x.sizes[0], block_rows, kernels.rows);
  const Cut depths = cut(w.depth, block_depth, w.step);
  const int64_t panels = parts(w.n, panel_width);
  const Cut groups = cut(panels, std::clamp<int64_t>(parts(panels, 8), 1, 12));
  const PackedRows<Number> x(kernels, args.x, blocks, depths, TileRows{kernels.rows, false});
  const LowRankTerm low_rank(kernels, args.u, args.b, true, blocks);
  const auto tile_kernel = forward_of<Number>(kernels);
  const auto run = [&](int64_t block, Range group) {
    const Range rows = blocks[block];
    Tensor tile_buffer = Tensor::empty({(block_depth + w.step) * panel_width});
    Tensor result_buffer = Tensor::empty({group.size() * rows.size() * panel_width});
    const auto columns = [&](int64_t panel) {
      return ResultColumns(
          args.y, rows, panel,
          result_buffer.data<float>() + (panel - group.begin) * rows.size() * panel_width);
    };
    const std::vector<Range> tiles = x.tiles(block);
    for (int64_t depth = 0; depth < depths.count; ++depth) {
      const Range depth_columns = depths[depth];
      const auto packed = x.columns(block, depth);
      for (int64_t panel = group.begin; panel < group.end; ++panel) {
        const Number* tile =
            tile_of(w, panel, depth_columns, reinterpret_cast<Number*>(tile_buffer.data<float>()));
        const ResultColumns out = columns(panel);
        float* c = out.data();
        for (const Range tile_rows : tiles)
          tile_kernel(static_cast<int>(tile_rows.size()), depth_columns.size() / per_word<Number>,
                      packed.tile(tile_rows), tile, c + tile_rows.begin * out.stride(),
                      out.stride(), depth > 0);
      }
    }
    for (int64_t panel = group.begin; panel < group.end; ++panel) {
      const ResultColumns out = columns(panel);
      if (low_rank)
        low_rank.add(block, panel, out.data(), out.stride());
      out.finish(kernels, args.bias);
    }
  };
  parallel_for(blocks.count * groups.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      run(i / groups.count, groups[i % groups.count]);
  });
}

/// The product with so few rows of x that decoding tiles would be most of the work.
void forward_few_rows(const PanelMatrix& w, const LinearArgs& args) {
  const TileKernels& kernels = *w.kernels;
  const Range rows{0, args.x.sizes[0]};
  const Cut blocks{rows.end, 1};
  const PackedRows<float> x(kernels, args.x, blocks, Cut{w.depth, 1},
                            TileRows{few_rows_tile, false});
  const LowRankTerm low_rank(kernels, args.u, args.b, true, blocks);
  const int64_t panels = parts(w.n, panel_width);
  const std::vector<Range> tiles = x.tiles(0);
  const auto packed = x.columns(0, 0);
  parallel_for(panels, std::max<int64_t>(1, parts(panels, 64)), [&](int64_t begin, int64_t end) {
    std::array<float, few_rows_limit * panel_width> buffer;
    for (int64_t panel = begin; panel < end; ++panel) {
      const ResultColumns out(args.y, rows, panel, buffer.data());
      for (const Range tile : tiles)
        w.few_rows(w, panel, static_cast<int>(tile.size()), packed.tile(tile),
                   out.data() + tile.begin * out.stride(), out.stride());
      if (low_rank)
        low_rank.add(0, panel, out.data(), out.stride());
      out.finish(kernels, args.bias);
    }
  });
}

}  // namespace

void panel_linear(Compute compute, const PanelMatrix& w, const LinearArgs& args) {
  if (w.few_rows != nullptr && args.x.sizes[0] <= few_rows_limit)
    forward_few_rows(w, args);
  else if (compute == Compute::pairs)
    forward<uint32_t>(w, args);
  else
    forward<float>(w, args);
}

}  // namespace graft::cpu_kernels
