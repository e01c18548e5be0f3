// The keys of GPT-2's config.json.
#pragma once

#include "graft/io/json.h"
#include "graft/models/decoder_config.h"

namespace graft::models {

/// Reads config.json but for the token ids. Throws as read_decoder_config does.
void read_gpt2(const io::JsonObject& json, DecoderConfig& config);
void write_gpt2(const DecoderConfig& config, io::Json& json);

}  // namespace graft::models
