// Gpt2: GPT-2's decoder, with learned positions, LayerNorm and matrices that its files store
// transposed.
//
// Module paths equal the keys of Hugging Face checkpoints: transformer.wte,
// transformer.h.N.attn.c_attn, …, transformer.ln_f, lm_head. The model's own dropout (attn_pdrop,
// embd_pdrop, resid_pdrop) is kept for the files and never applied: see docs/models.md.
#pragma once

#include "graft/autograd/pointwise.h"
#include "graft/models/decoder_config.h"
#include "graft/models/model_info.h"
#include "graft/nn/causal_lm.h"
#include "graft/nn/embedding.h"
#include "graft/nn/layer_norm.h"
#include "graft/nn/placement.h"

namespace graft::models {

class Gpt2Attention final : public nn::Module {
 public:
  Gpt2Attention(const DecoderConfig& config, int64_t layer);

  /// x (B,T,hidden_size) -> the same shape. Where the context has a cache, appends to it.
  Variable forward(const Variable& x, const nn::Placement& placement,
                   const nn::Context& context) const;

 private:
  int64_t heads_, head_dim_, layer_;
  double scale_;
  nn::Child<nn::LinearLike> c_attn_;
  nn::Child<nn::LinearLike> c_proj_;
};

class Gpt2Mlp final : public nn::Module {
 public:
  explicit Gpt2Mlp(const DecoderConfig& config);

  /// x (…, hidden_size) -> the same shape.
  Variable forward(const Variable& x, const nn::Context& context) const;

 private:
  GeluKind gelu_;
  nn::Child<nn::LinearLike> c_fc_;
  nn::Child<nn::LinearLike> c_proj_;
};

class Gpt2Block final : public nn::Module {
 public:
  /// The block number `layer` of its model.
  Gpt2Block(const DecoderConfig& config, int64_t layer);

  /// x (B,T,hidden_size) -> the same shape.
  Variable forward(const Variable& x, const nn::Placement& placement,
                   const nn::Context& context) const;

 private:
  nn::Child<nn::LayerNorm> ln_1_;
  nn::Child<Gpt2Attention> attn_;
  nn::Child<nn::LayerNorm> ln_2_;
  nn::Child<Gpt2Mlp> mlp_;
};

/// Embeddings, blocks and last norm: the model without its head.
class Gpt2Stack final : public nn::Module {
 public:
  explicit Gpt2Stack(const DecoderConfig& config);

  /// ids (B,T) i64 -> (B,T,hidden_size).
  Variable forward(const Tensor& ids, const nn::Context& context) const;
  /// The embedding's matrix, for a tied head.
  const nn::Weight& embedding_weight() const { return wte_->weight(); }

 private:
  nn::Child<nn::EmbeddingLike> wte_;
  nn::Child<nn::EmbeddingLike> wpe_;
  nn::ChildList<Gpt2Block> h_;
  nn::Child<nn::LayerNorm> ln_f_;
};

class Gpt2 final : public nn::CausalLM {
 public:
  /// A model without numbers, which are to be loaded or initialised in `dtype`.
  Gpt2(const DecoderConfig& config, std::string name_or_path, DType dtype);

  Variable forward(const Tensor& ids, const nn::Context& context) const override {
    return transformer_->forward(ids, context);
  }
  const nn::LinearLike& head() const override { return *lm_head_; }
  const nn::ModelInfo& info() const override { return info_; }
  void untie_head() override { info_ = untied(std::move(info_)); }

 private:
  nn::ModelInfo info_;
  nn::Child<Gpt2Stack> transformer_;
  nn::Child<nn::LinearLike> lm_head_;
};

}  // namespace graft::models
