#include "graft/tests/peft/peft.h"

#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/nn/init.h"
#include "graft/tensor/pointwise.h"
#include "graft/text/regex.h"

namespace graft::test {

namespace {

std::unique_ptr<nn::CausalLM> llama(const io::Json& sizes, DType dtype) {
  io::Json json = {
      {"model_type", "llama"}, {"architectures", {"LlamaForCausalLM"}}, {"num_attention_heads", 2}};
  json.update(sizes);
  const models::DecoderConfig config =
      models::read_decoder_config(io::JsonObject(json, "config.json"));
  auto model = std::make_unique<models::Decoder>(config, "tiny", dtype);
  nn::initialize(*model, 0.3, 7, dtype);
  return model;
}

}  // namespace

std::unique_ptr<nn::CausalLM> tiny_llama(int64_t layers, bool tied, DType dtype,
                                         int64_t vocabulary) {
  return llama({{"vocab_size", vocabulary},
                {"hidden_size", 16},
                {"intermediate_size", 24},
                {"num_hidden_layers", layers},
                {"tie_word_embeddings", tied}},
               dtype);
}

std::unique_ptr<nn::CausalLM> wide_llama(int64_t layers, int64_t hidden) {
  return llama({{"vocab_size", 32},
                {"hidden_size", hidden},
                {"intermediate_size", 2 * hidden},
                {"num_hidden_layers", layers},
                {"tie_word_embeddings", false}},
               DType::f32);
}

const peft::RegexMatcher& matcher() {
  static const peft::RegexMatcher matcher = text::full_matcher();
  return matcher;
}

nn::Context with_adapters(std::vector<std::string> names) {
  nn::Context context;
  context.adapters = nn::AdapterSelection{.names = std::move(names)};
  return context;
}

nn::Context training_with(std::vector<std::string> names) {
  nn::Context context = with_adapters(std::move(names));
  context.train = true;
  context.dropout.seed = 3;
  context.dropout.sample = Tensor::from(std::vector<int64_t>{0, 0, 0, 1, 1, 1}, {6});
  context.dropout.position = Tensor::from(std::vector<int64_t>{0, 1, 2, 0, 1, 2}, {6});
  return context;
}

Tensor some_ids(int64_t rows, int64_t length) {
  Tensor ids = Tensor::empty({rows, length}, DType::i64);
  for (int64_t i = 0; i < ids.numel(); ++i)
    ids.data<int64_t>()[i] = (i * 7 + i * i * 3) % 32;
  return ids;
}

void perturb(peft::PeftModel& model, uint64_t seed) {
  for (const NamedVariable& parameter : model.trainable_parameters()) {
    Variable variable = parameter.variable;
    const Tensor noise = random_tensor(variable.shape(), seed++, variable.dtype());
    variable.set_value(ops::add(variable.value(), noise, 0.1));
  }
}

}  // namespace graft::test
