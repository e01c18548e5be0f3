// Decoder: a causal language model of Llama's shape, with what its family does otherwise.
//
// Module paths equal the keys of Hugging Face checkpoints: model.embed_tokens,
// model.layers.N.self_attn.q_proj, …, model.norm, lm_head.
#pragma once

#include <vector>

#include "graft/models/decoder_config.h"
#include "graft/models/model_info.h"
#include "graft/nn/causal_lm.h"
#include "graft/nn/decoder_layer.h"
#include "graft/nn/embedding.h"

namespace graft::models {

/// Embedding, layers and last norm: the model without its head.
class DecoderStack final : public nn::Module {
 public:
  explicit DecoderStack(const DecoderConfig& config);

  /// ids (B,T) i64 -> (B,T,hidden_size).
  Variable forward(const Tensor& ids, const nn::Context& context) const;
  /// The embedding's matrix, for a tied head.
  const nn::Weight& embedding_weight() const { return embed_tokens_->weight(); }

 private:
  std::vector<nn::Rotary> rotaries_;
  double embedding_scale_;
  nn::Child<nn::EmbeddingLike> embed_tokens_;
  nn::ChildList<nn::DecoderLayer> layers_;
  nn::Child<nn::RmsNorm> norm_;
};

class Decoder final : public nn::CausalLM {
 public:
  /// A model without numbers, which are to be loaded or initialised in `dtype`.
  Decoder(const DecoderConfig& config, std::string name_or_path, DType dtype);

  Variable forward(const Tensor& ids, const nn::Context& context) const override {
    return model_->forward(ids, context);
  }
  const nn::LinearLike& head() const override { return *lm_head_; }
  const nn::ModelInfo& info() const override { return info_; }
  void untie_head() override { info_ = untied(std::move(info_)); }

 private:
  nn::ModelInfo info_;
  nn::Child<DecoderStack> model_;
  nn::Child<nn::LinearLike> lm_head_;
};

}  // namespace graft::models
