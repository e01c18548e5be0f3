// PeftModel: what it writes.

#include <algorithm>
#include <cmath>
#include <system_error>
#include <utility>

#include "graft/io/file.h"
#include "graft/peft/adapter_file.h"
#include "graft/peft/model_card.h"
#include "graft/peft/peft_model.h"
#include "graft/tensor/copy.h"

namespace graft::peft {
namespace {

/// PEFT also saves the base weights of an adapted embedding or head that the configuration names,
/// unless tokens are trained. Of what the adapter took a part out of, PEFT makes out the rest
/// itself.
bool saves_base_weights(const LoraConfig& config, const std::vector<Site>& sites,
                        const RegexMatcher& matcher) {
  if (!config.trainable_token_indices.empty() || takes_from_base(config))
    return false;
  const Targets& targets = config.target_modules;
  const auto is_embedding = [](const std::string& path) {
    return is_or_ends_in(path, "embed_tokens") || is_or_ends_in(path, "lm_head");
  };
  if (targets.kind() == Targets::Kind::list)
    return std::ranges::any_of(targets.names(), [](const std::string& name) {
      return name == "embed_tokens" || name == "lm_head";
    });
  return std::ranges::any_of(sites, [&](const Site& site) {
    return is_embedding(site.path) && means(targets, site.path, matcher);
  });
}

/// Those base weights.
std::vector<io::NamedTensor> saved_base_weights(nn::CausalLM& base, const LoraConfig& config,
                                                const RegexMatcher& matcher) {
  std::vector<io::NamedTensor> tensors;
  const std::vector<Site> sites = sites_of(base);
  if (!saves_base_weights(config, sites, matcher))
    return tensors;
  const Site* embedding = input_embedding(sites);
  for (const Site& site : sites) {
    if ((&site != embedding && site.module != &base.head()) ||
        adapted_layer(*site.module) == nullptr)
      continue;
    for (const nn::NamedMember& parameter : base_parameters(*site.module))
      tensors.push_back(
          {adapter_key(site.path, concat(base_layer, parameter.path)), parameter.member->value()});
  }
  return tensors;
}

/// A factor with what was taken out of the weight beside it: twice the rank. Zeros where nothing
/// was.
Tensor value_on_whole_base(const AdapterTensor& tensor) {
  const Tensor value = file_value(tensor);
  if (tensor.rank_dimension < 0)
    return value;
  const Tensor beside =
      tensor.taken.defined() ? tensor.taken : Tensor::zeros(value.shape(), value.dtype());
  return ops::concatenate({{value, beside}}, tensor.rank_dimension);
}

/// What the adapter's file holds.
std::vector<io::NamedTensor> saved_tensors(nn::CausalLM& base,
                                           const std::vector<AdapterTensor>& of_adapter,
                                           const LoraConfig& config, const RegexMatcher& matcher,
                                           const SaveOptions& options) {
  std::vector<io::NamedTensor> tensors;
  for (const AdapterTensor& tensor : of_adapter)
    tensors.push_back({tensor.key, options.subtract_mutated_init ? value_on_whole_base(tensor)
                                                                 : file_value(tensor)});
  for (io::NamedTensor& weight : saved_base_weights(base, config, matcher)) {
    if (std::ranges::find(of_adapter, weight.name, &AdapterTensor::key) == of_adapter.end())
      tensors.push_back(std::move(weight));
  }
  return tensors;
}

/// What PEFT adds to a configuration when it is saved; without LoftQ, which PEFT would do again.
LoraConfig completed(LoraConfig config, const nn::ModelInfo& info) {
  if (config.init_lora_weights == LoraInit::loftq) {
    config.init_lora_weights = LoraInit::standard;
    config.loftq_config.reset();
  }
  if (!config.base_model_name_or_path && !info.name_or_path.empty())
    config.base_model_name_or_path = info.name_or_path;
  if (!config.task_type && !info.architecture.empty())
    config.auto_mapping =
        AutoMapping{.base_model_class = info.architecture, .parent_library = info.python_module};
  return config;
}

/// The configuration of the adapter on the whole base: twice the rank at the same scaling.
LoraConfig on_whole_base(LoraConfig config) {
  const double same_scaling = config.use_rslora ? std::sqrt(2.0) : 2;
  config.init_lora_weights = LoraInit::standard;
  config.pissa_niter.reset();
  config.r *= 2;
  config.lora_alpha *= same_scaling;
  for (auto& [key, r] : config.rank_pattern)
    r *= 2;
  for (auto& [key, alpha] : config.alpha_pattern)
    alpha *= same_scaling;
  return config;
}

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  GRAFT_CHECK(!error, IoError, "save_pretrained ", folder.string(), ": ", error.message());
}

}  // namespace

void PeftModel::save_pretrained(const std::filesystem::path& folder) const {
  save_pretrained(folder, available_adapters());
}

void PeftModel::save_pretrained(const std::filesystem::path& folder,
                                const std::vector<std::string>& selected_adapters,
                                const SaveOptions& options) const {
  for (const std::string& name : selected_adapters)
    GRAFT_CHECK(!options.subtract_mutated_init || takes_from_base(entry(name).config), ConfigError,
                "save_pretrained: subtract_mutated_init is set, but the adapter \"", name,
                "\" has taken nothing out of the base model: its init_lora_weights is \"",
                init_name(entry(name).config), "\"");
  make_folder(folder);
  for (const std::string& name : selected_adapters) {
    const Entry& saved = entry(name);
    const LoraConfig own = completed(saved.config, base_.info());
    const LoraConfig config = options.subtract_mutated_init ? on_whole_base(own) : own;
    const std::filesystem::path place = name == "default" ? folder : folder / name;
    make_folder(place);
    write_adapter(place / adapter_model_name,
                  saved_tensors(base_, saved.tensors, config, options_.matcher, options));
    io::write_file_atomically(place / adapter_config_name, to_json(config));
    const std::filesystem::path card = folder / "README.md";
    std::error_code ignored;
    if (!std::filesystem::exists(card, ignored))
      io::write_file_atomically(card, model_card(config));
  }
}

}  // namespace graft::peft
