// LoftQ (Li et al. 2023, arXiv:2310.08659): a weight in 4 bits together with a LoRA that starts as
// what the weight lost.
#pragma once

#include <cstdint>
#include <optional>

#include "graft/quant/quantized_tensor.h"

namespace graft::peft {

struct LoftQOptions {
  int64_t r = 8;
  double scaling = 1;      ///< of the LoRA; above 0
  int64_t iterations = 1;  ///< of quantising and decomposing; at least 1
  quant::Format format{};
  /// The weight as it is quantised already, in that format: what the first iteration takes.
  std::optional<quant::QuantizedTensor> quantized{};
};

struct LoftQ {
  quant::QuantizedTensor weight;  ///< Q
  Tensor lora_a;                  ///< A, f32 (r, in)
  Tensor lora_b;                  ///< B, f32 (out, r)
  double residual = 0;            ///< ‖W - (Q + scaling · B A)‖ / ‖W‖; 0 where W is 0
  double quantized_alone = 0;     ///< ‖W - quantised(W)‖ / ‖W‖, for comparison
};

/// Alternates between quantising what the LoRA leaves over, Q = quantised(W - scaling · B A), and
/// making the LoRA the best one for what the quantised weight leaves over, scaling · B A = the r
/// largest singular values of W - Q, and gives the iteration with the least residual. (PEFT's
/// leaves the scaling out, so that its start only fits where alpha is r.) w (out, in), any float.
/// Throws ConfigError where an option is out of its range or r above the sizes of w, NonFiniteError
/// where w has a NaN or an infinity.
LoftQ loftq(const Tensor& w, const LoftQOptions& options);

}  // namespace graft::peft
