// 4-bit weights in the file layout of bitsandbytes, as transformers writes it.
//
// Beside `P.weight`, which holds the codes, stand `P.weight.absmax`, `.quant_map`, with double
// quantisation `.nested_absmax` and `.nested_quant_map`, and the JSON text
// `.quant_state.bitsandbytes__nf4` (or `__fp4`) as bytes. Whether a weight is held so is seen by
// its own companions, not by the configuration.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graft/io/safetensors.h"
#include "graft/io/tensor_source.h"
#include "graft/quant/quantized_tensor.h"

namespace graft::models {

/// True where the source holds `weight` ("model.layers.0.mlp.up_proj.weight") in 4 bits.
bool is_quantized(const io::TensorSource& source, std::string_view weight);

/// True for the names of the tensors that stand beside a quantised weight.
bool is_quantization_companion(const io::TensorSource& source, std::string_view name);

/// What the state of a quantised weight says.
struct QuantizedInfo {
  quant::Format format;
  Shape shape;               ///< of the numbers
  DType dtype = DType::f32;  ///< what they were before
};
/// Throws FormatError where the state is damaged.
QuantizedInfo quantized_info(const io::TensorSource& source, std::string_view weight);

/// How the first quantised weight of a source is held; nothing where there is none.
std::optional<quant::Format> quantized_format(const io::TensorSource& source);

/// The weight, with the maps of the file. Throws FormatError where a companion is missing or does
/// not fit the others.
quant::QuantizedTensor read_quantized(const io::TensorSource& source, std::string_view weight);

/// The tensors to be written for a weight of that name, the bytes of its codes as `storage`. Throws
/// ConfigError where they do not fill whole numbers of that dtype.
std::vector<io::NamedTensor> quantized_tensors(const std::string& weight,
                                               const quant::QuantizedTensor& value,
                                               DType storage = DType::u8);

}  // namespace graft::models
