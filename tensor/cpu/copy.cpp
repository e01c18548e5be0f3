#include "graft/tensor/copy.h"

#include <algorithm>

#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

constexpr int64_t grain = 1 << 15;

/// Walks the rows (all dimensions but the last) of equally shaped views, in row-major order.
class RowCursor {
 public:
  RowCursor(const TensorView& view, int64_t row) : view_(view) {
    for (int i = view.rank - 2; i >= 0; --i) {
      index_[i] = row % view.sizes[i];
      row /= view.sizes[i];
    }
  }
  int64_t offset(const TensorView& view) const {
    int64_t sum = 0;
    for (int i = 0; i + 1 < view.rank; ++i)
      sum += index_[i] * view.strides[i];
    return sum;
  }
  void next() {
    for (int i = view_.rank - 2; i >= 0; --i) {
      if (++index_[i] < view_.sizes[i])
        return;
      index_[i] = 0;
    }
  }

 private:
  const TensorView& view_;
  int64_t index_[Shape::max_rank] = {};
};

template <class Body>
void for_each_row(const TensorView& view, const Body& body) {
  const int64_t width = view.rank > 0 ? view.sizes[view.rank - 1] : 1;
  const int64_t rows = view.numel() / width;
  parallel_for(rows, std::max<int64_t>(1, grain / width), [&](int64_t begin, int64_t end) {
    RowCursor cursor(view, begin);
    for (int64_t row = begin; row < end; ++row, cursor.next())
      body(cursor, width);
  });
}

int64_t last_stride(const TensorView& view) {
  return view.rank > 0 ? view.strides[view.rank - 1] : 1;
}

template <class From, class To>
void copy_strided(const From* x, int64_t x_stride, To* y, int64_t y_stride, int64_t width) {
  for (int64_t j = 0; j < width; ++j)
    y[j * y_stride] = convert<To>(x[j * x_stride]);
}

KernelStatus fill(const FillArgs& args) {
  return visit(args.y.dtype, [&]<class T>() {
    const T value = convert<T>(args.value);
    const int64_t stride = last_stride(args.y);
    for_each_row(args.y, [&](const RowCursor& cursor, int64_t width) {
      T* y = args.y.as<T>() + cursor.offset(args.y);
      if (stride == 1) {
        std::fill_n(y, width, value);
        return;
      }
      for (int64_t j = 0; j < width; ++j)
        y[j * stride] = value;
    });
    return KernelStatus::done;
  });
}

KernelStatus copy(const CopyArgs& args) {
  return visit(args.x.dtype, [&]<class From>() {
    return visit(args.y.dtype, [&]<class To>() {
      const int64_t x_stride = last_stride(args.x);
      const int64_t y_stride = last_stride(args.y);
      for_each_row(args.y, [&](const RowCursor& cursor, int64_t width) {
        const From* x = args.x.as<From>() + cursor.offset(args.x);
        To* y = args.y.as<To>() + cursor.offset(args.y);
        if (x_stride == 1 && y_stride == 1)
          std::transform(x, x + width, y, convert<To, From>);
        else
          copy_strided(x, x_stride, y, y_stride, width);
      });
      return KernelStatus::done;
    });
  });
}

}  // namespace

void register_copy(Registry& registry) {
  registry.add<fill>(fill_slot, DeviceKind::cpu);
  registry.add<copy>(copy_slot, DeviceKind::cpu);
}

}  // namespace graft::cpu_kernels
