#include "graft/peft/loftq.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "graft/tensor/columns.h"
#include "graft/tensor/linalg.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"

namespace graft::peft {
namespace {

// What quantising loses is noise, whose singular values fall slowly: of a square of 1024, so many
// directions and iterations hold 0.998 of what the largest values hold.
constexpr int64_t spare_directions = 16;
constexpr int64_t iterations_of_svd = 16;

void check(const Tensor& w, const LoftQOptions& options) {
  GRAFT_CHECK(options.iterations >= 1, ConfigError, "loftq: ", options.iterations,
              " iterations given, at least 1 expected");
  GRAFT_CHECK(options.scaling > 0, ConfigError, "loftq: the scaling is ", options.scaling,
              ", above 0 expected; lora_alpha must be so");
  const int64_t most = std::min(w.dim(0), w.dim(1));
  GRAFT_CHECK(options.r >= 1 && options.r <= most, ConfigError, "loftq: the rank is ", options.r,
              ", from 1 to ", most, " expected for a weight of ", w.shape());
}

/// The r largest singular values at the front, about.
ops::Svd largest_values(const Tensor& x, int64_t r) {
  const int64_t directions = r + spare_directions;
  return 2 * directions < std::min(x.dim(0), x.dim(1))
             ? ops::svd_lowrank(x, {.rank = directions, .niter = iterations_of_svd})
             : ops::svd(x);
}

/// The best LoRA for what a quantised weight leaves over of W.
LoftQ make_up_for(const Tensor& w, quant::QuantizedTensor quantized, const LoftQOptions& options) {
  LoftQ result{.weight = std::move(quantized), .lora_a = {}, .lora_b = {}};
  const Tensor lost = ops::add(w, quant::dequantize(result.weight, DType::f32), -1);
  const int64_t r = options.r;
  const ops::Svd svd = largest_values(lost, r);
  std::vector<float> roots;
  double held = 0;
  for (const double value : svd.s.slice(0, 0, r).contiguous().to_vector()) {
    held += value * value;
    roots.push_back(static_cast<float>(std::sqrt(value / options.scaling)));
  }
  const Tensor factors = Tensor::from(roots, {r});
  result.lora_b = ops::scale_columns(svd.u.slice(1, 0, r).contiguous(), factors);
  result.lora_a = ops::scale_columns(svd.vt.slice(0, 0, r).transpose(0, 1).contiguous(), factors)
                      .transpose(0, 1)
                      .contiguous();
  const double size = ops::sum_of_squares(w);
  if (size > 0) {
    result.quantized_alone = std::sqrt(ops::sum_of_squares(lost) / size);
    result.residual = std::sqrt(std::max(0.0, ops::sum_of_squares(lost) - held) / size);
  }
  return result;
}

}  // namespace

LoftQ loftq(const Tensor& w, const LoftQOptions& options) {
  check(w, options);
  const Tensor numbers = w.contiguous().to(DType::f32);
  LoftQ best = make_up_for(
      numbers, options.quantized ? *options.quantized : quant::quantize(numbers, options.format),
      options);
  const double quantized_alone = best.quantized_alone;
  Tensor a = best.lora_a;
  Tensor b = best.lora_b;
  for (int64_t i = 1; i < options.iterations; ++i) {
    const Tensor left = ops::add(numbers, ops::matmul(b, a, options.scaling), -1);
    LoftQ next = make_up_for(numbers, quant::quantize(left, options.format), options);
    a = next.lora_a;
    b = next.lora_b;
    if (next.residual < best.residual)
      best = std::move(next);
  }
  best.quantized_alone = quantized_alone;
  best.weight.dtype = options.quantized ? options.quantized->dtype : w.dtype();
  return best;
}

}  // namespace graft::peft
