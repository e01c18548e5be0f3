// AdaptedEmbedding: an embedding with adapters, put where the embedding was. As AdaptedLinear.
//
// A head that shares the embedding's matrix shares it as before: adapters of the embedding do not
// change it, and those of the head do not change the embedding.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "graft/nn/embedding.h"
#include "graft/peft/adapter.h"
#include "graft/peft/named_adapters.h"

namespace graft::peft {

class AdaptedEmbedding final : public nn::EmbeddingLike {
 public:
  explicit AdaptedEmbedding(std::unique_ptr<nn::Embedding> base)
      : base_(*this, "", std::move(base)) {}

  Variable forward(const Tensor& ids, const nn::Context& context) const override;
  int64_t rows() const override { return base_->rows(); }
  int64_t features() const override { return base_->features(); }
  const nn::Weight& weight() const override { return base_->weight(); }
  bool is_opaque() const override { return true; }

  /// Throws ConfigError where the name is taken.
  void add(const std::string& name, std::unique_ptr<EmbeddingAdapter> adapter) {
    adapters_.add(name, std::move(adapter));
  }
  /// The adapter of that name, or nullptr.
  EmbeddingAdapter* find(std::string_view name) const { return adapters_.find(name); }
  /// The base layer, to be put back in this one's place. Nothing else may be done afterwards.
  std::unique_ptr<nn::Embedding> release_base();

 private:
  nn::Child<nn::Embedding> base_;
  NamedAdapters<EmbeddingAdapter> adapters_{*this};
};

}  // namespace graft::peft
