// What the tests of models share: golden models and their answers, small models made on the spot.
#pragma once

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

}  // namespace graft::test
