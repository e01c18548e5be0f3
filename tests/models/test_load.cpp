#include <algorithm>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "graft/io/file.h"
#include "graft/io/json.h"
#include "graft/tensor/allocator.h"
#include "graft/tests/models/models.h"

namespace graft {
namespace {

using test::check_contains, test::message_of;

/// A copy of a golden model that tests may spoil.
class SpoiltModel {
 public:
  explicit SpoiltModel(const std::string& name)
      : config(io::read_json_file(test::golden("models/" + name + "/config.json"))) {
    const io::SafetensorsFile file(test::golden("models/" + name + "/model.safetensors"));
    for (const std::string& tensor : file.names())
      tensors.push_back({tensor, file.load(tensor).clone()});
  }

  const std::filesystem::path& write() {
    io::write_file_atomically(folder_ / "config.json", io::to_text(config));
    io::write_safetensors(folder_ / "model.safetensors", tensors);
    return folder_.path();
  }
  Tensor& tensor(const std::string& name) {
    for (io::NamedTensor& entry : tensors) {
      if (entry.name == name)
        return entry.tensor;
    }
    throw Error("no such tensor");
  }

  io::Json config;
  std::vector<io::NamedTensor> tensors;

 private:
  test::TemporaryFolder folder_;
};

}  // namespace

TEST_CASE("load: a model holds its numbers itself, in the wanted dtype, frozen") {
  SpoiltModel files("gqa");
  const auto model = models::load(files.write(), {.dtype = DType::bf16});
  CHECK(model->info().dtype == DType::bf16);
  CHECK(model->info().model_type == "llama");
  CHECK(model->info().heads == 4);
  CHECK(model->info().kv_heads == 2);
  CHECK(model->info().head_dim == 8);
  for (const DType dtype : {DType::bf16, DType::f32}) {
    const auto held = models::load(files.write(), {.dtype = dtype});
    for (const nn::NamedMember& parameter : nn::named_parameters(*held)) {
      const Tensor value = parameter.member->value();
      CHECK(value.dtype() == dtype);
      CHECK(!value.storage()->is_external());
      CHECK(test::same_bits(value, files.tensor(parameter.path).to(dtype)));
      CHECK(!parameter.member->variable()->requires_grad());
    }
  }
}

TEST_CASE("load: the peak of memory is the model and one tensor") {
  const std::filesystem::path path = test::data("models/tinystories-656k/fp32");
  Allocator& memory = allocator(cpu);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const int64_t before = memory.stats().current;
    memory.reset_peak();
    const auto model = models::load(path, {.dtype = dtype});
    int64_t largest = 0;
    for (const nn::NamedMember& parameter : nn::named_parameters(*model))
      largest = std::max(largest, parameter.member->value().nbytes());
    CHECK(memory.stats().peak - memory.stats().current <= largest);
    CHECK(memory.stats().current - before <
          1.1 * static_cast<double>(nn::count_parameters(*model) *
                                    static_cast<int64_t>(element_size(dtype))));
  }
}

TEST_CASE("load: progress counts every number once") {
  int64_t calls = 0;
  models::LoadProgress last;
  const auto model = models::load(test::golden("models/tied"),
                                  {.progress = [&](const models::LoadProgress& progress) {
                                    ++calls;
                                    CHECK(progress.done > last.done);
                                    last = progress;
                                  }});
  CHECK(calls == 20);
  CHECK(last.done == nn::count_parameters(*model));
  CHECK(last.total == last.done);
}

TEST_CASE("load: missing, unexpected and misshapen tensors are one error that lists them") {
  SpoiltModel files("gqa");
  std::erase_if(files.tensors, [](const auto& entry) { return entry.name == "model.norm.weight"; });
  files.tensors.push_back({"model.norm.wieght", Tensor::zeros({32})});
  files.tensor("model.layers.1.mlp.up_proj.weight") = Tensor::zeros({32, 64});
  files.tensor("model.layers.0.mlp.up_proj.weight") = Tensor::zeros({64, 32}, DType::i32);
  const auto& folder = files.write();
  const std::string message = message_of<FormatError>([&] { models::load(folder); });
  check_contains(message, "model.safetensors: 4 tensors do not fit the model's configuration:");
  check_contains(message, "\n  model.norm.weight (32) is missing");
  check_contains(message, "\n  model.norm.wieght is unexpected");
  check_contains(message,
                 "\n  model.layers.1.mlp.up_proj.weight has shape (32, 64), (64, 32) expected");
  check_contains(message, "\n  model.layers.0.mlp.up_proj.weight has dtype i32");
  check_contains(message_of<FormatError>([&] { models::describe(folder); }), "4 tensors");
}

TEST_CASE("load: a long list of problems is cut short") {
  SpoiltModel files("gqa");
  for (int i = 0; i < 30; ++i)
    files.tensors.push_back({"extra" + std::to_string(i), Tensor::zeros({1})});
  const auto& folder = files.write();
  const std::string message = message_of<FormatError>([&] { models::load(folder); });
  check_contains(message, "30 tensors do not fit");
  CHECK(std::ranges::count(message, '\n') == 21);
}

TEST_CASE("load: rotary tables of old checkpoints are passed over") {
  SpoiltModel files("gqa");
  files.tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", Tensor::zeros({4})});
  CHECK(models::load(files.write()) != nullptr);
}

TEST_CASE("load: a tied matrix may stand under either name, or under both if they are equal") {
  SpoiltModel files("gqa");
  const Tensor ids = test::golden_answers("gqa").load("input_ids");
  const Tensor expected = test::logits_of(*models::load(files.write()), ids);
  const Tensor matrix = files.tensor("model.embed_tokens.weight");
  files.tensors.push_back({"lm_head.weight", matrix});
  CHECK(test::same_bits(test::logits_of(*models::load(files.write()), ids), expected));
  std::erase_if(files.tensors,
                [](const auto& entry) { return entry.name == "model.embed_tokens.weight"; });
  CHECK(test::same_bits(test::logits_of(*models::load(files.write()), ids), expected));
  files.tensors.push_back({"model.embed_tokens.weight", matrix.clone()});
  files.tensors.back().tensor.data<float>()[5] += 1;
  const auto& folder = files.write();
  const std::string message = message_of<FormatError>([&] { models::load(folder); });
  check_contains(message, "lm_head.weight and model.embed_tokens.weight differ");
  check_contains(message, "tie_word_embeddings");
}

TEST_CASE("load: places without a model are refused with what to do") {
  const test::TemporaryFolder folder;
  const auto refusal = [](const std::filesystem::path& path) {
    return message_of<ConfigError>([&] { models::load(path); });
  };
  check_contains(refusal("HuggingFaceTB/SmolLM2-135M-Instruct"),
                 "hf download HuggingFaceTB/SmolLM2-135M-Instruct --local-dir "
                 "SmolLM2-135M-Instruct");
  check_contains(refusal(folder / "nowhere"), "there is no " + (folder / "nowhere").string());
  check_contains(refusal(folder.path()), "has no config.json");
  std::ofstream(folder / "adapter_config.json") << "{}";
  check_contains(refusal(folder.path()), "holds an adapter, a model expected");
  std::ofstream(folder / "model.safetensors") << "x";
  check_contains(refusal(folder / "model.safetensors"), "give the folder it is in");
  std::ofstream(folder / "model.gguf") << "not a model";
  check_contains(message_of<FormatError>([&] { models::load(folder / "model.gguf"); }),
                 "model.gguf");
  check_contains(message_of<ConfigError>(
                     [&] { models::load(test::golden("models/gqa"), {.dtype = DType::i64}); }),
                 "dtype i64 given, a floating one expected");
}

TEST_CASE("load: what ends a text comes from generation_config.json before config.json") {
  SpoiltModel files("gqa");
  CHECK(models::load(files.write())->info().eos_token_ids == std::vector<int64_t>{2});
  io::write_file_atomically(files.write() / "generation_config.json",
                            R"({"eos_token_id": [7, 2], "pad_token_id": 5})");
  const auto model = models::load(files.write());
  CHECK(model->info().eos_token_ids == std::vector<int64_t>{7, 2});
  CHECK(model->info().pad_token_id == 5);
  CHECK(model->info().bos_token_id == 1);
}

}  // namespace graft
