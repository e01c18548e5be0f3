// Which weights of a model are held in 4 bits: `quantization_config` of config.json, and the rules
// by which transformers chooses the layers that it quantises.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>

#include "graft/io/json.h"
#include "graft/io/tensor_source.h"
#include "graft/nn/causal_lm.h"
#include "graft/quant/config.h"

namespace graft::models {

/// Does the pattern match the whole name, as Python's re.fullmatch says it: text::full_matcher().
using NameMatcher = std::function<bool(const std::string& pattern, const std::string& name)>;

/// What putting a weight in 4 bits did to its numbers.
struct QuantizationError {
  std::string weight;   ///< "model.layers.0.mlp.up_proj.weight"
  int64_t numbers = 0;  ///< of the weight
  double relative = 0;  ///< ‖w - q‖ / ‖w‖, 0 where w is 0
  double largest = 0;   ///< max |w - q| / max |w|
};

/// The `quantization_config` of a config.json, where it has one. Throws ConfigError that names the
/// method where it is not bitsandbytes' in 4 bits, FormatError where a value is of the wrong kind.
quant::Config read_quantization_config(const io::JsonObject& json);

/// The JSON of that member, as transformers writes it.
io::Json to_json(const quant::Config& config);

/// Paths of the weights of linear layers that the configuration quantises. An entry of its list
/// stands for modules as in transformers: for those whose path it ends, for those it begins up to
/// the end of a name, and the same as a regular expression. Throws ConfigError where an entry
/// stands for no module, or is a regular expression and there is no matcher.
std::set<std::string> weights_to_quantize(nn::CausalLM& model, const quant::Config& config,
                                          const NameMatcher& matcher);

/// Throws ConfigError that names the method where tensors are quantised otherwise than in
/// bitsandbytes' 4 bits.
void refuse_other_quantization(const io::TensorSource& source);

}  // namespace graft::models
