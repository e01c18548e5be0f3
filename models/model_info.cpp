#include "graft/models/model_info.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "graft/io/json.h"
#include "graft/models/family.h"
#include "graft/models/rope_config.h"

namespace graft::models {
namespace {

/// How long texts may be: what the rotary embedding with the shortest reach allows.
int64_t positions_of(const DecoderConfig& config) {
  int64_t positions = config.ropes.empty() ? config.max_positions : size_limits.max;
  for (const nn::RopeConfig& rope : config.ropes)
    positions = std::min(positions, reachable_positions(rope));
  return positions;
}

int64_t cache_renewal_of(const DecoderConfig& config) {
  const bool renews = config.family->design.renews_cache && !config.ropes.empty() &&
                      config.ropes[0].kind == nn::RopeKind::longrope;
  return renews ? config.ropes[0].original_positions : 0;
}

}  // namespace

nn::ModelInfo info_of(const DecoderConfig& config, std::string name_or_path, DType dtype) {
  return {.model_type = std::string(config.family->model_type),
          .architecture = std::string(config.family->architecture),
          .python_module = python_module_of(*config.family),
          .name_or_path = std::move(name_or_path),
          .vocab_size = config.vocab_size,
          .hidden_size = config.hidden_size,
          .layers = config.layers,
          .heads = config.heads,
          .kv_heads = config.kv_heads,
          .head_dim = config.head_dim,
          .intermediate_size = config.intermediate_size,
          .max_positions = positions_of(config),
          .cache_renewal = cache_renewal_of(config),
          .tied_head = config.tied_head,
          .dtype = dtype,
          .quant = config.quant,
          .bos_token_id = config.bos_token_id,
          .pad_token_id = config.pad_token_id,
          .eos_token_ids = config.eos_token_ids,
          .config_json = to_config_json(config)};
}

DecoderConfig config_of(const nn::ModelInfo& info) {
  const io::Json json = io::parse_json(info.config_json, info.name_or_path);
  return read_decoder_config(io::JsonObject(json, info.name_or_path));
}

nn::ModelInfo untied(nn::ModelInfo info) {
  io::Json config = io::parse_json(info.config_json, "config.json");
  config["tie_word_embeddings"] = false;
  info.config_json = io::to_text(config);
  info.tied_head = false;
  return info;
}

}  // namespace graft::models
