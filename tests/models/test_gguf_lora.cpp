#include <algorithm>
#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/models/family.h"
#include "graft/models/gguf_lora.h"
#include "graft/models/gguf_names.h"
#include "graft/models/load_empty.h"
#include "graft/tests/models/gguf_file.h"
#include "graft/tests/models/models.h"
#include "graft/tests/support/families.h"

namespace graft {
namespace {

using models::GgufLora, models::LoraPair;
using test::check_contains, test::message_of;

std::filesystem::path written(const test::TemporaryFolder& scratch, const GgufLora& lora,
                              nn::CausalLM& model) {
  const std::filesystem::path path = scratch / "adapter.gguf";
  io::write_file_atomically(
      path, [&](io::FileWriter& out) { models::write_gguf_lora(out, lora, model); });
  return path;
}

/// A pair of rank 3 for each linear layer below the first block.
GgufLora lora_for(nn::CausalLM& model) {
  GgufLora lora{.alpha = 6, .pairs = {}};
  nn::for_each_member(model, [&](const std::string& path, nn::Member& member) {
    const auto* linear = dynamic_cast<const nn::LinearLike*>(member.module());
    if (linear == nullptr || path.find(".0.") == std::string::npos)
      return;
    const uint64_t seed = lora.pairs.size();
    lora.pairs.push_back({path, test::random_tensor({3, linear->in_features()}, 2 * seed),
                          test::random_tensor({linear->out_features(), 3}, 2 * seed + 1)});
  });
  return lora;
}

}  // namespace

TEST_CASE("gguf lora: pairs for every architecture come back with the same bits") {
  for (const char* name :
       {"llama", "mistral", "qwen2", "qwen3", "phi3", "gemma3", "olmo2", "gpt2"}) {
    CAPTURE(name);
    const test::TemporaryFolder scratch;
    const test::FamilyCase entry(test::family_record(name));
    const auto model = models::load_without_numbers(entry.folder.path());
    const GgufLora lora = lora_for(*model);
    REQUIRE(lora.pairs.size() >= 4);
    const auto path = written(scratch, lora, *model);
    CHECK(models::is_gguf_adapter(path));
    const GgufLora again = models::read_gguf_lora(path, *model);
    CHECK(again.alpha == 6);
    REQUIRE(again.pairs.size() == lora.pairs.size());
    for (const LoraPair& pair : lora.pairs) {
      CAPTURE(pair.module);
      const auto found = std::ranges::find(again.pairs, pair.module, &LoraPair::module);
      REQUIRE(found != again.pairs.end());
      CHECK(test::same_bits(found->a, pair.a));
      CHECK(test::same_bits(found->b, pair.b));
    }
  }
}

TEST_CASE("gguf lora: what llama.cpp's converter makes of PEFT's adapters are PEFT's matrices") {
  const io::Json records = io::read_json_file(test::golden("gguf_models.json"))["adapters"];
  REQUIRE(records.size() == 4);
  for (const io::Json& record : records) {
    CAPTURE(record["name"].get<std::string>());
    const auto path = [&](const char* key) { return test::golden(record[key].get<std::string>()); };
    const auto model = models::load_without_numbers(path("base"));
    CHECK(models::is_gguf_adapter(path("file")));
    const GgufLora lora = models::read_gguf_lora(path("file"), *model);
    const io::SafetensorsFile original(path("adapter") / "adapter_model.safetensors");
    CHECK(lora.alpha == io::read_json_file(path("adapter") / "adapter_config.json")["lora_alpha"]);
    int64_t matrices = 0;
    for (const std::string& name : original.names())
      matrices += name.find(".lora_") != std::string::npos;
    CHECK(2 * std::ssize(lora.pairs) == matrices);
    for (const LoraPair& pair : lora.pairs) {
      CAPTURE(pair.module);
      const std::string prefix = "base_model.model." + pair.module;
      const bool is_embedding = pair.module.ends_with("embed_tokens");
      const char* const ends[2][2] = {{".lora_A.weight", ".lora_B.weight"},
                                      {".lora_embedding_A", ".lora_embedding_B"}};
      for (const bool is_b : {false, true}) {
        const Tensor expected = original.load(prefix + ends[is_embedding][is_b]);
        const Tensor& given = is_b ? pair.b : pair.a;
        if (record["type"] == "F32") {
          CHECK(test::same_bits(given, expected));
        } else if (record["type"] == "F16" || given.dtype() == DType::f16) {
          CHECK(test::same_bits(given, expected.to(DType::f16)));
        } else {
          // Q8_0: half a step of a 127th of the largest number of a block, whose scale is f16.
          CHECK(test::relative_difference(given, expected) < 0.51 / 127);
        }
      }
    }
  }
}

TEST_CASE("gguf lora: a file without alpha has the factor 1, other metadata are refused") {
  const test::TemporaryFolder scratch;
  const auto model = test::golden_model("gqa");
  const int64_t hidden = model->info().hidden_size;
  const std::string a(static_cast<size_t>(8 * hidden), '\0');
  const std::vector<test::GgufTensorBytes> pair = {
      {"blk.0.attn_output.weight.lora_a", 0, {2, hidden}, a},
      {"blk.0.attn_output.weight.lora_b", 0, {hidden, 2}, a}};
  const test::GgufMetadata metadata = {{"general.architecture", std::string("llama")},
                                       {"general.type", std::string("adapter")},
                                       {"adapter.type", std::string("lora")}};
  const auto read = [&](const test::GgufMetadata& more,
                        const std::vector<test::GgufTensorBytes>& tensors) {
    test::GgufMetadata all = more;
    for (const auto& entry : metadata)
      if (std::ranges::find(more, entry.first, &decltype(all)::value_type::first) == more.end())
        all.push_back(entry);
    test::GgufBuilder().write(scratch / "a.gguf", all, tensors);
    return models::read_gguf_lora(scratch / "a.gguf", *model);
  };
  CHECK(!read({}, pair).alpha);
  CHECK(!read({{"adapter.lora.alpha", 0.0f}}, pair).alpha);
  CHECK(read({{"adapter.lora.alpha", 0.1f}}, pair).alpha == 0.1);
  const auto refusal = [&](const test::GgufMetadata& more,
                           const std::vector<test::GgufTensorBytes>& tensors) {
    return message_of<Error>([&] { read(more, tensors); });
  };
  check_contains(refusal({{"adapter.type", std::string("control_vector")}}, pair),
                 "adapter.type is control_vector, lora expected");
  check_contains(refusal({{"general.architecture", std::string("qwen2")}}, pair),
                 "for the architecture qwen2, the model is of llama");
  check_contains(refusal({{"adapter.alora.invocation_tokens", std::vector<bool>{true}}}, pair),
                 "adapter.alora.invocation_tokens is");
  check_contains(refusal({}, {pair[0]}), "lora_a or lora_b is missing");
  check_contains(refusal({}, {}), "no matrices of an adapter");
  check_contains(refusal({}, {{"blk.0.attn_norm.weight", 0, {hidden}, a.substr(0, 4 * hidden)}}),
                 "blk.0.attn_norm.weight is no low-rank matrix");
  check_contains(refusal({}, {{"blk.9.attn_q.weight.lora_a", 0, {2, hidden}, a}}),
                 "the model has no such weight");
  check_contains(refusal({}, {pair[0], {pair[1].name, 0, {2, hidden}, a}}), "expected");
}

TEST_CASE("gguf names: every name of a checkpoint goes to the file's and back") {
  using models::gguf_name, models::hugging_face_name;
  CHECK(gguf_name("model.layers.12.self_attn.q_proj.weight", {}) == "blk.12.attn_q.weight");
  CHECK(gguf_name("lm_head.weight", {}) == "output.weight");
  CHECK(!gguf_name("model.layers.x.self_attn.q_proj.weight", {}));
  CHECK(!gguf_name("model.layers..self_attn.q_proj.weight", {}));
  CHECK(!gguf_name("score.weight", {}));
  for (const char* family : {"llama", "qwen2", "qwen3", "phi3", "gemma3", "olmo2", "gpt2"}) {
    const test::FamilyCase entry(test::family_record(family));
    const auto model = models::load_without_numbers(entry.folder.path());
    const auto own =
        std::ranges::find(models::families(), model->info().model_type, &models::Family::model_type)
            ->gguf_names;
    for (const nn::NamedMember& parameter : nn::named_parameters(*model)) {
      CAPTURE(parameter.path);
      const auto name = gguf_name(parameter.path, own);
      REQUIRE(name);
      CHECK(hugging_face_name(*name, own) == parameter.path);
    }
  }
}

}  // namespace graft
