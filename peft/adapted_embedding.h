// AdaptedEmbedding: an embedding with adapters, put where the embedding was. As AdaptedLinear.
//
// A head that shares the embedding's matrix shares it as before: adapters of the embedding do not
// change it, and those of the head do not change the embedding, merged or not.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graft/nn/embedding.h"
#include "graft/peft/adapted_layer.h"
#include "graft/peft/adapter.h"
#include "graft/peft/named_adapters.h"

namespace graft::peft {

class AdaptedEmbedding final : public nn::EmbeddingLike, public AdaptedLayer {
 public:
  explicit AdaptedEmbedding(std::unique_ptr<nn::Embedding> base)
      : base_(*this, "", std::move(base)) {}

  Variable forward(const Tensor& ids, const nn::Context& context) const override;
  int64_t rows() const override { return base_->rows(); }
  int64_t features() const override { return base_->features(); }
  const nn::Weight& weight() const override { return std::as_const(*base_).weight(); }
  bool is_opaque() const override { return true; }

  /// Throws ConfigError where the name is taken.
  void add(const std::string& name, std::unique_ptr<EmbeddingAdapter> adapter) {
    adapters_.add(name, std::move(adapter));
  }
  EmbeddingAdapter* find(std::string_view name) const override { return adapters_.find(name); }
  std::vector<std::string> adapter_names() const override { return adapters_.names(); }
  bool has_adapters() const override { return !adapters_.empty(); }
  void remove(std::string_view name) override { adapters_.remove(name); }
  std::unique_ptr<nn::Module> make_merged(const MergeRequest& request) override;
  void set_merged(const std::vector<std::string>& names,
                  std::unique_ptr<nn::Module> layer) override;
  nn::Embedding& base() const override { return *base_; }
  /// The base layer, to be put back in this one's place. Nothing else may be done afterwards.
  std::unique_ptr<nn::Embedding> release_base();

 private:
  nn::Child<nn::Embedding> base_;
  NamedAdapters<EmbeddingAdapter> adapters_{*this};
  std::unique_ptr<nn::Embedding> merged_;  // no member: walks see the base
};

}  // namespace graft::peft
