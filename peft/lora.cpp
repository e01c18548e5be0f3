#include "graft/peft/lora.h"

#include "graft/autograd/embedding.h"
#include "graft/autograd/pointwise.h"
#include "graft/tensor/copy.h"
#include "graft/tensor/error.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/random.h"

namespace graft::peft {
namespace {

/// A term with the dropout of the options.
LowRank low_rank_term(LowRank term, const LoraOptions& options, const nn::Context& context) {
  if (context.train && options.dropout > 0)
    term.dropout = context.dropout.key(options.dropout, options.dropout_module);
  return term;
}

}  // namespace

uint32_t dropout_module_of(std::string_view path) {
  const uint64_t stream = stream_of(path);
  return static_cast<uint32_t>(stream ^ (stream >> 32));
}

Lora::Lora(int64_t in_features, int64_t out_features, const LoraOptions& options)
    : options_(options),
      lora_a_(*this, "lora_A.weight", Shape{options.r, in_features}),
      lora_b_(*this, "lora_B.weight", Shape{out_features, options.r}) {
  if (options.bias)
    lora_b_bias_.emplace(*this, "lora_B.bias", Shape{out_features});
}

std::optional<LowRank> Lora::low_rank(const nn::Context& context) const {
  return low_rank_term({.a = *lora_a_, .b = *lora_b_, .scale = scaling()}, options_, context);
}

Variable Lora::bias() const {
  return lora_b_bias_ ? graft::scale(**lora_b_bias_, scaling()) : Variable();
}

Delta Lora::delta(const nn::Linear&) const {
  Delta delta{.a = lora_a_.value(), .b = lora_b_.value(), .scale = scaling()};
  if (taken_) {
    const Tensor out_of_weight = ops::scale(taken_->b.value(), taken_->scale);
    delta = {.a = ops::concatenate({{delta.a, taken_->a.value()}}, 0),
             .b = ops::concatenate({{ops::scale(delta.b, scaling()), out_of_weight}}, 1)};
  }
  if (lora_b_bias_)
    delta.bias = ops::scale(lora_b_bias_->value(), scaling());
  return delta;
}

void Lora::take(Tensor a, Tensor b) {
  GRAFT_CHECK(a.shape() == lora_a_.shape() && b.shape() == lora_b_.shape(), ShapeError,
              "lora: ", b.shape(), " and ", a.shape(), " cannot be taken out of the weight, ",
              lora_b_.shape(), " and ", lora_a_.shape(), " expected");
  taken_ = LowRank{.a = Variable(std::move(a)),
                   .b = Variable(std::move(b)),
                   .scale = -options_.scaling,
                   .dropout = {}};
}

LoraEmbedding::LoraEmbedding(int64_t rows, int64_t features, int64_t r, double scaling)
    : scaling_(scaling),
      lora_a_(*this, "lora_embedding_A", Shape{r, rows}),
      lora_b_(*this, "lora_embedding_B", Shape{features, r}) {}

Variable LoraEmbedding::forward(const Tensor& ids, const nn::Context&) const {
  return graft::scale(linear(embedding_of_columns(*lora_a_, ids), *lora_b_, {}), scaling());
}

Delta LoraEmbedding::delta(const nn::Embedding&) const {
  return {.a = lora_b_.value().transpose(0, 1).contiguous(),
          .b = lora_a_.value().transpose(0, 1).contiguous(),
          .scale = scaling()};
}

TiedLora::TiedLora(LoraEmbedding& embedding, const LoraOptions& options)
    : embedding_(embedding), options_(options) {}

std::optional<LowRank> TiedLora::low_rank(const nn::Context& context) const {
  return low_rank_term({.a = transpose(*embedding_.lora_b()),
                        .b = transpose(*embedding_.lora_a()),
                        .scale = scaling()},
                       options_, context);
}

Delta TiedLora::delta(const nn::Linear&) const {
  const LoraEmbedding& embedding = embedding_;
  return {.a = embedding.lora_b().value().transpose(0, 1).contiguous(),
          .b = embedding.lora_a().value().transpose(0, 1).contiguous(),
          .scale = scaling()};
}

}  // namespace graft::peft
