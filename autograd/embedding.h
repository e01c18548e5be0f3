// Looking up embeddings and changing single rows or columns, with gradients.
#pragma once

#include "graft/autograd/variable.h"
#include "graft/quant/quantized_tensor.h"
#include "graft/tensor/packed_tensor.h"

namespace graft {

/// table (V,D), ids (…) i64 -> (…, D).
Variable embedding(const Variable& table, const Tensor& ids);
/// The same for a frozen table in panels or in 4 bits.
Variable embedding(const PackedTensor& table, const Tensor& ids);
Variable embedding(const quant::QuantizedTensor& table, const Tensor& ids);
/// The same for a table that is held transposed, (D,V), and is not copied for it.
Variable embedding_of_columns(const Variable& table, const Tensor& ids);

/// x (…, D) with the rows at `indices` (n) i64, counted over all leading dimensions, replaced by
/// those of rows (n,D). Each index stands once.
Variable replace_rows(const Variable& x, const Variable& rows, const Tensor& indices);
/// x (…, D) with columns (…, n) added to those at `indices` (n) i64. Each index stands once.
Variable add_to_columns(const Variable& x, const Variable& columns, const Tensor& indices);

}  // namespace graft
