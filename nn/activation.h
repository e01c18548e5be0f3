// Activations of feed-forward layers, chosen by a configuration.
#pragma once

#include "graft/autograd/pointwise.h"

namespace graft::nn {

enum class Activation { silu };

/// activation(gate) · up.
inline Variable gated(Activation activation, const Variable& gate, const Variable& up) {
  switch (activation) {
    case Activation::silu:
      break;
  }
  return swiglu(gate, up);
}

}  // namespace graft::nn
