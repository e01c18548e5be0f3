#include "graft/models/gpt2.h"

#include <algorithm>
#include <cmath>

#include "graft/autograd/pointwise.h"
#include "graft/autograd/split.h"
#include "graft/models/model_info.h"
#include "graft/nn/attention.h"
#include "graft/nn/run_block.h"
#include "graft/tensor/check.h"

namespace graft::models {
namespace {

std::unique_ptr<nn::LinearLike> make_projection(int64_t in, int64_t out) {
  return nn::make_linear(in, out, /*bias=*/true, nn::FileLayout::in_out);
}

std::unique_ptr<nn::LayerNorm> make_norm(const DecoderConfig& config) {
  return std::make_unique<nn::LayerNorm>(config.hidden_size, config.norm_eps);
}

std::unique_ptr<nn::LinearLike> make_head(const DecoderConfig& config, const Gpt2Stack& model) {
  if (config.tied_head)
    return std::make_unique<nn::Linear>(model.embedding_weight());
  return nn::make_linear(config.hidden_size, config.vocab_size);
}

/// There is a row for each position that the model learned, and no more.
void check_positions(const Tensor& positions, int64_t count) {
  const auto values = positions.span<int64_t>();
  const int64_t last = values.empty() ? 0 : *std::ranges::max_element(values);
  GRAFT_CHECK(last < count, ConfigError, "forward: a text of ", last + 1, " tokens, the model has ",
              count, " positions; cut the texts, e.g. with --max-seq-len ", count);
}

}  // namespace

Gpt2Attention::Gpt2Attention(const DecoderConfig& config, int64_t layer)
    : heads_(config.heads),
      head_dim_(config.head_dim),
      layer_(layer),
      scale_(config.attention_scale.value_or(1 / std::sqrt(static_cast<double>(config.head_dim)))),
      c_attn_(*this, "c_attn", make_projection(config.hidden_size, 3 * config.hidden_size)),
      c_proj_(*this, "c_proj", make_projection(config.hidden_size, config.hidden_size)) {}

Variable Gpt2Attention::forward(const Variable& x, const nn::Placement& placement,
                                const nn::Context& context) const {
  const int64_t batch = x.shape()[0];
  const int64_t length = x.shape()[1];
  const Variable qkv = view(c_attn_->forward(x, context), {batch, length, 3 * heads_, head_dim_});
  const std::vector<Variable> parts = split(qkv, 2, {heads_, heads_, heads_});
  const Variable mixed =
      nn::attend({parts[0], parts[1], parts[2]}, layer_, 0, scale_, placement, context);
  return c_proj_->forward(view(mixed, {batch, length, heads_ * head_dim_}), context);
}

Gpt2Mlp::Gpt2Mlp(const DecoderConfig& config)
    : gelu_(config.activation == nn::Activation::gelu ? GeluKind::exact : GeluKind::tanh),
      c_fc_(*this, "c_fc", make_projection(config.hidden_size, config.intermediate_size)),
      c_proj_(*this, "c_proj", make_projection(config.intermediate_size, config.hidden_size)) {}

Variable Gpt2Mlp::forward(const Variable& x, const nn::Context& context) const {
  return c_proj_->forward(gelu(c_fc_->forward(x, context), gelu_), context);
}

Gpt2Block::Gpt2Block(const DecoderConfig& config, int64_t layer)
    : ln_1_(*this, "ln_1", make_norm(config)),
      attn_(*this, "attn", std::make_unique<Gpt2Attention>(config, layer)),
      ln_2_(*this, "ln_2", make_norm(config)),
      mlp_(*this, "mlp", std::make_unique<Gpt2Mlp>(config)) {}

Variable Gpt2Block::forward(const Variable& x, const nn::Placement& placement,
                            const nn::Context& context) const {
  const Variable mixed = add(x, attn_->forward(ln_1_->forward(x, context), placement, context));
  return add(mixed, mlp_->forward(ln_2_->forward(mixed, context), context));
}

Gpt2Stack::Gpt2Stack(const DecoderConfig& config)
    : wte_(*this, "wte", std::make_unique<nn::Embedding>(config.vocab_size, config.hidden_size)),
      wpe_(*this, "wpe", std::make_unique<nn::Embedding>(config.max_positions, config.hidden_size)),
      h_(*this, "h", config.layers,
         [&](int64_t i) { return std::make_unique<Gpt2Block>(config, i); }),
      ln_f_(*this, "ln_f", make_norm(config)) {}

Variable Gpt2Stack::forward(const Tensor& ids, const nn::Context& context) const {
  check_dtype("forward", "ids", ids, DType::i64);
  GRAFT_CHECK(ids.rank() == 2, ShapeError, "forward: ids are ", ids.shape(), ", (B,T) expected");
  const Variable tokens = wte_->forward(ids, context);
  const nn::Placement placement = nn::place({}, ids.dim(0), ids.dim(1), tokens.dtype(), context);
  check_positions(placement.positions, wpe_->rows());
  Variable x = add(tokens, wpe_->forward(placement.positions, context));
  for (size_t i = 0; i < h_.size(); ++i)
    x = nn::run_block(h_[i], x, placement, context);
  return ln_f_->forward(x, context);
}

Gpt2::Gpt2(const DecoderConfig& config, std::string name_or_path, DType dtype)
    : info_(info_of(config, std::move(name_or_path), dtype)),
      transformer_(*this, "transformer", std::make_unique<Gpt2Stack>(config)),
      lm_head_(*this, "lm_head", make_head(config, *transformer_)) {}

}  // namespace graft::models
