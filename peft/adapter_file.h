// adapter_model.safetensors: the numbers of an adapter, under PEFT's keys.
//
// A key is "base_model.model.", the path of the adapted layer, ".", and the name of the adapter's
// parameter: "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight". It is composed from
// those parts and never taken apart, and the adapter's name is not among them, so that modules and
// adapters may have any names.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "graft/io/safetensors.h"
#include "graft/nn/module.h"

namespace graft::peft {

inline constexpr std::string_view adapter_config_name = "adapter_config.json";
inline constexpr std::string_view adapter_model_name = "adapter_model.safetensors";
/// What PEFT puts before the parameters of a layer that is adapted.
inline constexpr std::string_view base_layer = "base_layer.";

/// The key of a parameter of the adapter at the module `path`.
std::string adapter_key(std::string_view path, std::string_view parameter);

/// The file with the tensors of an adapter's folder. Throws FormatError where there is a pickle in
/// its place.
std::filesystem::path adapter_model_file(const std::filesystem::path& folder);

/// A tensor that the file of an adapter has to hold.
struct ExpectedTensor {
  std::string key;
  Shape shape;
  /// Of a module that is saved whole: the part of the key behind the module's path.
  std::string saved_parameter{};
};

/// Whether base weights in a file have to be the model's. An adapter that takes a part out of them
/// saves what is left.
enum class BaseWeights { checked, passed_over };

/// Reads the adapter in `folder`: the expected tensors, in their order, in `dtype`. PEFT also saves
/// base weights where the head or the embedding is adapted; where they are checked, they have to be
/// those of `base`. With bias "all" it saves the biases of modules that are saved whole three
/// times; the repetitions are passed over. Throws FormatError with the difference where other
/// tensors are there than expected, or where there is only a pickle; IoError.
std::vector<Tensor> read_adapter(const std::filesystem::path& folder,
                                 const std::vector<ExpectedTensor>& expected, nn::Module& base,
                                 BaseWeights base_weights, DType dtype);

/// Writes the tensors to `file` as PEFT does.
void write_adapter(const std::filesystem::path& file, std::vector<io::NamedTensor> tensors);

}  // namespace graft::peft
