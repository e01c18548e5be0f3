#include "graft/models/gguf_rows.h"

#include "graft/models/family.h"

namespace graft::models {
namespace {

/// The rows of each head as a table of `lines`, read column by column.
Tensor turned(const Tensor& x, int64_t heads, int64_t lines) {
  const int64_t width = x.dim(0) == 0 ? 0 : x.numel() / x.dim(0);
  return x.contiguous()
      .view({heads, lines, x.dim(0) / heads / lines, width})
      .transpose(1, 2)
      .contiguous()
      .view(x.shape());
}

}  // namespace

GgufHeads::GgufHeads(const DecoderConfig& config)
    : q_heads_(config.family->gguf_interleaves_rotary ? config.heads : 0),
      k_heads_(config.family->gguf_interleaves_rotary ? config.kv_heads : 0) {}

int64_t GgufHeads::interleaved_in(std::string_view name) const {
  if (name.find(".self_attn.q_proj.") != std::string_view::npos)
    return q_heads_;
  return name.find(".self_attn.k_proj.") != std::string_view::npos ? k_heads_ : 0;
}

Tensor interleaved(const Tensor& x, int64_t heads) {
  return turned(x, heads, 2);
}

Tensor deinterleaved(const Tensor& x, int64_t heads) {
  return x.dim(0) == 0 ? x : turned(x, heads, x.dim(0) / heads / 2);
}

}  // namespace graft::models
