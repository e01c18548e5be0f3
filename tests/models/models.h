// What the tests of models share: golden models and their answers, small models made on the spot.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "graft/autograd/tape.h"
#include "graft/io/safetensors.h"
#include "graft/models/decoder.h"
#include "graft/models/load.h"
#include "graft/nn/init.h"
#include "graft/tests/support/test.h"

namespace graft::test {

/// A model of tests/golden/models.
inline std::unique_ptr<nn::CausalLM> golden_model(const std::string& name,
                                                  DType dtype = DType::f32) {
  return models::load(golden("models/" + name), {.dtype = dtype});
}

/// What transformers says to it.
inline io::SafetensorsFile golden_answers(const std::string& name) {
  return io::SafetensorsFile(golden("models/" + name + ".safetensors"));
}

/// Logits (B,T,V) without gradients.
inline Tensor logits_of(const nn::CausalLM& model, const Tensor& ids,
                        const nn::Context& context = {}) {
  const NoGrad no_grad;
  return model.logits(ids, context).value();
}

inline Tensor ids_of(const std::vector<int64_t>& ids) {
  return Tensor::from(ids, {1, static_cast<int64_t>(ids.size())});
}

/// Row b of a tensor, without the first dimension.
inline Tensor row_of(const Tensor& x, int64_t row) {
  return x.slice(0, row, row + 1).contiguous().view({x.dim(1), -1});
}

/// f32 sums over a few dozen terms in two orders, over two layers; the golden logits are themselves
/// exact to 2e-6 only (f32_rounding in models.json).
inline constexpr double logit_tolerance = 2e-5;

/// The largest difference from the answers' tensor `name` at positions that are no padding,
/// relative to the largest logit.
inline double logit_difference(const Tensor& logits, const io::SafetensorsFile& answers,
                               const std::string& name) {
  const std::vector<double> given = logits.to_vector();
  const std::vector<double> expected = answers.load(name).to_vector();
  const std::vector<double> mask = answers.load("attention_mask").to_vector();
  REQUIRE(logits.shape() == answers.load(name).shape());
  const size_t vocabulary = expected.size() / mask.size();
  double largest = 0;
  double difference = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (mask[i / vocabulary] == 0)
      continue;
    largest = std::max(largest, std::fabs(expected[i]));
    difference = std::max(difference, std::fabs(given[i] - expected[i]));
  }
  return difference / largest;
}

}  // namespace graft::test
