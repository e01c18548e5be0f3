// LoRA adapters in GGUF files, as llama.cpp loads them (--lora).
//
// Such a file holds two matrices for each weight it changes and one alpha for all of them; a change
// is alpha / r · b a, with r the rank of the pair. It knows neither biases nor whole modules.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "graft/io/file.h"
#include "graft/nn/causal_lm.h"

namespace graft::models {

/// The low-rank change of one module's weight, with the rows of Hugging Face checkpoints.
struct LoraPair {
  std::string module;  ///< its path: "model.layers.0.self_attn.q_proj"
  Tensor a;            ///< (r, in), of an embedding (r, vocabulary)
  Tensor b;            ///< (out, r), of an embedding (hidden, r)
};

struct GgufLora {
  /// Unset where a change is b a.
  std::optional<double> alpha;
  std::vector<LoraPair> pairs;
};

/// True for a GGUF file that holds an adapter, not a model. Throws as io::GgufFile.
bool is_gguf_adapter(const std::filesystem::path& file);

/// Writes an adapter for `model`, which need not have numbers; f32, f16 and bf16 matrices as they
/// are. Throws ConfigError where the model is of a family that GGUF files have not, has no such
/// module, or where llama.cpp could not apply the pair: the head or the embedding of a model in
/// which they are one matrix, the table of positions. Throws IoError.
void write_gguf_lora(io::FileWriter& out, const GgufLora& lora, nn::CausalLM& model);

/// Reads an adapter for `model`, which need not have numbers. Quantised matrices come as f32, the
/// others as they are. Throws FormatError where the file is damaged or does not fit the model,
/// ConfigError where it is for another architecture or holds something else besides.
GgufLora read_gguf_lora(const std::filesystem::path& file, nn::CausalLM& model);

}  // namespace graft::models
