// Clipping gradients by their global norm.
#pragma once

#include "graft/autograd/tape.h"

namespace graft::optim {

/// sqrt(Σ g²) over all gradients together, accumulated in f64 in a fixed order. Undefined ones
/// count as 0; NaN and infinity are passed on.
double global_norm(const Grads& grads);

/// What all gradients are to be multiplied by so that their norm is at most `max_norm`: as
/// PyTorch's clip_grad_norm_, min(1, max_norm / (norm + 1e-6)). 1 where `max_norm` is 0, which
/// means none.
double clip_factor(double norm, double max_norm);

}  // namespace graft::optim
