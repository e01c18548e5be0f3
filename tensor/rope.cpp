#include "graft/tensor/rope.h"

#include <cmath>

#include "graft/tensor/check.h"

namespace graft {

constinit Slot<RopeArgs> rope_slot("rope");

namespace ops {
namespace {

template <class T>
void fill_tables(std::span<const int64_t> positions, const std::vector<double>& inv_freq,
                 double attention_scaling, RopeTables& tables) {
  T* cos = tables.cos.data<T>();
  T* sin = tables.sin.data<T>();
  for (const int64_t position : positions) {
    for (const double frequency : inv_freq) {
      const T angle = static_cast<T>(position) * static_cast<T>(frequency);
      *cos++ = std::cos(angle) * static_cast<T>(attention_scaling);
      *sin++ = std::sin(angle) * static_cast<T>(attention_scaling);
    }
  }
}

}  // namespace

RopeTables rope_tables(const Tensor& positions, const std::vector<double>& inv_freq, DType dtype,
                       double attention_scaling) {
  check_dtype("rope_tables", "positions", positions, DType::i64);
  const Tensor dense = positions.contiguous();
  const Shape shape{positions.numel(), static_cast<int64_t>(inv_freq.size())};
  const DType table_dtype = accumulator_dtype(dtype);
  RopeTables tables{Tensor::empty(shape, table_dtype), Tensor::empty(shape, table_dtype)};
  if (table_dtype == DType::f64)
    fill_tables<double>(dense.span<int64_t>(), inv_freq, attention_scaling, tables);
  else
    fill_tables<float>(dense.span<int64_t>(), inv_freq, attention_scaling, tables);
  return tables;
}

Tensor rope(const Tensor& x, const RopeTables& tables, bool inverse) {
  GRAFT_CHECK(x.rank() == 4, ShapeError, "rope: x is ", x.shape(), ", (B,T,H,D) expected");
  const int64_t tokens = x.dim(0) * x.dim(1);
  GRAFT_CHECK(tables.cos.rank() == 2 && 2 * tables.cos.dim(1) <= x.dim(3), ShapeError,
              "rope: cos is ", tables.cos.shape(), ", (", tokens, ", ", x.dim(3) / 2,
              ") or fewer angles expected for heads of ", x.dim(3));
  check_dtype("rope", "cos", tables.cos, accumulator_dtype(x.dtype()));
  check_dtype("rope", "sin", tables.sin, accumulator_dtype(x.dtype()));
  check_shape("rope", "cos", tables.cos, {tokens, tables.cos.dim(1)});
  check_shape("rope", "sin", tables.sin, tables.cos.shape());
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  const Shape rows{tokens, x.dim(2), x.dim(3)};
  if (x.numel() > 0)
    rope_slot(x.device(), {x.contiguous().view(rows).as_view(), tables.cos.as_view(),
                           tables.sin.as_view(), y.view(rows).as_view(), inverse});
  return y;
}

}  // namespace ops
}  // namespace graft
