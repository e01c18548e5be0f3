// Weights of a model from a checkpoint: all of them, in their shapes, and nothing else.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "graft/io/tensor_source.h"
#include "graft/models/quantization.h"
#include "graft/nn/module.h"
#include "graft/quant/quantized_tensor.h"

namespace graft::models {

/// Paths of the matrices that files hold transposed (nn::FileLayout::in_out).
std::set<std::string> transposed_in_files(nn::Module& root);

/// Throws FormatError that lists every parameter the source lacks, every tensor that belongs to no
/// parameter, every wrong shape and every dtype that is no float. Of tied parameters one name is
/// enough. Matrices may be in bitsandbytes' 4 bits, and are (out, in) then. Rotary tables and
/// masks, which old checkpoints hold, are passed over. Throws ConfigError where the tensors are
/// quantised otherwise.
void check_tensors(nn::Module& root, const io::TensorSource& source);

/// Where and as what the parameters are held, and who is told how many numbers are loaded.
struct WeightOptions {
  DType dtype = DType::f32;
  Device device = cpu;
  /// Paths of the weights to quantise, and how. What the source holds in 4 bits stays as it is.
  std::set<std::string> quantized{};
  quant::Format format{};
  /// What products with weights in 4 bits multiply in.
  DType compute = DType::f32;
  std::function<void(const QuantizationError&)> on_quantized{};
  std::function<void(int64_t done)> progress{};
  /// Matrices are streamed (nn::Weight::stream), so that the source is read as they are used.
  bool streamed = false;
};

/// Loads every parameter, one after the other. Requires: check_tensors passed. Throws FormatError
/// where tied parameters have different numbers in the source, and where one to be quantised is not
/// finite; of streamed ones that is found as they are used.
void load_tensors(nn::Module& root, const std::shared_ptr<const io::TensorSource>& source,
                  const WeightOptions& options);

}  // namespace graft::models
