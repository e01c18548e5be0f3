// What the tensors of GGUF files are called in Hugging Face's checkpoints.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace graft::models {

/// A tensor in both places, without ".weight" and ".bias"; '*' stands for the layer's number.
struct GgufName {
  std::string_view gguf;
  std::string_view hugging_face;
};

// Where a family's names are unlike Llama's.
inline constexpr GgufName gguf_q_norm{"blk.*.attn_q_norm", "model.layers.*.self_attn.q_norm"};
inline constexpr GgufName gguf_k_norm{"blk.*.attn_k_norm", "model.layers.*.self_attn.k_norm"};
inline constexpr GgufName gguf_after_attention{"blk.*.post_attention_norm",
                                               "model.layers.*.post_attention_layernorm"};
inline constexpr GgufName gguf_after_mlp{"blk.*.post_ffw_norm",
                                         "model.layers.*.post_feedforward_layernorm"};

inline constexpr std::array gguf_qk_norm_names{gguf_q_norm, gguf_k_norm};
inline constexpr std::array gguf_phi3_names{
    GgufName{"blk.*.attn_qkv", "model.layers.*.self_attn.qkv_proj"},
    GgufName{"blk.*.ffn_up", "model.layers.*.mlp.gate_up_proj"}};
inline constexpr std::array gguf_gemma3_names{
    gguf_q_norm, gguf_k_norm, gguf_after_attention, gguf_after_mlp,
    GgufName{"blk.*.ffn_norm", "model.layers.*.pre_feedforward_layernorm"}};
inline constexpr std::array gguf_olmo2_names{gguf_q_norm, gguf_k_norm, gguf_after_attention,
                                             gguf_after_mlp};
inline constexpr std::array<GgufName, 9> gguf_gpt2_names{
    {{"token_embd", "transformer.wte"},
     {"position_embd", "transformer.wpe"},
     {"output_norm", "transformer.ln_f"},
     {"blk.*.attn_norm", "transformer.h.*.ln_1"},
     {"blk.*.attn_qkv", "transformer.h.*.attn.c_attn"},
     {"blk.*.attn_output", "transformer.h.*.attn.c_proj"},
     {"blk.*.ffn_norm", "transformer.h.*.ln_2"},
     {"blk.*.ffn_up", "transformer.h.*.mlp.c_fc"},
     {"blk.*.ffn_down", "transformer.h.*.mlp.c_proj"}}};

/// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight", by the family's `own` names
/// and else by Llama's; other names as they are.
std::string hugging_face_name(std::string_view name, std::span<const GgufName> own);

/// The way back: "model.layers.3.self_attn.q_proj.weight" -> "blk.3.attn_q.weight". Nothing for
/// names that GGUF files have no word for.
std::optional<std::string> gguf_name(std::string_view name, std::span<const GgufName> own);

}  // namespace graft::models
