// The loss of a language model, fused with its head: no (tokens x vocabulary) matrix exists.
#pragma once

#include "graft/nn/causal_lm.h"

namespace graft::nn {

/// The label of a position without a loss.
inline constexpr int64_t ignored_label = -100;

/// A summed loss and what it sums over. The mean is total / tokens.
struct Loss {
  Variable total;      ///< Σ -log p(label), a scalar f32 (f64 for f64)
  int64_t tokens = 0;  ///< how many labels were not -100
  Tensor per_token;    ///< (B,T) f32: -log p(label), 0 where there is none
};

/// hidden (B,T,D), labels (B,T) i64 with the label of each position, -100 for none. Runs the head
/// and the softmax in chunks of tokens; positions without a label are skipped. Gradients flow
/// through the head, so adapters on it, its weight where it is trained, and a tied embedding get
/// theirs.
Loss chunked_cross_entropy(const Variable& hidden, const Tensor& labels, const LinearLike& head,
                           const Context& context);

/// The loss of predicting each next token. ids, labels (B,T) i64; labels are aligned with ids, the
/// shift happens here: position t is scored against labels[t+1].
Loss causal_lm_loss(const CausalLM& model, const Tensor& ids, const Tensor& labels,
                    const Context& context);

}  // namespace graft::nn
