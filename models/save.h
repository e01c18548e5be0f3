// Writing a model as a folder that transformers and graft load.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "graft/nn/causal_lm.h"

namespace graft::models {

struct SaveOptions {
  /// Of the weights in the file, but for those in 4 bits, which stay as they are.
  DType dtype = DType::f32;
  /// More bytes than this are spread over several files; a larger tensor has a file of its own.
  int64_t max_shard_bytes = int64_t{5} << 30;
  /// Weights in 4 bits are written as dense ones, too.
  bool dequantize = false;
};

/// True for the names of the weight files that save_pretrained writes: model.safetensors, shards
/// and their index.
bool is_weight_file(std::string_view name);

/// Writes config.json and model.safetensors (or shards and model.safetensors.index.json) into
/// `folder`, which is made where it is missing; other files there are left alone. A tied head is
/// written once, weights in 4 bits as transformers with bitsandbytes writes them. Streamed weights
/// are read one after the other; of those in 4 bits, the ones of a file together. Each file appears
/// whole or not at all; config.json comes last. Throws ConfigError where the model carries adapters
/// (merge them first), IoError, and what reading a streamed weight throws.
void save_pretrained(nn::CausalLM& model, const std::filesystem::path& folder,
                     const SaveOptions& options = {});

}  // namespace graft::models
