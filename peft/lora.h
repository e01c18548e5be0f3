// Lora (Hu et al. 2021, arXiv:2106.09685): scaling · B A dropout(x), on linear layers and, without
// dropout, on embeddings.
#pragma once

#include <cstdint>
#include <optional>

#include "graft/peft/adapter.h"

namespace graft::peft {

struct LoraOptions {
  int64_t r = 8;
  double scaling = 1;
  double dropout = 0;           ///< probability of zeroing an element of A's input while training
  uint32_t dropout_module = 0;  ///< names the dropout masks of this layer
  bool bias = false;            ///< B has a bias
};

/// The dropout_module of the layer at a path: the same everywhere and always.
uint32_t dropout_module_of(std::string_view path);

class Lora : public Adapter {
 public:
  /// For a linear layer of these sizes. A and B have no numbers until they are loaded.
  Lora(int64_t in_features, int64_t out_features, const LoraOptions& options);

  std::optional<LowRank> low_rank(const nn::Context& context) const override;
  Variable bias() const override;
  Delta delta(const nn::Linear& base) const override;
  std::optional<LowRank> taken() const override { return taken_; }
  /// From now on scaling · b a, of the shapes of B and A, is taken out of the weight.
  void take(Tensor a, Tensor b);

  int64_t r() const { return lora_a_.shape()[0]; }
  double scaling() const { return options_.scaling * scale(); }
  /// (r, in)
  nn::Parameter& lora_a() { return lora_a_; }
  /// (out, r)
  nn::Parameter& lora_b() { return lora_b_; }
  /// (out), or nullptr.
  nn::Parameter* lora_b_bias() { return lora_b_bias_ ? &*lora_b_bias_ : nullptr; }

 protected:
  /// Whether a forward of that context drops some of A's input.
  bool drops(const nn::Context& context) const { return context.train && options_.dropout > 0; }

 private:
  LoraOptions options_;
  nn::Parameter lora_a_;
  nn::Parameter lora_b_;
  std::optional<nn::Parameter> lora_b_bias_;
  std::optional<LowRank> taken_;
};

/// On an embedding: scaling · B A[:, ids]. A backward adds to the columns of the ids only.
class LoraEmbedding : public EmbeddingAdapter {
 public:
  /// For an embedding of these sizes. A and B have no numbers until they are loaded.
  LoraEmbedding(int64_t rows, int64_t features, int64_t r, double scaling);

  Variable forward(const Tensor& ids, const nn::Context& context) const override;
  Delta delta(const nn::Embedding& base) const override;

  int64_t r() const { return lora_a_.shape()[0]; }
  double scaling() const { return scaling_ * scale(); }
  /// (r, rows)
  nn::Parameter& lora_a() { return lora_a_; }
  /// (features, r)
  nn::Parameter& lora_b() { return lora_b_; }
  const nn::Parameter& lora_a() const { return lora_a_; }
  const nn::Parameter& lora_b() const { return lora_b_; }

 protected:
  /// The transpose of what is added to the table.
  LowRank change() const {
    return {.a = *lora_a_, .b = *lora_b_, .scale = scaling(), .dropout = {}};
  }

 private:
  double scaling_;
  nn::Parameter lora_a_;
  nn::Parameter lora_b_;
};

/// On a head that shares the embedding's matrix, the adapter of that embedding: the change of the
/// one matrix is the change of the other. Has no numbers of its own.
class TiedLora final : public Adapter {
 public:
  /// `embedding` must outlive this; its r counts. Of the options, r is not read.
  TiedLora(LoraEmbedding& embedding, const LoraOptions& options);

  std::optional<LowRank> low_rank(const nn::Context& context) const override;
  Delta delta(const nn::Linear& base) const override;
  bool is_trained() const override { return embedding_.is_trained(); }

  int64_t r() const { return embedding_.r(); }
  double scaling() const { return options_.scaling * scale(); }

 private:
  LoraEmbedding& embedding_;
  LoraOptions options_;
};

}  // namespace graft::peft
