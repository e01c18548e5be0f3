// Activations of feed-forward layers, chosen by a configuration.
#pragma once

#include "graft/autograd/pointwise.h"

namespace graft::nn {

enum class Activation {
  silu,
  gelu,       ///< x · Φ(x)
  gelu_tanh,  ///< the same with Φ approximated by tanh
};

/// activation(gate) · up.
inline Variable gated(Activation activation, const Variable& gate, const Variable& up) {
  switch (activation) {
    case Activation::silu:
      break;
    case Activation::gelu:
      return geglu(gate, up, GeluKind::exact);
    case Activation::gelu_tanh:
      return geglu(gate, up, GeluKind::tanh);
  }
  return swiglu(gate, up);
}

}  // namespace graft::nn
