// Attention: grouped queries, rotary positions, causal, with a cache of keys and values.
#pragma once

#include <cstdint>

#include "graft/nn/linear.h"
#include "graft/nn/placement.h"

namespace graft::nn {

struct AttentionConfig {
  int64_t hidden_size = 0;
  int64_t heads = 0;     ///< of queries, a multiple of kv_heads
  int64_t kv_heads = 0;  ///< of keys and values
  int64_t head_dim = 0;
  bool qkv_bias = false;
  bool o_bias = false;
  /// How many tokens back a token sees, itself included; 0 for all.
  int64_t window = 0;
};

class Attention final : public Module {
 public:
  /// `layer` is the number under which keys and values are cached. Throws ConfigError where heads
  /// is no multiple of kv_heads.
  Attention(const AttentionConfig& config, int64_t layer);

  /// x (B,T,hidden_size) -> the same shape. Where the context has a cache, appends to it.
  Variable forward(const Variable& x, const Placement& placement, const Context& context) const;

 private:
  AttentionConfig config_;
  int64_t layer_;
  Child<LinearLike> q_proj_;
  Child<LinearLike> k_proj_;
  Child<LinearLike> v_proj_;
  Child<LinearLike> o_proj_;
};

}  // namespace graft::nn
