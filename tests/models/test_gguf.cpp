// GGUF files against the Hugging Face folders they would be converted from.

#include <algorithm>
#include <map>

#include "graft/nn/module.h"
#include "graft/tests/models/gguf_file.h"
#include "graft/tests/models/models.h"

namespace graft {
namespace {

using test::check_contains, test::message_of;

/// Stored in the order of llama.cpp: rows i and i + D/2 of each head side by side.
Tensor interleaved(const Tensor& x, int64_t heads) {
  Tensor result = x.clone();
  const int64_t head_dim = x.dim(0) / heads;
  const int64_t width = x.rank() == 1 ? 1 : x.dim(1);
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t i = 0; i < head_dim; ++i) {
      const int64_t from = head * head_dim + i / 2 + i % 2 * (head_dim / 2);
      const int64_t to = head * head_dim + i;
      std::copy_n(x.data<float>() + from * width, width, result.data<float>() + to * width);
    }
  }
  return result;
}

const std::map<std::string, std::string> gguf_names{
    {"input_layernorm", "attn_norm"},    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},      {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"}, {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},       {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},       {"lm_head", "output"}};

std::string gguf_name(const std::string& path) {
  const size_t ending = path.rfind('.');
  std::string prefix;
  std::string stem = path.substr(0, ending);
  if (stem.starts_with("model.layers.")) {
    prefix = "blk." + stem.substr(13, 2);
    stem = stem.substr(15);
  }
  return prefix + gguf_names.at(stem) + path.substr(ending);
}

/// A GGUF file of a golden model in f32.
struct Conversion {
  test::GgufMetadata metadata;
  std::vector<test::GgufTensorBytes> tensors;

  explicit Conversion(nn::CausalLM& model, float eps = 1e-5f, float theta = 10000) {
    const nn::ModelInfo& info = model.info();
    const auto size = [](int64_t value) { return static_cast<uint32_t>(value); };
    metadata = {{"general.architecture", "llama"},
                {"llama.block_count", size(info.layers)},
                {"llama.context_length", size(info.max_positions)},
                {"llama.embedding_length", size(info.hidden_size)},
                {"llama.feed_forward_length", size(info.intermediate_size)},
                {"llama.attention.head_count", size(info.heads)},
                {"llama.attention.head_count_kv", size(info.kv_heads)},
                {"llama.attention.key_length", size(info.head_dim)},
                {"llama.attention.layer_norm_rms_epsilon", eps},
                {"llama.rope.freq_base", theta},
                {"tokenizer.ggml.bos_token_id", uint32_t{1}},
                {"tokenizer.ggml.eos_token_id", uint32_t{2}}};
    for (const nn::NamedMember& parameter : nn::named_parameters(model)) {
      Tensor value = parameter.member->value();
      if (parameter.path.find("q_proj") != std::string::npos)
        value = interleaved(value, info.heads);
      if (parameter.path.find("k_proj") != std::string::npos)
        value = interleaved(value, info.kv_heads);
      tensors.push_back(
          {gguf_name(parameter.path), 0, value.shape(), test::text_of(value.bytes())});
    }
  }

  void set(const std::string& key, test::GgufAny value) {
    std::erase_if(metadata, [&](const auto& entry) { return entry.first == key; });
    metadata.emplace_back(key, std::move(value));
  }
  std::filesystem::path write(const test::TemporaryFolder& folder) const {
    test::GgufBuilder().write(folder / "model.gguf", metadata, tensors);
    return folder / "model.gguf";
  }
};

}  // namespace

TEST_CASE("gguf: a converted model has the bits of its Hugging Face folder") {
  for (const std::string name : {"gqa", "untied", "head_dim", "biases"}) {
    CAPTURE(name);
    const auto original = test::golden_model(name);
    const test::TemporaryFolder folder;
    const Conversion conversion(*original, 1e-5f, name == "head_dim" ? 500000 : 10000);
    const auto model = models::load(conversion.write(folder));
    const auto expected = nn::named_parameters(*original);
    const auto given = nn::named_parameters(*model);
    REQUIRE(given.size() == expected.size());
    for (size_t i = 0; i < given.size(); ++i) {
      CHECK(given[i].path == expected[i].path);
      CHECK(test::same_bits(given[i].member->value(), expected[i].member->value()));
    }
    const Tensor ids = test::golden_answers(name).load("input_ids");
    CHECK(test::same_bits(test::logits_of(*model, ids), test::logits_of(*original, ids)));
    CHECK(model->info().tied_head == original->info().tied_head);
    CHECK(model->info().bos_token_id == 1);
    CHECK(model->info().eos_token_ids == std::vector<int64_t>{2});
    // The f32 1e-5 of the file is written as 1e-05, not as the double next to it.
    check_contains(model->info().config_json, "\"rms_norm_eps\": 1e-05,");
  }
}

TEST_CASE("gguf: a model is quantised while it is loaded as its Hugging Face folder is") {
  const test::TemporaryFolder folder;
  const auto dense = test::golden_model("gqa");
  const auto model = models::load(Conversion(*dense).write(folder), {.quant = quant::nf4()});
  const auto expected = models::load(test::golden("models/gqa"), {.quant = quant::nf4()});
  CHECK(model->info().quant.load_in_4bit);
  const Tensor ids = test::golden_answers("gqa").load("input_ids");
  CHECK(test::same_bits(test::logits_of(*model, ids), test::logits_of(*expected, ids)));
  CHECK(test::relative_difference(test::logits_of(*model, ids), test::logits_of(*dense, ids)) > 0);
}

TEST_CASE("gguf: a description says what the file holds") {
  const auto original = test::golden_model("gqa");
  const test::TemporaryFolder folder;
  const models::Description about = models::describe(Conversion(*original).write(folder));
  CHECK(about.format == "gguf");
  CHECK(about.parameters == nn::count_parameters(*original));
  CHECK(about.info.kv_heads == 2);
}

TEST_CASE("gguf: models that need what graft has not are refused by name") {
  const auto original = test::golden_model("gqa");
  const auto refused = [&](const std::string& key, const test::GgufAny& value,
                           const std::string& part) {
    const test::TemporaryFolder folder;
    Conversion conversion(*original);
    conversion.set(key, value);
    const auto path = conversion.write(folder);
    check_contains(message_of<ConfigError>([&] { models::load(path); }), part);
  };
  refused("general.architecture", "falcon",
          "general.architecture falcon is not supported; supported: llama, qwen2, qwen3, gpt2, "
          "phi3, gemma3, olmo2");
  refused("llama.expert_count", uint32_t{8}, "llama.expert_count is 8, which is not supported");
  refused("llama.attention.sliding_window", uint32_t{64}, "sliding_window is 64");
}

TEST_CASE("gguf: tensors that do not fit the metadata are listed") {
  const auto original = test::golden_model("gqa");
  const test::TemporaryFolder folder;
  Conversion conversion(*original);
  conversion.set("llama.feed_forward_length", uint32_t{60});
  std::erase_if(conversion.tensors,
                [](const auto& tensor) { return tensor.name == "blk.1.attn_v.weight"; });
  conversion.tensors.push_back({"blk.0.extra.weight", 0, {2}, std::string(8, '\0')});
  conversion.tensors.push_back({"blk.2.attn_v.weight", 12, {256}, std::string(144, '\0')});
  const auto path = conversion.write(folder);
  const std::string message = message_of<FormatError>([&] { models::load(path); });
  check_contains(message, "model.gguf: 9 tensors do not fit the model's configuration:");
  check_contains(message, "\n  model.layers.1.self_attn.v_proj.weight (16, 32) is missing");
  check_contains(message,
                 "\n  model.layers.0.mlp.gate_proj.weight has shape (64, 32), (60, 32) expected");
  check_contains(message, "\n  blk.0.extra.weight is unexpected");
  check_contains(message, "\n  model.layers.2.self_attn.v_proj.weight is unexpected");
}

TEST_CASE("gguf: a tensor of an unknown kind of block is named with its kind") {
  const auto original = test::golden_model("gqa");
  const test::TemporaryFolder folder;
  Conversion conversion(*original);
  test::GgufTensorBytes& norm = conversion.tensors.at(1);
  norm.type = 23;  // IQ4_XS: blocks of 256 numbers in 136 bytes
  norm.shape = {256};
  norm.bytes = std::string(136, '\0');
  const auto path = conversion.write(folder);
  check_contains(message_of<FormatError>([&] { models::load(path); }), "IQ4_XS");
}

}  // namespace graft
