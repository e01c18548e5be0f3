// Attention: grouped queries, rotary positions, causal, with a cache of keys and values.
#pragma once

#include <cstdint>
#include <optional>

#include "graft/nn/linear.h"
#include "graft/nn/placement.h"
#include "graft/nn/rms_norm.h"

namespace graft::nn {

/// What queries and keys are normalised over before they are rotated.
enum class QueryKeyNorm {
  none,
  head,        ///< each head by itself, all with the same weight
  projection,  ///< all heads of a token together
};

struct AttentionConfig {
  int64_t hidden_size = 0;
  int64_t heads = 0;     ///< of queries, a multiple of kv_heads
  int64_t kv_heads = 0;  ///< of keys and values
  int64_t head_dim = 0;
  bool qkv_bias = false;
  bool o_bias = false;
  /// One module `qkv_proj` in place of `q_proj`, `k_proj` and `v_proj`.
  bool fused_qkv = false;
  QueryKeyNorm qk_norm = QueryKeyNorm::none;
  NormConfig norm{};
  /// How many tokens back a token sees, itself included; 0 for all.
  int64_t window = 0;
  /// Factor of the scores; unset for 1 / sqrt(head_dim).
  std::optional<double> scale{};
  /// Which of the placement's rotary embeddings the layer uses.
  size_t rotary = 0;
};

/// Queries (B,T,H,D), keys and values (B,T,Hkv,D) of one layer.
struct QueryKeyValue {
  Variable q, k, v;
};

/// The part of attention that has no weights: keys and values join those of the context's cache
/// under number `layer`, then each query mixes the values it sees. -> (B,T,H,D).
Variable attend(const QueryKeyValue& tokens, int64_t layer, int64_t window, double scale,
                const Placement& placement, const Context& context);

class Attention final : public Module {
 public:
  /// `layer` is the number under which keys and values are cached. Throws ConfigError where heads
  /// is no multiple of kv_heads.
  Attention(const AttentionConfig& config, int64_t layer);

  /// x (B,T,hidden_size) -> the same shape. Where the context has a cache, appends to it.
  Variable forward(const Variable& x, const Placement& placement, const Context& context) const;

 private:
  QueryKeyValue project(const Variable& x, const Context& context) const;

  AttentionConfig config_;
  int64_t layer_;
  // Which there are depends on the configuration; o_proj_ always is, and comes after the others.
  std::optional<Child<LinearLike>> qkv_proj_;
  std::optional<Child<LinearLike>> q_proj_;
  std::optional<Child<LinearLike>> k_proj_;
  std::optional<Child<LinearLike>> v_proj_;
  std::optional<Child<LinearLike>> o_proj_;
  std::optional<Child<RmsNorm>> q_norm_;
  std::optional<Child<RmsNorm>> k_norm_;
};

}  // namespace graft::nn
