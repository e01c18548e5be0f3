// The keys of config.json that Llama and the families shaped like it have in common.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "graft/io/json.h"
#include "graft/models/decoder_config.h"
#include "graft/models/rope_config.h"

namespace graft::models {

/// Sizes, norm, activation and tying, with the defaults of config.family. Throws as
/// read_decoder_config does.
void read_llama_keys(const io::JsonObject& json, DecoderConfig& config);
void write_llama_keys(const DecoderConfig& config, io::Json& json);

/// The activation of a key, `usual` where it is missing. Throws ConfigError for one graft has not.
nn::Activation read_activation(const io::JsonObject& json, std::string_view key,
                               std::string_view usual);
std::string_view name_of(nn::Activation activation);

/// What the rotary settings of the configuration need to know. Requires: read_llama_keys.
RopeDefaults rope_defaults(const DecoderConfig& config);

/// `attention_bias`: a bias on all four projections of attention.
void read_attention_bias(const io::JsonObject& json, DecoderConfig& config);
void write_attention_bias(const DecoderConfig& config, io::Json& json);

/// `layer_types`, a list of full_attention and sliding_attention, where the key is there; else
/// leaves `windowed` as it is.
void read_layer_types(const io::JsonObject& json, DecoderConfig& config);
void write_layer_types(const DecoderConfig& config, io::Json& json);

/// `use_sliding_window`, `sliding_window`, `max_window_layers` and `layer_types`: a window in some
/// layers, as Qwen has it.
void read_qwen_window(const io::JsonObject& json, DecoderConfig& config);
void write_qwen_window(const DecoderConfig& config, io::Json& json);

/// `sliding_window`: one window in all layers; `fallback` where the key is missing, none where it
/// is null.
void read_window(const io::JsonObject& json, int64_t fallback, DecoderConfig& config);
void write_window(const DecoderConfig& config, io::Json& json);

}  // namespace graft::models
