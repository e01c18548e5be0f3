#include "graft/tensor/matmul.h"

#include <algorithm>

#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/cpu/isa.h"
#include "graft/tensor/cpu/operand.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

// Output tiles. Large enough that packing the operands of a tile costs a tenth of multiplying them,
// small enough that two threads find work in a few hundred tokens. Fixed, so that results do not
// depend on the number of threads.
constexpr int64_t tile_rows = 256;
constexpr int64_t tile_columns = 128;

/// Multiplications below which one thread does a product alone.
constexpr int64_t serial_work = 1 << 21;

/// c = alpha a b (+ c) + a2 b2 + bias, everything optional but the first product.
struct Product {
  Operand a, b;
  double alpha = 1;
  bool accumulate = false;
  Operand a2{}, b2{};
  TensorView bias{};
  TensorView c;
};

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

template <class C>
void compute(const Product& product, GemmTile<C> gemm, Range rows, Range cols, C* out, int64_t ldc,
             bool accumulate) {
  const auto add_product = [&](const Operand& a, const Operand& b, C alpha, bool onto) {
    const int64_t inner = a.cols();
    const ReadBlock<C> left(a, rows.begin, rows.size(), 0, inner);
    const ReadBlock<C> right(b, 0, inner, cols.begin, cols.size());
    gemm(rows.size(), cols.size(), inner, alpha, *left, *right, out, ldc, onto);
  };
  add_product(product.a, product.b, static_cast<C>(product.alpha), accumulate);
  if (product.a2)
    add_product(product.a2, product.b2, C(1), true);
  if (!product.bias)
    return;
  visit_float(product.bias.dtype, [&]<class T>() {
    const T* bias = product.bias.as<T>() + cols.begin;
    for (int64_t i = 0; i < rows.size(); ++i) {
      for (int64_t j = 0; j < cols.size(); ++j)
        out[i * ldc + j] += convert<C>(bias[j]);
    }
    return KernelStatus::done;
  });
}

/// One tile: computed in place where the result has the type C, else in scratch and rounded once.
template <class C>
void run_tile(const Product& product, GemmTile<C> gemm, Range rows, Range cols) {
  const int64_t width = product.c.sizes[1];
  visit_float(product.c.dtype, [&]<class T>() {
    T* c = product.c.as<T>() + rows.begin * width + cols.begin;
    if constexpr (std::is_same_v<T, C>) {
      compute(product, gemm, rows, cols, c, width, product.accumulate);
    } else {
      Tensor scratch = Tensor::empty({rows.size(), cols.size()}, dtype_of<C>::value);
      C* out = scratch.template data<C>();
      compute(product, gemm, rows, cols, out, cols.size(), false);
      for (int64_t i = 0; i < rows.size(); ++i) {
        for (int64_t j = 0; j < cols.size(); ++j) {
          const C before = product.accumulate ? convert<C>(c[i * width + j]) : C(0);
          c[i * width + j] = convert<T>(before + out[i * cols.size() + j]);
        }
      }
    }
    return KernelStatus::done;
  });
}

template <class C>
void run(const Product& product, GemmTile<C> gemm) {
  const int64_t m = product.c.sizes[0];
  const int64_t n = product.c.sizes[1];
  const int64_t row_tiles = (m + tile_rows - 1) / tile_rows;
  const int64_t col_tiles = (n + tile_columns - 1) / tile_columns;
  const auto run_tiles = [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t row = tile / col_tiles * tile_rows;
      const int64_t col = tile % col_tiles * tile_columns;
      run_tile(product, gemm, {row, std::min(m, row + tile_rows)},
               {col, std::min(n, col + tile_columns)});
    }
  };
  // Waking the other threads takes longer than a small product.
  const int64_t grain = m * n * product.a.cols() < serial_work ? row_tiles * col_tiles : 1;
  parallel_for(row_tiles * col_tiles, grain, run_tiles);
}

/// f64 computes in f64 and only with f64; other floats compute in f32 and mix freely.
KernelStatus dispatch(const Product& product, const GemmTiles& tiles) {
  int doubles = 0;
  int operands = 0;
  for (const TensorView& view : {product.a.view, product.b.view, product.a2.view, product.b2.view,
                                 product.bias, product.c}) {
    if (!view)
      continue;
    if (!is_floating(view.dtype))
      return KernelStatus::unsupported;
    ++operands;
    doubles += view.dtype == DType::f64;
  }
  if (doubles != 0 && doubles != operands)
    return KernelStatus::unsupported;
  if (doubles > 0)
    run<double>(product, tiles.f64);
  else
    run<float>(product, tiles.f32);
  return KernelStatus::done;
}

bool has_unit_stride(const TensorView& x) {
  return x.strides[0] == 1 || x.strides[1] == 1;
}

template <const GemmTiles& tiles>
KernelStatus matmul(const MatmulArgs& args) {
  if (!has_unit_stride(args.a) || !has_unit_stride(args.b) || !contiguous(args.c))
    return KernelStatus::unsupported;
  return dispatch({.a = {args.a},
                   .b = {args.b},
                   .alpha = args.alpha,
                   .accumulate = args.accumulate,
                   .c = args.c},
                  tiles);
}

template <const GemmTiles& tiles>
KernelStatus linear(const LinearArgs& args) {
  if (!contiguous(args.x, args.w, args.bias, args.u, args.b, args.y))
    return KernelStatus::unsupported;
  return dispatch({.a = {args.x},
                   .b = {args.w, true},
                   .a2 = {args.u},
                   .b2 = {args.b, true},
                   .bias = args.bias,
                   .c = args.y},
                  tiles);
}

template <const GemmTiles& tiles>
KernelStatus linear_backward(const LinearBackwardArgs& args) {
  if (!contiguous(args.dy, args.w, args.g, args.a, args.dx))
    return KernelStatus::unsupported;
  return dispatch({.a = {args.dy}, .b = {args.w}, .a2 = {args.g}, .b2 = {args.a}, .c = args.dx},
                  tiles);
}

template <const GemmTiles& tiles>
void register_with(Registry& registry, const char* name) {
  registry.add<matmul<tiles>>(matmul_slot, DeviceKind::cpu, name);
  registry.add<linear<tiles>>(linear_slot, DeviceKind::cpu, name);
  registry.add<linear_backward<tiles>>(linear_backward_slot, DeviceKind::cpu, name);
}

}  // namespace

void register_matmul(Registry& registry) {
  register_with<portable::gemm_tiles>(registry, isa_name(Isa::portable));
  if (cpu_has(Isa::avx2))
    register_with<x86_64_v3::gemm_tiles>(registry, isa_name(Isa::avx2));
}

}  // namespace graft::cpu_kernels
