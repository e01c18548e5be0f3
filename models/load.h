// Loading base models: a Hugging Face folder or a GGUF file becomes a CausalLM.
//
//   auto model = models::load("SmolLM2-135M-Instruct", {.dtype = DType::f32});
//   auto small = models::load("SmolLM2-135M-Instruct", {.quant = quant::nf4()});
//
// Loading is strict: what the configuration says and what the tensors are must agree in every name
// and shape, and an option that would change the numbers and is not supported is refused by name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "graft/models/quantization.h"
#include "graft/nn/causal_lm.h"

namespace graft::models {

/// How far loading has come.
struct LoadProgress {
  int64_t done = 0;   ///< parameters loaded, counted in numbers
  int64_t total = 0;  ///< parameters of the model
};

struct LoadOptions {
  /// Of the weights in memory, whatever the file holds. A floating dtype.
  DType dtype = DType::f32;
  Device device = cpu;
  /// The linear layers are put in 4 bits while they are loaded. A checkpoint that has them so
  /// already stays as it is, and this is to say the same or nothing. Whatever its configuration
  /// says, products multiply in what this says, and where it says nothing in `dtype`.
  quant::Config quant{};
  /// For names in quant.llm_int8_skip_modules that are regular expressions: text::full_matcher().
  NameMatcher matcher{};
  /// Called for each weight that was quantised; not of streamed ones.
  std::function<void(const QuantizationError&)> on_quantized{};
  /// Matrices stay in their files, and each is read (and quantised) whenever it is used: the model
  /// takes the memory of one of them, and more time. The files must stay as they are meanwhile.
  bool streamed = false;
  /// Called after each tensor.
  std::function<void(const LoadProgress&)> progress{};
};

/// The model at `path`: a folder with config.json and safetensors (single or sharded), or a GGUF
/// file; the folder also with weights in bitsandbytes' 4 bits. All weights are frozen. Tensors are
/// converted one by one, so that the peak is the model and one tensor. Throws ConfigError where
/// there is no such model (saying where to put one) or where it needs what graft has not,
/// FormatError where a file is damaged or tensors are missing, unexpected or of a wrong shape (with
/// the whole list), and IoError.
std::unique_ptr<nn::CausalLM> load(const std::filesystem::path& path,
                                   const LoadOptions& options = {});

/// Throws ConfigError as `load` does where `path` is neither a file nor a folder with config.json.
/// For who reads something else of a model first, so that not that is blamed.
void require_model(const std::filesystem::path& path);

/// What can be said of a model without reading its weights.
struct Description {
  nn::ModelInfo info;      ///< `info.dtype` is that of `load` by default
  std::string format;      ///< "safetensors" or "gguf"
  int64_t parameters = 0;  ///< tied ones counted once
  /// How many of them the files hold in 4 bits; how, is in `info.quant`.
  int64_t quantized = 0;
  /// Of most of the other numbers in the files, as they are read: blocks of GGUF come as f32.
  DType file_dtype = DType::f32;
};

/// Reads configuration and headers and checks them as `load` does. Throws as `load` does.
Description describe(const std::filesystem::path& path);

}  // namespace graft::models
