#include "graft/peft/combine_files.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "graft/io/file.h"
#include "graft/io/safetensors.h"
#include "graft/peft/adapter_file.h"
#include "graft/peft/combined_adapter.h"
#include "graft/peft/model_card.h"
#include "graft/tensor/error.h"
#include "graft/tensor/pointwise.h"

namespace graft::peft {
namespace {

/// The matrices of one layer in a file.
struct LayerInFile {
  bool is_embedding = false;
  Tensor a, b, bias;
};

/// One adapter's file, by the paths of its layers.
using LayersInFile = std::map<std::string, LayerInFile>;

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
bool sort_in(LayersInFile& layers, const std::string& key, const Tensor& value) {
  struct Place {
    std::string_view parameter;
    Tensor LayerInFile::*member;
    bool is_embedding;
  };
  constexpr Place places[] = {{"lora_A.weight", &LayerInFile::a, false},
                              {"lora_B.weight", &LayerInFile::b, false},
                              {"lora_B.bias", &LayerInFile::bias, false},
                              {"lora_embedding_A", &LayerInFile::a, true},
                              {"lora_embedding_B", &LayerInFile::b, true}};
  for (const Place& place : places) {
    if (const auto path = layer_of(key, place.parameter)) {
      LayerInFile& layer = layers[*path];
      layer.*place.member = value;
      layer.is_embedding = place.is_embedding;
      return true;
    }
  }
  return false;
}

void check_layer(const std::string& file, const std::string& path, const LayerInFile& layer) {
  const bool fits = layer.a.defined() && layer.b.defined() && layer.a.rank() == 2 &&
                    layer.b.rank() == 2 && layer.a.dim(0) == layer.b.dim(1) &&
                    (!layer.bias.defined() || layer.bias.shape() == Shape{layer.b.dim(0)});
  if (!fits)
    throw FormatError(file, -1,
                      concat("A and B of ", path,
                             " do not fit each other, or one of "
                             "them is missing"));
}

LayersInFile read_layers(const WeightedFolder& adapter, const LoraConfig& config) {
  const io::SafetensorsFile file(adapter_model_file(adapter.folder), io::Access::read);
  LayersInFile layers;
  for (const std::string& key : file.names()) {
    if (sort_in(layers, key, file.load(key).to(DType::f32)))
      continue;
    GRAFT_CHECK(key.ends_with(concat(".", base_layer, "weight")), ConfigError, "combine: \"",
                adapter.name, "\" has ", key,
                ", which is no low-rank matrix; what becomes of it depends on the model, so give "
                "that (--model)");
  }
  GRAFT_CHECK(!config.ensure_weight_tying, ConfigError, "combine: \"", adapter.name,
              "\" has one pair of matrices for head and embedding (ensure_weight_tying); give the "
              "model (--model)");
  if (layers.empty())
    throw FormatError(file.path(), -1, "there are no matrices of an adapter in it");
  for (const auto& [path, layer] : layers)
    check_layer(file.path(), path, layer);
  return layers;
}

Delta delta_of(const LoraConfig& config, const std::string& path, const LayerInFile& layer,
               const RegexMatcher& matcher) {
  const double alpha = pattern_value(config.alpha_pattern, path, config.lora_alpha, matcher);
  const double scale = scaling(config, layer.a.dim(0), alpha);
  Delta delta{.a = layer.a, .b = layer.b, .scale = scale};
  if (layer.bias.defined())
    delta.bias = ops::scale(layer.bias, scale);
  return delta;
}

/// What all adapters have of one layer. Throws ConfigError where their shapes differ.
LayerDeltas deltas_at(const std::string& path, const std::vector<LayersInFile>& files,
                      const std::vector<CombineInput>& inputs, const RegexMatcher& matcher) {
  LayerDeltas found{.path = path, .deltas = std::vector<Delta>(inputs.size())};
  const LayerInFile* first = nullptr;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto layer = files[i].find(path);
    if (layer == files[i].end())
      continue;
    if (first == nullptr)
      first = &layer->second;
    GRAFT_CHECK(layer->second.a.dim(1) == first->a.dim(1) &&
                    layer->second.b.dim(0) == first->b.dim(0) &&
                    layer->second.is_embedding == first->is_embedding,
                ConfigError, "combine: \"", inputs[i].name, "\" is for another model than \"",
                inputs[0].name, "\": ", path, " has other sizes");
    found.is_embedding = layer->second.is_embedding;
    found.deltas[i] = delta_of(inputs[i].config, path, layer->second, matcher);
  }
  return found;
}

}  // namespace

CombinedFiles combine_files(const std::vector<WeightedFolder>& folders,
                            const CombineOptions& options, const RegexMatcher& matcher) {
  validate(options);
  std::vector<CombineInput> inputs;
  std::vector<LayersInFile> files;
  for (const WeightedFolder& adapter : folders) {
    CombineInput input{
        adapter.name, adapter.weight, read_lora_config(adapter.folder / adapter_config_name), {}};
    files.push_back(read_layers(adapter, input.config));
    for (const auto& [path, layer] : files.back())
      input.modules.push_back(path);
    inputs.push_back(std::move(input));
  }
  check_inputs(inputs, options);
  const CombineOptions used = options_for(inputs, options);
  const int64_t rank = combined_rank(inputs, used);
  CombinedFiles result{.config = combined_config(inputs, rank, used.compat)};
  LayersInFile all;
  for (const LayersInFile& file : files)
    all.insert(file.begin(), file.end());
  CombinedAdapter combined(inputs, used, rank);
  for (const auto& [path, layer] : all)
    combined.add_layer(deltas_at(path, files, inputs, matcher),
                       result.config.lora_bias && !layer.is_embedding);
  result.tensors.assign(combined.tensors().begin(), combined.tensors().end());
  result.report = combined.report();
  return result;
}

void CombinedFiles::save(const std::filesystem::path& folder) const {
  std::vector<io::NamedTensor> named;
  for (const auto& [key, value] : tensors)
    named.push_back({key, value});
  write_adapter(folder / adapter_model_name, std::move(named));
  io::write_file_atomically(folder / adapter_config_name, to_json(config));
  io::write_file_atomically(folder / "README.md", model_card(config));
}

}  // namespace graft::peft
