#include "graft/models/gguf_names.h"

#include <algorithm>
#include <array>

namespace graft::models {
namespace {

constexpr std::array<GgufName, 12> llama_names{
    {{"token_embd", "model.embed_tokens"},
     {"output_norm", "model.norm"},
     {"output", "lm_head"},
     {"blk.*.attn_norm", "model.layers.*.input_layernorm"},
     {"blk.*.attn_q", "model.layers.*.self_attn.q_proj"},
     {"blk.*.attn_k", "model.layers.*.self_attn.k_proj"},
     {"blk.*.attn_v", "model.layers.*.self_attn.v_proj"},
     {"blk.*.attn_output", "model.layers.*.self_attn.o_proj"},
     {"blk.*.ffn_norm", "model.layers.*.post_attention_layernorm"},
     {"blk.*.ffn_gate", "model.layers.*.mlp.gate_proj"},
     {"blk.*.ffn_up", "model.layers.*.mlp.up_proj"},
     {"blk.*.ffn_down", "model.layers.*.mlp.down_proj"}}};

/// A name with the number of its layer taken out.
struct Template {
  std::string name;
  std::string number;
};

Template template_of(std::string_view stem) {
  constexpr std::string_view layers = "blk.";
  const size_t end = stem.find('.', layers.size());
  if (!stem.starts_with(layers) || end == std::string_view::npos)
    return {std::string(stem), {}};
  return {"blk.*" + std::string(stem.substr(end)),
          std::string(stem.substr(layers.size(), end - layers.size()))};
}

/// The number in `name` that '*' stands for, empty for a pattern without one; nothing where the
/// name does not match.
std::optional<std::string_view> number_in(std::string_view name, std::string_view pattern) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos)
    return name == pattern ? std::optional(name.substr(0, 0)) : std::nullopt;
  const std::string_view before = pattern.substr(0, star);
  const std::string_view after = pattern.substr(star + 1);
  if (name.size() <= before.size() + after.size() || !name.starts_with(before) ||
      !name.ends_with(after))
    return std::nullopt;
  const std::string_view number =
      name.substr(before.size(), name.size() - before.size() - after.size());
  const bool is_number = number.find_first_not_of("0123456789") == std::string_view::npos;
  return is_number ? std::optional(number) : std::nullopt;
}

std::string with_number(std::string_view pattern, std::string_view number) {
  std::string result(pattern);
  if (const size_t star = result.find('*'); star != std::string::npos)
    result.replace(star, 1, number);
  return result;
}

}  // namespace

std::optional<std::string> gguf_name(std::string_view name, std::span<const GgufName> own) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos)
    return std::nullopt;
  for (const std::span<const GgufName> names : {own, std::span<const GgufName>(llama_names)}) {
    for (const GgufName& entry : names) {
      if (const auto number = number_in(name.substr(0, dot), entry.hugging_face))
        return with_number(entry.gguf, *number) + std::string(name.substr(dot));
    }
  }
  return std::nullopt;
}

std::string hugging_face_name(std::string_view name, std::span<const GgufName> own) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos)
    return std::string(name);
  const auto [pattern, number] = template_of(name.substr(0, dot));
  for (const std::span<const GgufName> names : {own, std::span<const GgufName>(llama_names)}) {
    const auto found = std::ranges::find(names, pattern, &GgufName::gguf);
    if (found == names.end())
      continue;
    return with_number(found->hugging_face, number) + std::string(name.substr(dot));
  }
  return std::string(name);
}

}  // namespace graft::models
