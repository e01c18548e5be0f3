// A model as a GGUF file: the metadata and tensors that llama.cpp's converter makes of its Hugging
// Face folder. The tokenizer's metadata are text's business (text/tokenizer_gguf_write.h).
//
//   io::GgufValues values;
//   models::add_gguf_metadata(values, model->info(), GgmlType::q8_0);
//   io::write_gguf(out, values, models::gguf_tensors(*model, GgmlType::q8_0));
#pragma once

#include <filesystem>
#include <vector>

#include "graft/io/gguf_write.h"
#include "graft/nn/causal_lm.h"
#include "graft/quant/gguf_blocks.h"

namespace graft::models {

/// What the file says of the model. Throws ConfigError where the format has no word for a setting:
/// another family, a sliding window outside Gemma 3 and Phi-3, rotary scaling by dynamic NTK.
void add_gguf_metadata(io::GgufValues& values, const nn::ModelInfo& info, quant::GgmlType matrices);

/// The tensors under the file's names, each made when it is written. Matrices are of the type
/// given; vectors, norms and tables of positions are F32, matrices whose rows are not whole blocks
/// F16, and beside Q4_0 the embedding and the head Q8_0. Refers to the model. Throws ConfigError
/// where it carries adapters; writing throws NonFiniteError, naming the tensor, where its numbers
/// do not fit the type.
std::vector<io::GgufTensorOut> gguf_tensors(nn::CausalLM& model, quant::GgmlType matrices);

/// Reads a written file's configuration and compares. Throws ConfigError that names what is
/// another there: the format could not say it.
void check_gguf_metadata(const std::filesystem::path& file, const nn::ModelInfo& info);

}  // namespace graft::models
