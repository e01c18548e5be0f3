#include "graft/quant/linear.h"

#include <algorithm>

#include "graft/quant/cpu/code_tiles.h"
#include "graft/quant/cpu/register.h"
#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/isa.h"
#include "graft/tensor/cpu/panel_packing.h"
#include "graft/tensor/cpu/panel_product.h"

namespace graft::quant {
namespace {

using cpu_kernels::Compute;
using cpu_kernels::contiguous;
using cpu_kernels::Isa;
using cpu_kernels::PanelMatrix;
using cpu_kernels::tile_kernels;
using cpu_kernels::TileKernels;

/// What the tile functions below need besides the codes.
struct Codes {
  const CodeMatrix& matrix;
  const CodeTileKernels& kernels;
};

CodeTile tile_of(const PanelMatrix& w, int64_t panel, int64_t k, int64_t depth) {
  const CodeMatrix& matrix = static_cast<const Codes*>(w.extra)->matrix;
  const int64_t width = cpu_kernels::panel_width;
  return {.codes = static_cast<const uint32_t*>(w.data) + panel * (w.depth / 8) * width,
          .scales = matrix.scales.as<float>() + panel * (w.depth / matrix.group) * width,
          .map = matrix.map.as<float>(),
          .group = matrix.group,
          .k = k,
          .depth = depth};
}

const CodeTileKernels& kernels_of(const PanelMatrix& w) {
  return static_cast<const Codes*>(w.extra)->kernels;
}

const float* panel_floats(const PanelMatrix& w, int64_t panel, int64_t k, int64_t depth,
                          float* buffer) {
  kernels_of(w).floats(tile_of(w, panel, k, depth), buffer);
  return buffer;
}
const uint32_t* panel_pairs_along_k(const PanelMatrix& w, int64_t panel, int64_t k, int64_t depth,
                                    uint32_t* buffer) {
  kernels_of(w).pairs_along_k(tile_of(w, panel, k, depth), buffer);
  return buffer;
}
const uint32_t* panel_pairs_along_n(const PanelMatrix& w, int64_t panel, int64_t k, int64_t depth,
                                    uint32_t* buffer) {
  kernels_of(w).pairs_along_n(tile_of(w, panel, k, depth), buffer);
  return buffer;
}
void panel_few_rows(const PanelMatrix& w, int64_t panel, int rows, const float* x, float* c,
                    int64_t ldc) {
  kernels_of(w).few_rows(tile_of(w, panel, 0, w.depth), rows, x, c, ldc);
}

/// A tile of a matrix in blocks, code by code.
const float* block_floats(const PanelMatrix& w, int64_t panel, int64_t k, int64_t depth,
                          float* buffer) {
  const CodeMatrix& matrix = static_cast<const Codes*>(w.extra)->matrix;
  const auto* codes = static_cast<const uint8_t*>(w.data);
  const float* scales = matrix.scales.as<float>();
  const float* map = matrix.map.as<float>();
  const int64_t width = cpu_kernels::panel_width;
  std::fill_n(buffer, depth * width, 0.0F);
  const int64_t rows = std::min(width, w.n - panel * width);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t first = (panel * width + row) * w.k + k;
    for (int64_t i = 0; i < depth; ++i) {
      const int64_t at = first + i;
      const int code = at % 2 == 0 ? codes[at / 2] >> 4 : codes[at / 2] & 15;
      buffer[i * width + row] = map[code] * scales[at / matrix.group];
    }
  }
  return buffer;
}

PanelMatrix panels_of(const TileKernels& tiles, const Codes& codes) {
  const CodeMatrix& matrix = codes.matrix;
  PanelMatrix result{.n = matrix.n,
                     .k = matrix.k,
                     .depth = matrix.k,
                     .step = 1,
                     .kernels = &tiles,
                     .data = matrix.codes.data,
                     .extra = &codes,
                     .floats = block_floats,
                     .pairs_along_k = nullptr,
                     .pairs_along_n = nullptr};
  if (matrix.layout == Layout::panels) {
    result.step = 8;
    result.floats = panel_floats;
    result.pairs_along_k = panel_pairs_along_k;
    result.pairs_along_n = panel_pairs_along_n;
    result.few_rows = panel_few_rows;
  }
  return result;
}

Compute compute_of(const TileKernels& tiles, const CodeMatrix& w) {
  const bool pairs =
      w.bf16_products && tiles.forward_pairs != nullptr && w.layout == Layout::panels;
  return pairs ? Compute::pairs : Compute::floats;
}

template <Isa isa>
KernelStatus linear(const QuantizedLinearArgs& args) {
  if (!contiguous(args.x, args.bias, args.u, args.b, args.y) ||
      !cpu_kernels::panel_dtypes(args.x, args.y, args.u, args.b))
    return KernelStatus::unsupported;
  const TileKernels& tiles = tile_kernels(isa);
  const Codes codes{args.w, code_tile_kernels(isa)};
  panel_linear(compute_of(tiles, args.w), panels_of(tiles, codes),
               {args.x, {}, args.bias, args.u, args.b, args.y});
  return KernelStatus::done;
}

template <Isa isa>
KernelStatus linear_backward(const QuantizedLinearBackwardArgs& args) {
  if (!contiguous(args.dy, args.g, args.a, args.dx) ||
      !cpu_kernels::panel_dtypes(args.dy, args.dx, args.g, args.a))
    return KernelStatus::unsupported;
  const TileKernels& tiles = tile_kernels(isa);
  const Codes codes{args.w, code_tile_kernels(isa)};
  panel_linear_backward(compute_of(tiles, args.w), panels_of(tiles, codes),
                        {args.dy, {}, args.g, args.a, args.dx});
  return KernelStatus::done;
}

}  // namespace

void register_linear(Registry& registry) {
  cpu_kernels::for_each_isa([&registry]<Isa isa>() {
    const char* name = cpu_kernels::isa_name(isa);
    registry.add<linear<isa>>(quantized_linear_slot, DeviceKind::cpu, name);
    registry.add<linear_backward<isa>>(quantized_linear_backward_slot, DeviceKind::cpu, name);
  });
}

}  // namespace graft::quant
