#include "graft/peft/combine_files.h"

#include <algorithm>
#include <utility>

#include "graft/peft/adapter_layers.h"
#include "graft/peft/combined_adapter.h"
#include "graft/tensor/error.h"
#include "graft/tensor/pointwise.h"

namespace graft::peft {
namespace {

/// Throws ConfigError where what becomes of a part of the adapter depends on the model.
void check_layers_only(const std::string& name, const AdapterFiles& adapter) {
  const std::string setting = setting_that_needs_model(adapter.config);
  GRAFT_CHECK(setting.empty(), ConfigError, "combine: \"", name, "\" was made with ", setting,
              ", and what it changes depends on the model; give that (--model)");
  GRAFT_CHECK(adapter.others.empty(), ConfigError, "combine: \"", name, "\" has ",
              adapter.others.empty() ? "" : adapter.others[0],
              ", which is no low-rank matrix; what becomes of it depends on the model, so give "
              "that (--model)");
}

Delta delta_of(const LoraConfig& config, const std::string& path, const AdapterLayer& layer,
               const RegexMatcher& matcher) {
  const double scale = scaling_of(config, path, layer.a.dim(0), matcher);
  Delta delta{.a = layer.a.to(DType::f32), .b = layer.b.to(DType::f32), .scale = scale};
  if (layer.bias.defined())
    delta.bias = ops::scale(layer.bias.to(DType::f32), scale);
  return delta;
}

/// What all adapters have of one layer. Throws ConfigError where their shapes differ.
LayerDeltas deltas_at(const std::string& path, const std::vector<AdapterLayers>& files,
                      const std::vector<CombineInput>& inputs, const RegexMatcher& matcher) {
  LayerDeltas found{.path = path, .deltas = std::vector<Delta>(inputs.size())};
  const AdapterLayer* first = nullptr;
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
  std::vector<AdapterLayers> files;
  for (const WeightedFolder& adapter : folders) {
    AdapterFiles read = read_adapter_files(adapter.folder);
    check_layers_only(adapter.name, read);
    CombineInput input{adapter.name, adapter.weight, std::move(read.config), {}};
    files.push_back(std::move(read.layers));
    for (const auto& [path, layer] : files.back())
      input.modules.push_back(path);
    inputs.push_back(std::move(input));
  }
  check_inputs(inputs, options);
  const CombineOptions used = options_for(inputs, options);
  const int64_t rank = combined_rank(inputs, used);
  CombinedFiles result{.config = combined_config(inputs, rank, used.compat)};
  AdapterLayers all;
  for (const AdapterLayers& file : files)
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
  write_adapter_files(folder, config, std::move(named));
}

}  // namespace graft::peft
