// EmbeddingLike, the seam at which adapters of embeddings are put in, and Embedding.
#pragma once

#include <optional>

#include "graft/nn/context.h"
#include "graft/nn/module.h"
#include "graft/nn/weight.h"

namespace graft::nn {

/// Anything that maps ids (…) i64 in [0, rows) to (…, features).
class EmbeddingLike : public Module {
 public:
  virtual Variable forward(const Tensor& ids, const Context& context) const = 0;
  virtual int64_t rows() const = 0;
  virtual int64_t features() const = 0;
  /// (rows, features); a tied head shares it.
  virtual const Weight& weight() const = 0;
};

class Embedding final : public EmbeddingLike {
 public:
  Embedding(int64_t rows, int64_t features) : weight_(*this, "weight", Shape{rows, features}) {}

  Variable forward(const Tensor& ids, const Context& context) const override;
  int64_t rows() const override { return weight_.shape()[0]; }
  int64_t features() const override { return weight_.shape()[1]; }
  const Weight& weight() const override { return weight_; }
  Weight& weight() { return weight_; }

  /// Rows come in `dtype` from now on, whatever the table is held in.
  void give(DType dtype) { given_ = dtype; }

 private:
  DType given_dtype() const { return given_.value_or(weight_.dtype()); }

  Weight weight_;
  std::optional<DType> given_;
};

}  // namespace graft::nn
