#include "graft/text/gguf_words.h"

#include <nlohmann/json.hpp>

#include "graft/tensor/error.h"
#include "graft/text/split_patterns.h"

namespace graft::text {
namespace {

// Llama 3's name was spelled in three ways.
constexpr GgufPre llama3(std::string_view name) {
  return {.name = name,
          .cuts = {llama3_pattern},
          .words = false,
          .ignore_merges = true,
          .add_bos = true};
}

constexpr std::array known_pres = {
    GgufPre{.name = "gpt-2"},
    GgufPre{.name = "phi-2"},
    GgufPre{.name = "olmo", .nfc = true},
    GgufPre{.name = "smollm", .cuts = {GgufPre::digits}},
    GgufPre{.name = "starcoder", .cuts = {GgufPre::digits}},
    GgufPre{.name = "deepseek-coder",
            .cuts = {"[\r\n]", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-퟿]+",
                     GgufPre::digits},
            .words = false},
    llama3("llama-bpe"),
    llama3("llama3"),
    llama3("llama-v3"),
    GgufPre{.name = "dbrx", .cuts = {llama3_pattern}, .words = false},
    GgufPre{.name = "qwen2", .cuts = {qwen2_pattern}, .words = false, .nfc = true},
    GgufPre{.name = "deepseek-r1-qwen", .cuts = {qwen2_pattern}, .words = false, .nfc = true},
    GgufPre{.name = "gpt-4o", .cuts = {gpt4o_pattern}, .words = false},
    GgufPre{.name = "tekken",
            .cuts = {tekken_pattern},
            .words = false,
            .ignore_merges = true,
            .add_bos = true},
};

}  // namespace

std::span<const GgufPre> gguf_pres() {
  return known_pres;
}

std::string gguf_pre_names() {
  std::string names;
  for (const GgufPre& known : known_pres)
    names += concat(names.empty() ? "" : ", ", known.name);
  return names;
}

io::Json stages_of(const GgufPre& pre, bool add_prefix_space) {
  io::Json stages = io::Json::array();
  for (const std::string_view cut : pre.cuts) {
    if (cut == GgufPre::digits)
      stages.push_back({{"type", "Digits"}, {"individual_digits", true}});
    else if (!cut.empty())
      stages.push_back({{"type", "Split"},
                        {"pattern", {{"Regex", cut}}},
                        {"behavior", "Isolated"},
                        {"invert", false}});
  }
  stages.push_back({{"type", "ByteLevel"},
                    {"add_prefix_space", add_prefix_space},
                    {"trim_offsets", true},
                    {"use_regex", pre.words}});
  return stages;
}

}  // namespace graft::text
