// Products with few columns or rows, as those of activations with an adapter's factors and the
// gradients of these are: the general product would spend more time on arranging the activations
// than on multiplying them.
#include <algorithm>
#include <vector>

#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/cpu/isa.h"
#include "graft/tensor/cpu/operand.h"
#include "graft/tensor/cpu/panel_packing.h"
#include "graft/tensor/cpu/panel_tiles.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

/// Columns or rows of a result that is thin.
constexpr int64_t widest = 128;
/// Products of an inner dimension below this are the general kernel's.
constexpr int64_t shallowest = 64;

/// Rows of a block of dot products.
constexpr int64_t block_rows = 64;

/// Rows that are summed at a time, so that they are still in the first cache when the next rows of
/// the result read them, and columns of one work item. Fixed, as results must not depend on the
/// number of threads.
constexpr int64_t summed_rows = 64;
constexpr int64_t group_columns = 3 * panel_width;

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

/// c (R,K), or its transpose, = alpha · the transpose of thin (M,R) · wide (M,K), both row by row,
/// thin in f32.
void sum_rows(const TileKernels& kernels, const Operand& thin, const Operand& wide, double alpha,
              const Operand& c) {
  const int64_t rank = thin.cols();
  const int64_t columns = wide.cols();
  const Cut row_blocks = cut(thin.rows(), summed_rows);
  const Cut tiles = cut(rank, kernels.rows);
  const auto sum_group = [&](Range group) {
    Tensor sums = Tensor::empty({rank, group_columns});
    Tensor scratch = Tensor::empty({summed_rows, group_columns});
    const Range padded{group.begin, group.begin + parts(group.size(), panel_width) * panel_width};
    for (int64_t block = 0; block < row_blocks.count; ++block) {
      const Range rows = row_blocks[block];
      int64_t stride = 0;
      const float* w = nullptr;
      visit_float(wide.view.dtype, [&]<class T>() {
        w = read_words<float>(wide.view.as<T>() + rows.begin * wide.row_stride(), wide.row_stride(),
                              rows.size(), padded, columns, scratch.data<float>(), &stride);
        return KernelStatus::done;
      });
      const float* x = thin.view.as<float>() + rows.begin * thin.row_stride();
      for (int64_t column = 0; column < group.size(); column += panel_width) {
        for (int64_t t = 0; t < tiles.count; ++t) {
          const Range tile = tiles[t];
          kernels.outer(static_cast<int>(tile.size()), rows.size(), x + tile.begin,
                        thin.row_stride(), w + column, stride,
                        sums.data<float>() + tile.begin * group_columns + column, group_columns,
                        block > 0);
        }
      }
    }
    visit_float(c.view.dtype, [&]<class T>() {
      for (int64_t r = 0; r < rank; ++r) {
        T* out = c.view.as<T>() + r * c.row_stride() + group.begin * c.col_stride();
        const float* sum = sums.data<float>() + r * group_columns;
        for (int64_t j = 0; j < group.size(); ++j)
          out[j * c.col_stride()] = convert<T>(static_cast<float>(alpha) * sum[j]);
      }
      return KernelStatus::done;
    });
  };
  parallel_for(parts(columns, group_columns), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      sum_group({i * group_columns, std::min(columns, (i + 1) * group_columns)});
  });
}

bool computed_in_f32(const TensorView& x) {
  return is_floating(x.dtype) && x.dtype != DType::f64;
}

template <Isa isa>
KernelStatus thin_matmul(const MatmulArgs& args) {
  if (args.accumulate || !contiguous(args.c) || !computed_in_f32(args.a) ||
      !computed_in_f32(args.b) || !computed_in_f32(args.c) || args.b.sizes[0] < shallowest)
    return KernelStatus::unsupported;
  const TileKernels& kernels = tile_kernels(isa);
  if (args.a.strides[1] == 1 && args.c.sizes[1] <= widest) {
    multiply_rows(kernels, args);
    return KernelStatus::done;
  }
  if (args.a.strides[0] != 1 || args.b.strides[1] != 1)
    return KernelStatus::unsupported;
  const Operand a{args.a, true};
  // Where both sides are thin, the wider one is cut among the threads.
  const bool a_is_thin = args.c.sizes[0] <= widest && args.a.dtype == DType::f32;
  const bool b_is_thin = args.c.sizes[1] <= widest && args.b.dtype == DType::f32;
  if (a_is_thin && (!b_is_thin || args.c.sizes[0] <= args.c.sizes[1]))
    sum_rows(kernels, a, {args.b}, args.alpha, {args.c});
  else if (b_is_thin)
    sum_rows(kernels, {args.b}, a, args.alpha, {args.c, true});
  else
    return KernelStatus::unsupported;
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
