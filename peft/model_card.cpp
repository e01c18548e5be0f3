#include "graft/peft/model_card.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "graft/tensor/error.h"

namespace graft::peft {
namespace {

bool is_plain_character(char c) {
  constexpr std::string_view signs = "_/.-+ ";
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         static_cast<unsigned char>(c) >= 0x80 || signs.find(c) != std::string_view::npos;
}

/// Words that YAML takes for something else than text.
bool is_reserved(std::string word) {
  constexpr std::array<std::string_view, 7> reserved{"true", "false", "yes", "no",
                                                     "on",   "off",   "null"};
  std::ranges::transform(word, word.begin(), [](unsigned char c) { return std::tolower(c); });
  return std::ranges::find(reserved, word) != reserved.end();
}

/// True where YAML reads the text as that text.
bool is_plain(const std::string& text) {
  const bool starts_plain = text.starts_with("./") || text.starts_with("../") ||
                            text.starts_with('/') || text.starts_with('_') ||
                            std::isalpha(static_cast<unsigned char>(text[0])) != 0;
  return starts_plain && text.back() != ' ' && std::ranges::all_of(text, is_plain_character) &&
         !is_reserved(text);
}

/// A YAML scalar: in single quotes where it needs them.
std::string yaml(const std::string& text, bool plain) {
  if (plain)
    return text;
  std::string quoted = "'";
  for (const char c : text)
    quoted += c == '\'' ? "''" : std::string(1, c);
  return quoted + "'";
}

std::string header(const LoraConfig& config) {
  const std::string base = config.base_model_name_or_path.value_or("");
  std::string text = "---\n";
  const bool plain = !base.empty() && is_plain(base);
  if (!base.empty())
    text += "base_model: " + yaml(base, plain) + "\n";
  text += "library_name: peft\n";
  if (config.task_type == "CAUSAL_LM")
    text += "pipeline_tag: text-generation\n";
  text += "tags:\n";
  if (!base.empty())
    text += "- " + yaml("base_model:adapter:" + base, plain) + "\n";
  return text + "- lora\n- transformers\n---\n";
}

}  // namespace

std::string model_card(const LoraConfig& config) {
  const std::string base = config.base_model_name_or_path.value_or("");
  return concat(
      header(config), "\n# LoRA adapter", base.empty() ? "" : " for " + base, "\n\nRank ", config.r,
      ", alpha ", config.lora_alpha, ", on ", config.target_modules,
      ".\n\n## Model Details\n\nWhat this adapter is meant for: [More Information Needed]\n"
      "\n## Training Details\n\nThe data it was trained on: [More Information Needed]\n"
      "\n## Evaluation\n\nHow well it does: [More Information Needed]\n"
      "\n### Framework versions\n\n- PEFT ",
      peft_version, "\n");
}

}  // namespace graft::peft
