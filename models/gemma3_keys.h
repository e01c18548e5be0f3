// The keys of Gemma 3's config.json that no other family has.
#pragma once

#include "graft/io/json.h"
#include "graft/models/decoder_config.h"

namespace graft::models {

/// Reads config.json but for the token ids. Throws as read_decoder_config does.
void read_gemma3(const io::JsonObject& json, DecoderConfig& config);
void write_gemma3(const DecoderConfig& config, io::Json& json);

}  // namespace graft::models
