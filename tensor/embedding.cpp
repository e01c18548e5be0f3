#include "graft/tensor/embedding.h"

#include "graft/tensor/check.h"

namespace graft {

constinit Slot<EmbeddingArgs> embedding_slot("embedding");
constinit Slot<EmbeddingBackwardArgs> embedding_backward_slot("embedding_backward");

namespace ops {
namespace {

void check_ids(const char* operation, const Tensor& ids, int64_t vocabulary) {
  check_dtype(operation, "ids", ids, DType::i64);
  if (ids.device().kind != DeviceKind::cpu)
    return;  // a kernel of that device checks
  for (const int64_t id : ids.span<int64_t>())
    GRAFT_CHECK(id >= 0 && id < vocabulary, ShapeError, operation, ": id ", id,
                " given, the table has ", vocabulary, " rows");
}

/// (tokens, D) in the shape of the ids.
Tensor in_shape_of(const Tensor& ids, const Tensor& rows) {
  std::vector<int64_t> sizes(ids.shape().sizes().begin(), ids.shape().sizes().end());
  sizes.push_back(rows.dim(1));
  return rows.view(Shape(std::span<const int64_t>(sizes)));
}

}  // namespace

Tensor embedding(const Tensor& table, const Tensor& ids) {
  GRAFT_CHECK(table.rank() == 2, ShapeError, "embedding: table is ", table.shape(),
              ", (V,D) expected");
  const Tensor flat = ids.contiguous().view({-1});
  check_ids("embedding", flat, table.dim(0));
  Tensor y = Tensor::empty({flat.numel(), table.dim(1)}, table.dtype(), table.device());
  if (y.numel() > 0)
    embedding_slot(table.device(), {table.as_view(), flat.as_view(), y.as_view()});
  return in_shape_of(ids, y);
}

Tensor embedding(const PackedTensor& table, const Tensor& ids) {
  const Tensor flat = ids.contiguous().view({-1});
  check_ids("embedding", flat, table.shape[0]);
  return in_shape_of(ids, unpack_rows(table, flat));
}

Tensor embedding_backward(const Tensor& dy, const Tensor& ids, int64_t vocabulary) {
  const Tensor rows = as_rows(dy);
  const Tensor flat = ids.contiguous().view({-1});
  check_ids("embedding_backward", flat, vocabulary);
  check_shape("embedding_backward", "dy", rows, {flat.numel(), dy.dim(-1)});
  Tensor dtable = Tensor::zeros({vocabulary, dy.dim(-1)}, dy.dtype(), dy.device());
  if (rows.numel() > 0)
    embedding_backward_slot(dy.device(), {rows.as_view(), flat.as_view(), dtable.as_view()});
  return dtable;
}

}  // namespace ops
}  // namespace graft
