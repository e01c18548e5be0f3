#include <algorithm>
#include <span>

#include "graft/peft/matching.h"

namespace graft::peft {
namespace {

struct Default {
  const char* model_type;
  std::vector<std::string> targets;
};

/// By model type, as in PEFT 0.21.2, but for the one whose targets are a regular expression.
const std::vector<Default>& defaults() {
  static const std::vector<std::string> q_v{"q_proj", "v_proj"};
  static const std::vector<std::string> query_value{"query", "value"};
  static const std::vector<std::string> fused{"query_key_value"};
  static const std::vector<Default> table{
      {"RefinedWeb", fused},
      {"RefinedWebModel", fused},
      {"bart", q_v},
      {"bert", query_value},
      {"blip-2", {"q", "v", "q_proj", "v_proj"}},
      {"bloom", fused},
      {"btlm", {"c_proj", "c_attn"}},
      {"chatglm", fused},
      {"codegen", {"qkv_proj"}},
      {"deberta", {"in_proj"}},
      {"deberta-v2", {"query_proj", "value_proj"}},
      {"electra", query_value},
      {"falcon", fused},
      {"gemma", q_v},
      {"gemma2", q_v},
      {"gemma3_text", q_v},
      {"gpt2", {"c_attn"}},
      {"gpt_bigcode", {"c_attn"}},
      {"gpt_neo", q_v},
      {"gpt_neox", fused},
      {"gptj", q_v},
      {"layoutlm", query_value},
      {"llama", q_v},
      {"llama4", q_v},
      {"mistral", q_v},
      {"mixtral", q_v},
      {"mpt", {"Wqkv"}},
      {"mt5", {"q", "v"}},
      {"nemotron_h", {"q_proj", "k_proj", "v_proj", "o_proj"}},
      {"opt", q_v},
      {"phi", {"q_proj", "v_proj", "fc1", "fc2"}},
      {"qwen2", q_v},
      {"qwen3", q_v},
      {"roberta", query_value},
      {"rwkv", {"key", "value", "receptance", "output"}},
      {"rwkv7", {"r_proj", "k_proj", "v_proj", "o_proj", "key", "value"}},
      {"stablelm", q_v},
      {"t5", {"q", "v"}},
      {"xlm-roberta", query_value},
  };
  return table;
}

}  // namespace

Targets default_targets(std::string_view model_type) {
  if (model_type == "gemma4")
    return Targets::regex(R"(.*language_model\..*\.(q_proj|v_proj))");
  const auto found = std::ranges::find(defaults(), model_type, &Default::model_type);
  return found == defaults().end() ? Targets() : Targets(found->targets);
}

}  // namespace graft::peft
