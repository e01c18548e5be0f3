// What the metadata of a GGUF file become, and which of them are refused.

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "graft/models/family.h"
#include "graft/models/gguf_config.h"
#include "graft/models/gguf_source.h"
#include "graft/tests/models/gguf_file.h"
#include "graft/tests/support/test.h"

namespace graft::models {
namespace {

using nn::RopeKind;
using test::check_contains, test::message_of;

/// A file of an architecture with the keys that all have, 7 layers, heads of 8, and an embedding.
struct File {
  std::string architecture;
  test::GgufMetadata metadata;
  std::vector<test::GgufTensorBytes> tensors;

  explicit File(const std::string& name) : architecture(name) {
    metadata.emplace_back("general.architecture", name);
    const bool layer_norm = name == "gpt2";
    set("block_count", uint32_t{7});
    set("context_length", uint32_t{64});
    set("embedding_length", uint32_t{32});
    set("feed_forward_length", uint32_t{64});
    set("attention.head_count", uint32_t{4});
    set(layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", 1e-5f);
    add("token_embd.weight", {2, 32});
  }

  File& set(const std::string& key, const test::GgufAny& value) {
    metadata.emplace_back(architecture + "." + key, value);
    return *this;
  }
  File& add(const std::string& name, const Shape& shape, const std::vector<float>& numbers = {}) {
    std::vector<float> all(static_cast<size_t>(shape.numel()), 0.5f);
    std::ranges::copy(numbers, all.begin());
    tensors.push_back({name, 0, shape, test::text_of(std::as_bytes(std::span(all)))});
    return *this;
  }
  io::GgufModel open() const {
    const test::TemporaryFolder folder;
    test::GgufBuilder().write(folder / "model.gguf", metadata, tensors);
    return io::GgufModel(folder / "model.gguf");
  }
  DecoderConfig read() const { return read_gguf_config(open()); }
};

template <class E>
std::string refusal(const File& file) {
  return message_of<E>([&] { file.read(); });
}

/// "wwf": which layers have a window.
std::string windows(const DecoderConfig& config) {
  std::string text;
  for (int64_t layer = 0; layer < config.layers; ++layer)
    text += config.has_window(layer) ? 'w' : 'f';
  return text;
}

const std::vector<float> factors{1, 1.5f, 2, 4};

}  // namespace

TEST_CASE("gguf: rotary positions are scaled as the metadata say") {
  CHECK(File("qwen2").read().ropes[0].kind == RopeKind::standard);
  CHECK(File("qwen2").read().ropes[0].theta == 10000);
  CHECK(File("qwen2").set("rope.freq_base", 1e6f).read().ropes[0].theta == 1e6);

  const auto linear =
      File("qwen3").set("rope.scaling.type", "linear").set("rope.scaling.factor", 3.0f).read();
  CHECK(linear.ropes[0].kind == RopeKind::linear);
  CHECK(linear.ropes[0].factor == 3);
  // Without a type, and by its old name.
  CHECK(File("llama").set("rope.scaling.factor", 3.0f).read().ropes == linear.ropes);
  CHECK(File("llama").set("rope.scale_linear", 3.0f).read().ropes == linear.ropes);
  CHECK(File("llama").set("rope.scale_linear", 1.0f).read().ropes[0].kind == RopeKind::standard);
  CHECK(File("llama")
            .set("rope.scaling.type", "none")
            .set("rope.scaling.factor", 3.0f)
            .read()
            .ropes[0]
            .kind == RopeKind::standard);

  File yarn("llama");
  yarn.set("rope.scaling.type", "yarn").set("rope.scaling.factor", 4.0f);
  CHECK(yarn.read().ropes[0].kind == RopeKind::yarn);
  CHECK(yarn.read().ropes[0].original_positions == 64);
  CHECK(!yarn.read().ropes[0].attention_factor);
  yarn.set("rope.scaling.original_context_length", uint32_t{16})
      .set("rope.scaling.yarn_attn_factor", 1.3f)
      .set("rope.scaling.yarn_beta_fast", 16.0f)
      .set("rope.scaling.yarn_beta_slow", 2.0f)
      .set("rope.scaling.yarn_ext_factor", 1.0f);
  const nn::RopeConfig rope = yarn.read().ropes[0];
  CHECK(rope.original_positions == 16);
  CHECK(rope.factor == 4);
  CHECK(rope.attention_factor == 1.3);
  CHECK(rope.beta_fast == 16);
  CHECK(rope.beta_slow == 2);
}

TEST_CASE("gguf: tables of factors among the tensors scale the positions, too") {
  File longrope("llama");
  longrope.add("rope_factors_short.weight", {4}, {1, 1, 1, 1})
      .add("rope_factors_long.weight", {4}, factors)
      .set("rope.scaling.original_context_length", uint32_t{16});
  const nn::RopeConfig rope = longrope.read().ropes[0];
  CHECK(rope.kind == RopeKind::longrope);
  CHECK(rope.original_positions == 16);
  CHECK(rope.long_factor == std::vector<double>{1, 1.5, 2, 4});
  CHECK(rope.short_factor == std::vector<double>(4, 1));
  CHECK(!rope.attention_factor);
  // sqrt(1 + ln(64 / 16) / ln 16) is what the positions give.
  const auto said = [&](float factor) {
    File file = longrope;
    return file.set("rope.scaling.attn_factor", factor).read().ropes[0].attention_factor;
  };
  CHECK(!said(std::sqrt(1.5f)));
  CHECK(said(1.25f) == 1.25);

  const nn::RopeConfig other = File("llama").add("rope_freqs.weight", {4}, factors).read().ropes[0];
  CHECK(other.kind == RopeKind::longrope);
  CHECK(other.long_factor == std::vector<double>{1, 1.5, 2, 4});
  CHECK(other.short_factor == other.long_factor);
  CHECK(other.attention_factor == 1);
  CHECK(File("llama").add("rope_freqs.weight", {4}, {1, 1, 1, 1}).read().ropes[0].kind ==
        RopeKind::standard);
}

TEST_CASE("gguf: rotary settings that graft has not, or that cannot be, are refused") {
  const auto scaled = [](const std::string& type) {
    return File("llama").set("rope.scaling.type", type);
  };
  check_contains(refusal<ConfigError>(scaled("dynamic")),
                 "model.gguf: llama.rope.scaling.type is dynamic, which is not supported; "
                 "supported: none, linear, yarn, longrope");
  check_contains(refusal<FormatError>(scaled("yarn")), "'llama.rope.scaling.factor' is missing");
  check_contains(refusal<FormatError>(scaled("yarn").set("rope.scaling.factor", -1.0f)),
                 "llama.rope.scaling.factor is -1, a number above 0 expected");
  check_contains(refusal<FormatError>(scaled("linear").set("rope.scaling.factor", -1.0f)),
                 "llama.rope.scaling.factor is -1");
  check_contains(refusal<ConfigError>(scaled("yarn")
                                          .set("rope.scaling.factor", 2.0f)
                                          .set("rope.scaling.yarn_ext_factor", 0.5f)),
                 "llama.rope.scaling.yarn_ext_factor is 0.5, which is not supported");
  check_contains(refusal<ConfigError>(File("llama").set("rope.scaling.attn_factor", 1.2f)),
                 "llama.rope.scaling.attn_factor is 1.2");
  check_contains(refusal<ConfigError>(File("llama").set("rope.dimension_count", uint32_t{4})),
                 "llama.rope.dimension_count is 4");
  check_contains(refusal<FormatError>(File("llama").set("rope.freq_base", 0.0f)), "rope_theta");
  check_contains(refusal<FormatError>(scaled("longrope")), "'rope_factors_long.weight'");
  check_contains(
      refusal<FormatError>(scaled("longrope").add("rope_factors_long.weight", {4}, factors)),
      "'rope_factors_short.weight'");
  check_contains(refusal<FormatError>(File("llama").add("rope_freqs.weight", {8})),
                 "rope_freqs.weight: shape (8), (4) expected: half of rope.dimension_count");
  check_contains(refusal<FormatError>(File("llama").add("rope_freqs.weight", {4}, {1, 0, 1, 1})),
                 "rope_freqs.weight: a factor is 0, a number above 0 expected");
  check_contains(
      refusal<FormatError>(File("llama").add("rope_freqs.weight", {4}, {1, std::nanf(""), 1, 1})),
      "rope_freqs.weight: a factor is nan");
  check_contains(
      refusal<ConfigError>(
          File("llama").set("rope.scaling.factor", 2.0f).add("rope_freqs.weight", {4}, factors)),
      "rope_freqs.weight and llama.rope.scaling.type are both there");
  check_contains(refusal<ConfigError>(scaled("yarn").add("rope_factors_long.weight", {4}, factors)),
                 "llama.rope.scaling.type is yarn and there are tables of factors");
  check_contains(refusal<ConfigError>(File("phi3").set("rope.scaling.factor", 2.0f)),
                 "positions of a phi3 model are scaled other than by tables");
}

TEST_CASE("gguf: Gemma 3's windows and scale follow from few keys") {
  const auto gemma = [] { return File("gemma3").set("attention.sliding_window", uint32_t{5}); };
  const DecoderConfig config = gemma().set("rope.freq_base", 1e6f).read();
  CHECK(config.window == 5);
  CHECK(windows(config) == "wwwwwfw");
  CHECK(config.ropes.size() == 2);
  CHECK(config.ropes[0].theta == 1e6);
  CHECK(config.ropes[1].theta == 10000);
  CHECK(config.attention_scale == 1 / std::sqrt(8.0));
  CHECK(config.embedding_scale == std::sqrt(32.0));
  CHECK(config.activation == nn::Activation::gelu_tanh);
  CHECK(config.tied_head);
  CHECK(gemma().set("rope.freq_base_swa", 500.0f).read().ropes[1].theta == 500);
  // The scaling is that of the layers without a window.
  const DecoderConfig scaled = gemma().set("rope.scaling.factor", 8.0f).read();
  CHECK(scaled.ropes[0].kind == RopeKind::linear);
  CHECK(scaled.ropes[1].kind == RopeKind::standard);

  constexpr const char* pattern = "attention.sliding_window_pattern";
  CHECK(windows(gemma().set(pattern, uint32_t{2}).read()) == "wfwfwfw");
  const std::vector<bool> list{true, true, false, false, true, true, false};
  CHECK(windows(gemma().set(pattern, list).read()) == "wwffwwf");
  check_contains(refusal<FormatError>(gemma().set(pattern, std::vector<bool>(3, true))),
                 "'gemma3.attention.sliding_window_pattern' has 3 elements for 7 layers");
  check_contains(refusal<FormatError>(File("gemma3")),
                 "'gemma3.attention.sliding_window' is missing");

  // 27 billion parameters: scores are scaled by the width for each head, not by the head.
  File large = gemma();
  large.metadata[1].second = uint32_t{62};
  large.set("attention.key_length", uint32_t{16}).set("attention.value_length", uint32_t{16});
  CHECK(large.read().attention_scale == 1 / std::sqrt(8.0));
  large.metadata[1].second = uint32_t{34};
  CHECK(large.read().attention_scale == 1 / std::sqrt(16.0));
}

TEST_CASE("gguf: Phi-3 has one window or none, and rotates a part of each head") {
  CHECK(windows(File("phi3").read()) == "fffffff");
  CHECK(windows(File("phi3").set("attention.sliding_window", uint32_t{0}).read()) == "fffffff");
  CHECK(windows(File("phi3").set("attention.sliding_window", uint32_t{9}).read()) == "wwwwwww");
  CHECK(File("phi3").set("rope.dimension_count", uint32_t{6}).read().ropes[0].dim == 6);
}

TEST_CASE("gguf: keys nobody knows are refused where they say something") {
  check_contains(refusal<ConfigError>(File("qwen2").set("attention.sliding_window", uint32_t{64})),
                 "qwen2.attention.sliding_window is 64, which is not supported");
  check_contains(refusal<ConfigError>(File("gemma3")
                                          .set("attention.sliding_window", uint32_t{5})
                                          .set("final_logit_softcapping", 30.0f)),
                 "gemma3.final_logit_softcapping is 30");
  check_contains(refusal<ConfigError>(File("llama").set("expert_count", uint32_t{8})),
                 "llama.expert_count is 8");
  check_contains(refusal<ConfigError>(File("olmo2").set("attention.new_kind", "odd")),
                 "olmo2.attention.new_kind is a text");
  check_contains(refusal<ConfigError>(File("llama").set("list", std::vector<bool>{true})),
                 "llama.list is an array of 1 truth values");
  const DecoderConfig config = File("llama")
                                   .set("expert_count", uint32_t{0})
                                   .set("attention.new_kind", "")
                                   .set("logit_scale", 0.0f)
                                   .set("list", std::vector<bool>{})
                                   .set("vocab_size", uint32_t{2})
                                   .read();
  CHECK(config.layers == 7);
}

TEST_CASE("gguf: sizes that no model has are refused") {
  const auto with = [](const std::string& key, uint32_t value) {
    File file("llama");
    std::erase_if(file.metadata, [&](const auto& entry) { return entry.first == "llama." + key; });
    return refusal<FormatError>(file.set(key, value));
  };
  check_contains(with("block_count", 0), "'llama.block_count' is 0");
  check_contains(with("block_count", ~0u), "'llama.block_count' is 4294967295");
  check_contains(with("embedding_length", ~0u), "'llama.embedding_length' is 4294967295");
  check_contains(with("attention.head_count", 0), "'llama.attention.head_count' is 0");
  check_contains(with("attention.head_count_kv", 3), "4 attention heads for 3 key/value heads");
  File no_embedding("llama");
  no_embedding.tensors.clear();
  check_contains(refusal<FormatError>(no_embedding), "there is no tensor 'token_embd.weight'");
}

TEST_CASE("gguf: a head that repeats the embedding is the embedding") {
  CHECK(File("gpt2").read().tied_head);
  CHECK(File("gpt2").add("output.weight", {2, 32}).read().tied_head);
  CHECK(!File("gpt2").add("output.weight", {2, 32}, {1}).read().tied_head);
}

TEST_CASE("gguf: two tensors of one name are refused") {
  File file("gemma3");
  file.set("attention.sliding_window", uint32_t{5});
  file.add("blk.0.ffn_norm.weight", {32})
      .add("model.layers.0.pre_feedforward_layernorm.weight", {32});
  const auto model = std::make_shared<const io::GgufModel>(file.open());
  check_contains(
      message_of<FormatError>([&] { GgufSource(model, read_gguf_config(*model)); }),
      "tensors 'blk.0.ffn_norm.weight' and 'model.layers.0.pre_feedforward_layernorm.weight' are "
      "both model.layers.0.pre_feedforward_layernorm.weight");
}

}  // namespace graft::models
