// What the tests of peft share: small models, a matcher, an observer that remembers.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "graft/io/json.h"
#include "graft/nn/init.h"
#include "graft/peft/peft_model.h"
#include "graft/tensor/pointwise.h"
#include "graft/tests/models/models.h"
#include "graft/text/regex.h"

namespace graft::test {

/// The shape of the models behind peft_matching.json.
inline models::DecoderConfig tiny_config(int64_t layers, bool tied = false) {
  const std::string text =
      concat(R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 32, )",
             R"("hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, )",
             R"("num_hidden_layers": )", layers, R"(, "tie_word_embeddings": )",
             tied ? "true" : "false", "}");
  const io::Json json = io::parse_json(text, "config.json");
  return models::read_decoder_config(io::JsonObject(json, "config.json"));
}

/// A Llama with numbers of its own.
inline std::unique_ptr<nn::CausalLM> tiny_llama(int64_t layers, bool tied = false,
                                                DType dtype = DType::f32) {
  auto model = std::make_unique<models::Decoder>(tiny_config(layers, tied), "tiny", dtype);
  nn::initialize(*model, 0.3, 7, dtype);
  return model;
}

inline const peft::RegexMatcher& matcher() {
  static const peft::RegexMatcher matcher = text::full_matcher();
  return matcher;
}

/// Warnings, in the order they came.
struct Warnings {
  std::vector<std::string> texts;
  peft::Observer observer() {
    return [this](const std::string& warning) { texts.push_back(warning); };
  }
};

/// Some ids (rows, length) below 32.
inline Tensor some_ids(int64_t rows, int64_t length) {
  Tensor ids = Tensor::empty({rows, length}, DType::i64);
  for (int64_t i = 0; i < ids.numel(); ++i)
    ids.data<int64_t>()[i] = (i * 7 + i * i * 3) % 32;
  return ids;
}

/// Adds normal numbers to all parameters of the active adapters, so that none is at its start.
inline void perturb(peft::PeftModel& model, uint64_t seed = 5) {
  for (const NamedVariable& parameter : model.trainable_parameters()) {
    Variable variable = parameter.variable;
    Tensor noise = random_tensor(variable.shape(), seed++, variable.dtype());
    variable.set_value(ops::add(variable.value(), ops::scale(noise, 0.1)));
  }
}

}  // namespace graft::test
