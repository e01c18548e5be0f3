#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "graft/io/file.h"
#include "graft/io/json.h"
#include "graft/models/generate.h"
#include "graft/tests/models/models.h"

namespace graft {
namespace {

using test::check_contains, test::message_of;

io::Json tiny_config() {
  return io::read_json_file(test::golden("families/gpt2/config.json"));
}

std::vector<io::NamedTensor> tiny_tensors() {
  const io::SafetensorsFile file(test::golden("families/gpt2/model.safetensors"));
  std::vector<io::NamedTensor> tensors;
  for (const std::string& name : file.names())
    tensors.push_back({name, file.load(name).clone()});
  return tensors;
}

std::unique_ptr<nn::CausalLM> load(const io::Json& config,
                                   const std::vector<io::NamedTensor>& tensors) {
  const test::TemporaryFolder folder;
  io::write_file_atomically(folder / "config.json", io::to_text(config));
  io::write_safetensors(folder / "model.safetensors", tensors);
  return models::load(folder.path());
}

}  // namespace

TEST_CASE("gpt2: matrices are (out, in) in memory and transposed in files") {
  const auto model = load(tiny_config(), tiny_tensors());
  for (const nn::NamedMember& parameter : nn::named_parameters(*model)) {
    if (parameter.path == "transformer.h.0.attn.c_attn.weight")
      CHECK(parameter.member->shape() == Shape{96, 32});
    if (parameter.path == "transformer.h.1.mlp.c_fc.weight")
      CHECK(parameter.member->shape() == Shape{128, 32});
    if (parameter.path == "transformer.wte.weight")
      CHECK(parameter.member->shape() == Shape{64, 32});
  }
  std::vector<io::NamedTensor> tensors = tiny_tensors();
  for (io::NamedTensor& entry : tensors) {
    if (entry.name == "transformer.h.0.attn.c_attn.weight")
      entry.tensor = entry.tensor.transpose(0, 1).contiguous();
  }
  check_contains(message_of<FormatError>([&] { load(tiny_config(), tensors); }),
                 "transformer.h.0.attn.c_attn.weight has shape (96, 32), (32, 96) expected");
}

TEST_CASE("gpt2: checkpoints without the head's prefix and with masks are the same model") {
  const Tensor ids = test::ids_of({3, 1, 4, 1, 5});
  const Tensor expected = test::logits_of(*load(tiny_config(), tiny_tensors()), ids);
  std::vector<io::NamedTensor> tensors = tiny_tensors();
  for (io::NamedTensor& entry : tensors)
    entry.name = entry.name.substr(std::string("transformer.").size());
  tensors.push_back({"h.0.attn.bias", Tensor::zeros({1, 1, 64, 64})});
  tensors.push_back({"h.1.attn.masked_bias", Tensor::zeros({})});
  CHECK(test::same_bits(test::logits_of(*load(tiny_config(), tensors), ids), expected));
}

TEST_CASE("gpt2: a text longer than the learned positions is refused, generation ends there") {
  const auto model = load(tiny_config(), tiny_tensors());
  CHECK(model->info().max_positions == 64);
  const std::vector<int64_t> whole(64, 3);
  test::logits_of(*model, test::ids_of(whole));
  const std::vector<int64_t> longer(65, 3);
  check_contains(message_of<ConfigError>([&] { test::logits_of(*model, test::ids_of(longer)); }),
                 "forward: a text of 65 tokens, the model has 64 positions; cut the texts");
  CHECK(models::generate(*model, {std::vector<int64_t>(60, 3)}, {.max_new_tokens = 9})[0]
            .ids.size() == 4);
}

TEST_CASE("gpt2: options that would change the numbers are refused by name") {
  const auto refused = [](const char* key, const io::Json& value, const std::string& part) {
    io::Json config = tiny_config();
    config[key] = value;
    check_contains(message_of<ConfigError>([&] { load(config, tiny_tensors()); }), part);
  };
  refused("scale_attn_by_inverse_layer_idx", true, "scale_attn_by_inverse_layer_idx is true");
  refused("reorder_and_upcast_attn", true, "reorder_and_upcast_attn is true");
  refused("add_cross_attention", true, "add_cross_attention is true");
  refused("activation_function", "relu", "activation_function is relu");
  refused("activation_function", "silu", "activation_function is silu");
  refused("quantization_config", {{"quant_method", "gptq"}}, "quant_method is gptq");
}

TEST_CASE("gpt2: a model's own dropout is kept for the files and never applied") {
  io::Json config = tiny_config();
  for (const char* key : {"resid_pdrop", "embd_pdrop", "attn_pdrop"})
    config[key] = 0.1;
  const auto model = load(config, tiny_tensors());
  const io::Json written = io::parse_json(model->info().config_json, "config.json");
  for (const char* key : {"resid_pdrop", "embd_pdrop", "attn_pdrop"})
    CHECK(written[key] == 0.1);
  nn::Context training;
  training.train = true;
  const Tensor ids = test::ids_of({3, 1, 4});
  CHECK(test::same_bits(test::logits_of(*model, ids, training),
                        test::logits_of(*load(tiny_config(), tiny_tensors()), ids)));
}

}  // namespace graft
