#include "graft/peft/adapter_layers.h"

#include <optional>
#include <utility>

#include "graft/io/file.h"
#include "graft/peft/adapter_file.h"
#include "graft/peft/model_card.h"
#include "graft/tensor/error.h"

namespace graft::peft {
namespace {

/// The path of the layer whose parameter a key names; nothing where it names another parameter.
std::optional<std::string> layer_of(const std::string& key, std::string_view parameter) {
  const std::string prefix = adapter_key("", "");  // with the dot behind the path
  const std::string_view start = std::string_view(prefix).substr(0, prefix.size() - 1);
  const std::string end = concat(".", parameter);
  if (!key.starts_with(start) || !key.ends_with(end))
    return std::nullopt;
  return key.substr(start.size(), key.size() - start.size() - end.size());
}

/// Puts a tensor into its layer. False where it is no matrix or bias of an adapter.
bool sort_in(AdapterLayers& layers, const std::string& key, const Tensor& value) {
  struct Place {
    std::string_view parameter;
    Tensor AdapterLayer::*member;
    bool is_embedding;
  };
  constexpr Place places[] = {{"lora_A.weight", &AdapterLayer::a, false},
                              {"lora_B.weight", &AdapterLayer::b, false},
                              {"lora_B.bias", &AdapterLayer::bias, false},
                              {"lora_embedding_A", &AdapterLayer::a, true},
                              {"lora_embedding_B", &AdapterLayer::b, true}};
  for (const Place& place : places) {
    if (const auto path = layer_of(key, place.parameter)) {
      AdapterLayer& layer = layers[*path];
      layer.*place.member = value;
      layer.is_embedding = place.is_embedding;
      return true;
    }
  }
  return false;
}

void check_layer(const std::string& file, const std::string& path, const AdapterLayer& layer) {
  const bool fits = layer.a.defined() && layer.b.defined() && layer.a.rank() == 2 &&
                    layer.b.rank() == 2 && layer.a.dim(0) == layer.b.dim(1) &&
                    is_floating(layer.a.dtype()) && is_floating(layer.b.dtype()) &&
                    (!layer.bias.defined() || layer.bias.shape() == Shape{layer.b.dim(0)});
  if (!fits)
    throw FormatError(file, -1,
                      concat("A and B of ", path,
                             " do not fit each other, or one of "
                             "them is missing"));
}

}  // namespace

AdapterFiles read_adapter_files(const std::filesystem::path& folder) {
  AdapterFiles adapter{.config = read_lora_config(folder / adapter_config_name), .file = {}};
  const io::SafetensorsFile file(adapter_model_file(folder), io::Access::read);
  adapter.file = file.path();
  for (const std::string& key : file.names()) {
    if (!sort_in(adapter.layers, key, file.load(key)) &&
        !key.ends_with(concat(".", base_layer, "weight")))
      adapter.others.push_back(key);
  }
  if (adapter.layers.empty() && adapter.others.empty())
    throw FormatError(file.path(), -1, "there are no matrices of an adapter in it");
  for (const auto& [path, layer] : adapter.layers)
    check_layer(file.path(), path, layer);
  return adapter;
}

void write_adapter_files(const std::filesystem::path& folder, const LoraConfig& config,
                         std::vector<io::NamedTensor> tensors) {
  write_adapter(folder / adapter_model_name, std::move(tensors));
  io::write_file_atomically(folder / adapter_config_name, to_json(config));
  io::write_file_atomically(folder / "README.md", model_card(config));
}

std::string setting_that_needs_model(const LoraConfig& config) {
  if (config.use_dora)
    return "use_dora";
  if (takes_from_base(config))
    return init_name(config);
  return config.ensure_weight_tying ? "ensure_weight_tying" : "";
}

double scaling_of(const LoraConfig& config, const std::string& path, int64_t r,
                  const RegexMatcher& matcher) {
  const double alpha = pattern_value(config.alpha_pattern, path, config.lora_alpha, matcher);
  return scaling(config, r, alpha);
}

}  // namespace graft::peft
