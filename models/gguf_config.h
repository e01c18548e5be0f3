// The metadata of a GGUF file as a DecoderConfig, family by family.
#pragma once

#include "graft/io/gguf_model.h"
#include "graft/models/decoder_config.h"
#include "graft/models/gguf_keys.h"
#include "graft/models/gguf_metadata.h"

namespace graft::models {

/// Reads the metadata. Throws FormatError where a key is missing or of the wrong kind, ConfigError
/// where the model is of another family, or has a key that graft does not know and that may change
/// the numbers.
DecoderConfig read_gguf_config(const io::GgufModel& model);

// What is read besides the token ids; for the table of families.
void read_gguf_llama(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_qwen2(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_qwen3(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_gpt2(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_phi3(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_gemma3(const GgufMetadata& metadata, DecoderConfig& config);
void read_gguf_olmo2(const GgufMetadata& metadata, DecoderConfig& config);

// The same in the other direction, as add_gguf_metadata says.
void write_gguf_common(const DecoderConfig& config, GgufKeys& keys);
void write_gguf_gpt2(const DecoderConfig& config, GgufKeys& keys);
void write_gguf_phi3(const DecoderConfig& config, GgufKeys& keys);
void write_gguf_gemma3(const DecoderConfig& config, GgufKeys& keys);

}  // namespace graft::models
