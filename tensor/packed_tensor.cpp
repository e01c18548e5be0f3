#include "graft/tensor/packed_tensor.h"

#include <algorithm>

#include "graft/tensor/check.h"
#include "graft/tensor/check_linear.h"
#include "graft/tensor/parallel.h"

namespace graft {

constinit Slot<PackedLinearArgs> packed_linear_slot("packed_linear");
constinit Slot<PackedLinearBackwardArgs> packed_linear_backward_slot("packed_linear_backward");

namespace {

constexpr int64_t panel_width = 32;

/// Where number (row, column) of a panel lies in it. In bf16 columns come in pairs.
struct PanelOrder {
  int64_t interleaved;
  int64_t operator()(int64_t row, int64_t column) const {
    return (column / interleaved * panel_width + row) * interleaved + column % interleaved;
  }
};

/// Calls body(matrix, panels, order, first row, end row) for each panel, on several threads.
template <class T, class Body>
void for_each_panel(const Shape& shape, const Body& body) {
  const int64_t interleaved = std::is_same_v<T, float> ? 1 : 2;
  const int64_t size = (shape[1] + interleaved - 1) / interleaved * interleaved * panel_width;
  parallel_for((shape[0] + panel_width - 1) / panel_width, 1, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panel * panel_width;
      body(panel * size, PanelOrder{interleaved}, first, std::min(panel_width, shape[0] - first));
    }
  });
}

template <class T>
void pack_numbers(const Tensor& w, Tensor& panels) {
  if (w.numel() == 0)
    return;
  const T* from = w.data<T>();
  T* to = panels.data<T>();
  const int64_t columns = w.dim(1);
  const int64_t size = panels.numel() / panels.dim(0);
  for_each_panel<T>(w.shape(), [&](int64_t offset, PanelOrder at, int64_t first, int64_t rows) {
    if (rows < panel_width || columns * panel_width < size)
      std::fill_n(to + offset, size, T(0.0F));
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t k = 0; k < columns; ++k)
        to[offset + at(row, k)] = from[(first + row) * columns + k];
    }
  });
}

template <class T>
void unpack_numbers(const Tensor& panels, Tensor& w) {
  const T* from = panels.data<T>();
  T* to = w.data<T>();
  const int64_t columns = w.dim(1);
  for_each_panel<T>(w.shape(), [&](int64_t offset, PanelOrder at, int64_t first, int64_t rows) {
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t k = 0; k < columns; ++k)
        to[(first + row) * columns + k] = from[offset + at(row, k)];
    }
  });
}

template <class T>
void copy_rows(const PackedTensor& w, const Tensor& indices, Tensor& rows) {
  const int64_t columns = w.shape[1];
  const PanelOrder at{std::is_same_v<T, float> ? 1 : 2};
  const int64_t panel_size = w.panels.numel() / w.panels.dim(0);
  const T* from = w.panels.data<T>();
  T* to = rows.data<T>();
  const int64_t* index = indices.data<int64_t>();
  constexpr int64_t grain = 8;  // some microseconds
  parallel_for(indices.numel(), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* panel = from + index[i] / panel_width * panel_size;
      for (int64_t k = 0; k < columns; ++k)
        to[i * columns + k] = panel[at(index[i] % panel_width, k)];
    }
  });
}

}  // namespace

PackedTensor pack(const Tensor& w) {
  GRAFT_CHECK(w.rank() == 2, ShapeError, "pack: a matrix is expected, ", w.shape(), " given");
  GRAFT_CHECK(w.dtype() == DType::f32 || w.dtype() == DType::bf16, DTypeError,
              "pack: f32 or bf16 expected, ", w.dtype(), " given");
  const int64_t panels = (w.dim(0) + panel_width - 1) / panel_width;
  const Tensor rows = w.contiguous();
  if (w.dtype() == DType::f32) {
    PackedTensor result{w.shape(), Tensor::empty({panels, w.dim(1), panel_width})};
    pack_numbers<float>(rows, result.panels);
    return result;
  }
  PackedTensor result{w.shape(),
                      Tensor::empty({panels, (w.dim(1) + 1) / 2, panel_width, 2}, DType::bf16)};
  pack_numbers<bf16>(rows, result.panels);
  return result;
}

Tensor unpack(const PackedTensor& w) {
  Tensor result = Tensor::empty(w.shape, w.dtype());
  if (w.dtype() == DType::f32)
    unpack_numbers<float>(w.panels, result);
  else
    unpack_numbers<bf16>(w.panels, result);
  return result;
}

Tensor unpack_rows(const PackedTensor& w, const Tensor& indices) {
  check_dtype("unpack_rows", "indices", indices, DType::i64);
  for (const int64_t index : indices.span<int64_t>())
    GRAFT_CHECK(index >= 0 && index < w.shape[0], ShapeError, "unpack_rows: row ", index,
                " given, the matrix has ", w.shape[0]);
  Tensor rows = Tensor::empty({indices.numel(), w.shape[1]}, w.dtype());
  if (rows.numel() == 0)
    return rows;
  if (w.dtype() == DType::f32)
    copy_rows<float>(w, indices, rows);
  else
    copy_rows<bf16>(w, indices, rows);
  return rows;
}

namespace ops {

Tensor linear(const Tensor& x, const PackedTensor& w, const Tensor& bias, const Tensor& u,
              const Tensor& b) {
  const LinearOperands operands = check_linear(x, w.shape, bias, u, b);
  if (operands.y.numel() > 0)
    packed_linear_slot(x.device(), {operands.x.as_view(), w.panels.as_view(), bias.as_view(),
                                    u.as_view(), b.as_view(), as_rows(operands.y).as_view()});
  return operands.y;
}

Tensor linear_backward(const Tensor& dy, const PackedTensor& w, const Tensor& g, const Tensor& a) {
  const LinearBackwardOperands operands = check_linear_backward(dy, w.shape, g, a);
  if (operands.dx.numel() > 0)
    packed_linear_backward_slot(
        dy.device(), {operands.dy.as_view(), w.panels.as_view(), g.as_view(), a.as_view(),
                      as_rows(operands.dx).as_view()});
  return operands.dx;
}

}  // namespace ops
}  // namespace graft
