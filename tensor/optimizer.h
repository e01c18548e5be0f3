// The arithmetic of one optimizer step on one parameter.
#pragma once

#include "graft/tensor/slot.h"
#include "graft/tensor/tensor.h"

namespace graft {

/// The settings of a step of AdamW; step from 1.
struct AdamWScalars {
  double lr, beta1, beta2, eps, weight_decay, grad_scale;
  int64_t step;
};
/// AdamW as PyTorch computes it (Loshchilov and Hutter 2019, arXiv:1711.05101):
///   w -= lr · weight_decay · w;  m += (1-beta1)(g - m);  v = beta2 v + (1-beta2) g²;
///   w -= lr / (1 - beta1^step) · m / (sqrt(v) / sqrt(1 - beta2^step) + eps).
/// All row-major; w and g of one floating dtype, m and v f32 (f64 for f64); g is multiplied by
/// `grad_scale` first.
struct AdamWArgs {
  TensorView w, g, m, v;
  AdamWScalars scalars;
};
/// SGD as PyTorch computes it: g += weight_decay · w; m = first ? g : momentum · m + (1-dampening)
/// g; w -= lr · (nesterov ? g + momentum · m : m). m is absent where momentum is 0; dtypes as
/// above.
struct SgdArgs {
  TensorView w, g, m;
  double lr, momentum, dampening, weight_decay, grad_scale;
  bool nesterov, first;
};
/// Lion (Chen et al. 2023, arXiv:2302.06675, algorithm 2):
///   w -= lr · weight_decay · w;  w -= lr · sign(beta1 m + (1-beta1) g);  m = beta2 m + (1-beta2)
///   g.
/// The sign of 0 is 0. dtypes as for AdamW.
struct LionArgs {
  TensorView w, g, m;
  double lr, beta1, beta2, weight_decay, grad_scale;
};
extern Slot<AdamWArgs> adamw_slot;
extern Slot<LionArgs> lion_slot;
extern Slot<SgdArgs> sgd_slot;

}  // namespace graft
