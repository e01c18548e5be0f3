#include "graft/models/family.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <vector>

namespace graft::models {
namespace {

void read_llama(const io::JsonObject& json, DecoderConfig& config) {
  config.qkv_bias = config.o_bias = json.boolean_or("attention_bias", false);
  config.mlp_bias = json.boolean_or("mlp_bias", false);
}

void write_llama(const DecoderConfig& config, io::Json& json) {
  GRAFT_CHECK(config.qkv_bias == config.o_bias, ConfigError,
              "llama: a bias on some of q_proj, k_proj, v_proj, o_proj only is not supported");
  json["attention_bias"] = config.qkv_bias;
  json["mlp_bias"] = config.mlp_bias;
}

constexpr std::array family_table{
    Family{.model_type = "llama",
           .architecture = "LlamaForCausalLM",
           .gguf_architecture = "llama",
           .gguf_interleaves_rotary = true,
           .read = read_llama,
           .write = write_llama},
};

/// "LlamaForCausalLM, …".
std::string listed(std::string_view Family::*member) {
  std::string list;
  for (const Family& family : family_table)
    list += (list.empty() ? "" : ", ") + std::string(family.*member);
  return list;
}

const Family* find(std::string_view Family::*member, std::string_view name) {
  const auto it = std::ranges::find(family_table, name, member);
  return it == family_table.end() ? nullptr : &*it;
}

}  // namespace

std::span<const Family> families() {
  return family_table;
}

const Family& family_of(const io::JsonObject& json) {
  if (json.has("architectures")) {
    const std::vector<std::string> architectures = json.texts("architectures");
    if (architectures.size() != 1)
      throw json.wrong("architectures", "a list with one name");
    const Family* family = find(&Family::architecture, architectures[0]);
    GRAFT_CHECK(family != nullptr, ConfigError, json.file(), ": architecture ", architectures[0],
                " is not supported; supported: ", listed(&Family::architecture));
    return *family;
  }
  const std::string model_type = json.text("model_type");
  const Family* family = find(&Family::model_type, model_type);
  GRAFT_CHECK(family != nullptr, ConfigError, json.file(), ": model_type ", model_type,
              " is not supported; supported: ", listed(&Family::model_type));
  return *family;
}

const Family& family_of_gguf(std::string_view file, std::string_view architecture) {
  const Family* family = find(&Family::gguf_architecture, architecture);
  GRAFT_CHECK(family != nullptr, ConfigError, file, ": general.architecture ", architecture,
              " is not supported; supported: ", listed(&Family::gguf_architecture));
  return *family;
}

}  // namespace graft::models
