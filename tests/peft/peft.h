// What the tests of peft share: small models, a matcher, an observer that remembers.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "graft/nn/linear.h"
#include "graft/peft/factors.h"
#include "graft/peft/peft_model.h"
#include "graft/tests/models/models.h"

namespace graft::test {

/// A Llama with numbers of its own and the shape of the models behind peft_matching.json.
std::unique_ptr<nn::CausalLM> tiny_llama(int64_t layers, bool tied = false,
                                         DType dtype = DType::f32, int64_t vocabulary = 32);

/// The same with layers of 12 · hidden² numbers or so.
std::unique_ptr<nn::CausalLM> wide_llama(int64_t layers, int64_t hidden);

/// A frozen layer with numbers of its own.
std::unique_ptr<nn::Linear> random_linear(int64_t out, int64_t in, DType dtype, bool bias = true);

/// text::full_matcher().
const peft::RegexMatcher& matcher();

/// Warnings, in the order they came.
struct Warnings {
  std::vector<std::string> texts;
  peft::Observer observer() {
    return [this](const std::string& warning) { texts.push_back(warning); };
  }
};

/// A context that names these adapters for all rows.
nn::Context with_adapters(std::vector<std::string> names);
/// The same for training with an input of (2, 3, …): two samples of three tokens.
nn::Context training_with(std::vector<std::string> names);

/// A context that names one adapter, or nn::base_row, for each row.
nn::Context by_row(std::vector<std::string> rows);

/// A and B that an adapter has at a path.
peft::Factors factors_at(peft::PeftModel& model, const std::string& path, const std::string& name);

/// Bytes more in use after an action, and how many more there were in between.
struct Growth {
  int64_t lasting = 0;
  int64_t peak = 0;

  bool operator==(const Growth&) const = default;
};
Growth growth_of(const std::function<void()>& action);

/// Some ids (rows, length) below 32.
Tensor some_ids(int64_t rows, int64_t length);

/// Adds normal numbers to all trained parameters, so that none is at its start.
void perturb(peft::PeftModel& model, uint64_t seed = 5);

/// Three adapters with different targets and numbers of their own on a small model; "a" is active.
struct ThreeAdapters {
  std::unique_ptr<nn::CausalLM> base;
  Warnings warnings;
  peft::PeftModel model;

  explicit ThreeAdapters(DType dtype = DType::f32, bool lora_bias = false);
};

}  // namespace graft::test
