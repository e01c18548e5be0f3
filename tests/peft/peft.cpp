#include "graft/tests/peft/peft.h"

#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/nn/init.h"
#include "graft/peft/adapted_embedding.h"
#include "graft/peft/adapted_linear.h"
#include "graft/peft/sites.h"
#include "graft/tensor/allocator.h"
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

std::unique_ptr<nn::Linear> random_linear(int64_t out, int64_t in, DType dtype, bool bias) {
  auto layer = std::make_unique<nn::Linear>(in, out, bias);
  uint64_t seed = 1;
  for (const nn::NamedMember& parameter : nn::named_parameters(*layer))
    parameter.member->load(random_tensor(parameter.member->shape(), seed++, dtype));
  nn::set_requires_grad(*layer, false);
  return layer;
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

nn::Context by_row(std::vector<std::string> rows) {
  nn::Context context;
  context.adapters = nn::AdapterSelection{.names = {}, .by_row = std::move(rows)};
  return context;
}

peft::Factors factors_at(peft::PeftModel& model, const std::string& path, const std::string& name) {
  for (const peft::Site& site : peft::sites_of(model.base_model())) {
    if (site.path != path)
      continue;
    if (auto* linear = dynamic_cast<peft::AdaptedLinear*>(site.module)) {
      auto& lora = dynamic_cast<peft::Lora&>(*linear->find(name));
      return {lora.lora_a().value(), lora.lora_b().value()};
    }
    auto& lora = dynamic_cast<peft::LoraEmbedding&>(
        *dynamic_cast<peft::AdaptedEmbedding&>(*site.module).find(name));
    return {lora.lora_a().value(), lora.lora_b().value()};
  }
  FAIL("there is no ", path);
  return {};
}

Growth growth_of(const std::function<void()>& action) {
  allocator(cpu).reset_peak();
  const int64_t before = allocator(cpu).stats().current;
  action();
  const MemoryStats after = allocator(cpu).stats();
  return {after.current - before, after.peak - before};
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

ThreeAdapters::ThreeAdapters(DType dtype, bool lora_bias)
    : base(tiny_llama(2, false, dtype)),
      model(*base, {.r = 2, .target_modules = {"q_proj", "v_proj"}, .lora_bias = lora_bias}, "a",
            {.observer = warnings.observer()}) {
  model.add_adapter("b", {.r = 3, .target_modules = peft::Targets::all_linear(), .lora_alpha = 2});
  model.add_adapter("c", {.target_modules = {"lm_head", "up_proj"}, .lora_bias = lora_bias});
  uint64_t seed = 1;
  for (const char* name : {"c", "b", "a"}) {
    model.set_adapter({name});
    perturb(model, 100 * seed++);
  }
}

}  // namespace graft::test
