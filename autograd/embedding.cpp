#include "graft/autograd/embedding.h"

#include "graft/autograd/tape.h"
#include "graft/tensor/check.h"
#include "graft/tensor/copy.h"
#include "graft/tensor/embedding.h"
#include "graft/tensor/pointwise.h"

namespace graft {
namespace {

/// (M, D), sharing the storage of a row-major x.
Tensor flat(const Tensor& x) {
  return x.view({-1, x.dim(-1)});
}

/// Calls visit(i, index) for each of `indices`, which lie in [0, size).
template <class Visit>
void for_each_index(const char* operation, const Tensor& indices, int64_t size,
                    const Visit& visit) {
  check_dtype(operation, "indices", indices, DType::i64);
  int64_t i = 0;
  for (const int64_t index : indices.span<int64_t>()) {
    GRAFT_CHECK(index >= 0 && index < size, ShapeError, operation, ": index ", index,
                " given, 0 to ", size - 1, " expected");
    visit(i++, index);
  }
}

Tensor with_rows(const Tensor& x, const Tensor& rows, const Tensor& indices) {
  Tensor y = x.clone();
  const Tensor target = flat(y);
  for_each_index("replace_rows", indices, target.dim(0), [&](int64_t i, int64_t index) {
    Tensor row = target.slice(0, index, index + 1);
    ops::copy_(row, rows.slice(0, i, i + 1));
  });
  return y;
}

Tensor without_rows(const Tensor& x, const Tensor& indices) {
  Tensor y = x.clone();
  const Tensor target = flat(y);
  for_each_index("replace_rows", indices, target.dim(0), [&](int64_t, int64_t index) {
    Tensor row = target.slice(0, index, index + 1);
    ops::fill_(row, 0);
  });
  return y;
}

Tensor columns_of(const Tensor& x, const Tensor& indices) {
  const Tensor source = flat(x.contiguous());
  Tensor columns = Tensor::empty({source.dim(0), indices.numel()}, x.dtype(), x.device());
  for_each_index("add_to_columns", indices, source.dim(1), [&](int64_t i, int64_t index) {
    Tensor column = columns.slice(1, i, i + 1);
    ops::copy_(column, source.slice(1, index, index + 1));
  });
  return columns;
}

}  // namespace

Variable embedding(const Variable& table, const Tensor& ids) {
  return record("embedding", ops::embedding(table.value(), ids), {table},
                [ids = save(ids), vocabulary = table.shape()[0]](const Grads& dy, Needs) -> Grads {
                  return {ops::embedding_backward(dy[0], *ids, vocabulary)};
                });
}

Variable embedding(const PackedTensor& table, const Tensor& ids) {
  return Variable(ops::embedding(table, ids));
}

Variable embedding(const quant::QuantizedTensor& table, const Tensor& ids) {
  return Variable(ops::embedding(quant::dequantize(table, table.dtype), ids));
}

Variable embedding_of_columns(const Variable& table, const Tensor& ids) {
  GRAFT_CHECK(table.value().rank() == 2, ShapeError, "embedding_of_columns: table is ",
              table.shape(), ", (D,V) expected");
  return record("embedding_of_columns", ops::embedding(table.value().transpose(0, 1), ids), {table},
                [ids = save(ids), vocabulary = table.shape()[1]](const Grads& dy, Needs) -> Grads {
                  const Tensor dtable = ops::embedding_backward(dy[0], *ids, vocabulary);
                  return {dtable.transpose(0, 1).contiguous()};
                });
}

Variable replace_rows(const Variable& x, const Variable& rows, const Tensor& indices) {
  check_shape("replace_rows", "rows", rows.value(), {indices.numel(), x.value().dim(-1)});
  check_dtype("replace_rows", "rows", rows.value(), x.dtype());
  return record("replace_rows", with_rows(x.value(), rows.value(), indices), {x, rows},
                [indices = save(indices)](const Grads& dy, Needs needs) -> Grads {
                  return {needs[0] ? without_rows(dy[0], *indices) : Tensor(),
                          needs[1] ? ops::embedding(flat(dy[0].contiguous()), *indices) : Tensor()};
                });
}

Variable add_to_columns(const Variable& x, const Variable& columns, const Tensor& indices) {
  GRAFT_CHECK(columns.value().dim(-1) == indices.numel() && columns.dtype() == x.dtype(),
              ShapeError, "add_to_columns: columns are ", columns.dtype(), " ", columns.shape(),
              ", ", x.dtype(), " (…, ", indices.numel(), ") expected");
  Tensor sum = x.value().clone();
  const Tensor old = columns_of(x.value(), indices);
  const Tensor fresh = ops::add(old, flat(columns.value().contiguous()));
  const Tensor target = flat(sum);
  for_each_index("add_to_columns", indices, target.dim(1), [&](int64_t i, int64_t index) {
    Tensor column = target.slice(1, index, index + 1);
    ops::copy_(column, fresh.slice(1, i, i + 1));
  });
  return record(
      "add_to_columns", std::move(sum), {x, columns},
      [indices = save(indices), shape = columns.shape()](const Grads& dy, Needs needs) -> Grads {
        return {dy[0], needs[1] ? columns_of(dy[0], *indices).view(shape) : Tensor()};
      });
}

}  // namespace graft
