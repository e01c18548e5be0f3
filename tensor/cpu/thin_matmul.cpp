// Products that leave few columns, as those of activations with an adapter's factors do: the
// general product would spend more time on arranging the activations than on multiplying them.
#include <algorithm>
#include <vector>

#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/cpu/isa.h"
#include "graft/tensor/cpu/operand.h"
#include "graft/tensor/cpu/panel_tiles.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

/// Columns of a result that is thin.
constexpr int64_t widest = 128;
/// Products of an inner dimension below this are the general kernel's.
constexpr int64_t shallowest = 64;

/// Rows of a block of dot products.
constexpr int64_t block_rows = 64;
/// The transpose of b (K,N) as floats, row-major: in place where it lies so, else in `scratch`.
Block<float> transposed(const TensorView& b, Tensor* scratch) {
  if (b.dtype == DType::f32 && b.strides[0] == 1)
    return {b.as<float>(), b.strides[1], 1};
  const int64_t depth = b.sizes[0];
  *scratch = Tensor::empty({b.sizes[1], depth});
  float* out = scratch->data<float>();
  visit_float(b.dtype, [&]<class T>() {
    const T* from = b.as<T>();
    for (int64_t j = 0; j < b.sizes[1]; ++j) {
      for (int64_t k = 0; k < depth; ++k)
        out[j * depth + k] = convert<float>(from[k * b.strides[0] + j * b.strides[1]]);
    }
    return KernelStatus::done;
  });
  return {out, depth, 1};
}

/// c = alpha a b where rows of a are contiguous and b has few columns: dot products of rows of a
/// and columns of b.
void multiply_rows(const TileKernels& kernels, const MatmulArgs& args) {
  const int64_t depth = args.a.sizes[1];
  const int64_t columns = args.c.sizes[1];
  Tensor scratch;
  const Block<float> b = transposed(args.b, &scratch);
  parallel_for(args.c.sizes[0], block_rows, [&](int64_t begin, int64_t end) {
    const ReadBlock<float> block({args.a}, begin, end - begin, 0, depth);
    const Block<float>& a = *block;
    std::vector<float> sums(static_cast<size_t>((end - begin) * columns));
    for (int64_t i = 0; i < end - begin; i += kernels.dot_rows) {
      const int64_t rows = std::min<int64_t>(kernels.dot_rows, end - begin - i);
      for (int64_t j = 0; j < columns; j += dot_columns)
        kernels.dots(static_cast<int>(rows),
                     static_cast<int>(std::min<int64_t>(dot_columns, columns - j)), depth,
                     a.data + i * a.row_stride, a.row_stride, b.data + j * b.row_stride,
                     b.row_stride, sums.data() + i * columns + j, columns);
    }
    visit_float(args.c.dtype, [&]<class T>() {
      T* out = args.c.as<T>() + begin * columns;
      for (const float sum : sums)
        *out++ = convert<T>(static_cast<float>(args.alpha) * sum);
      return KernelStatus::done;
    });
  });
}

bool computed_in_f32(const TensorView& x) {
  return is_floating(x.dtype) && x.dtype != DType::f64;
}

template <Isa isa>
KernelStatus thin_matmul(const MatmulArgs& args) {
  if (args.accumulate || !contiguous(args.c) || !computed_in_f32(args.a) ||
      !computed_in_f32(args.b) || !computed_in_f32(args.c) || args.b.sizes[0] < shallowest ||
      args.a.strides[1] != 1 || args.c.sizes[1] > widest)
    return KernelStatus::unsupported;
  multiply_rows(tile_kernels(isa), args);
  return KernelStatus::done;
}

template <Isa isa>
void register_with(Registry& registry) {
  if (cpu_has(isa))
    registry.add<thin_matmul<isa>>(matmul_slot, DeviceKind::cpu, isa_name(isa));
}

}  // namespace

void register_thin_matmul(Registry& registry) {
  register_with<Isa::avx2>(registry);
  register_with<Isa::avx512>(registry);
}

}  // namespace graft::cpu_kernels
