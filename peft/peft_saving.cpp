// PeftModel: what it writes.

#include <algorithm>
#include <system_error>
#include <utility>

#include "graft/io/file.h"
#include "graft/peft/adapter_file.h"
#include "graft/peft/model_card.h"
#include "graft/peft/peft_model.h"

namespace graft::peft {
namespace {

/// PEFT also saves the base weights of an adapted embedding or head that the configuration names,
/// unless tokens are trained.
bool saves_base_weights(const LoraConfig& config, const std::vector<Site>& sites,
                        const RegexMatcher& matcher) {
  if (!config.trainable_token_indices.empty())
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

/// What the adapter's file holds.
std::vector<io::NamedTensor> saved_tensors(nn::CausalLM& base,
                                           const std::vector<AdapterTensor>& of_adapter,
                                           const LoraConfig& config, const RegexMatcher& matcher) {
  std::vector<io::NamedTensor> tensors;
  for (const AdapterTensor& tensor : of_adapter)
    tensors.push_back({tensor.key, file_value(tensor)});
  for (io::NamedTensor& weight : saved_base_weights(base, config, matcher)) {
    if (std::ranges::find(of_adapter, weight.name, &AdapterTensor::key) == of_adapter.end())
      tensors.push_back(std::move(weight));
  }
  return tensors;
}

/// What PEFT adds to a configuration when it is saved.
LoraConfig completed(LoraConfig config, const nn::ModelInfo& info) {
  if (!config.base_model_name_or_path && !info.name_or_path.empty())
    config.base_model_name_or_path = info.name_or_path;
  if (!config.task_type && !info.architecture.empty())
    config.auto_mapping =
        AutoMapping{.base_model_class = info.architecture, .parent_library = info.python_module};
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
                                const std::vector<std::string>& selected_adapters) const {
  for (const std::string& name : selected_adapters)
    entry(name);
  make_folder(folder);
  for (const std::string& name : selected_adapters) {
    const Entry& saved = entry(name);
    const LoraConfig config = completed(saved.config, base_.info());
    const std::filesystem::path place = name == "default" ? folder : folder / name;
    make_folder(place);
    write_adapter(place / adapter_model_name,
                  saved_tensors(base_, saved.tensors, config, options_.matcher));
    io::write_file_atomically(place / adapter_config_name, to_json(config));
    const std::filesystem::path card = folder / "README.md";
    std::error_code ignored;
    if (!std::filesystem::exists(card, ignored))
      io::write_file_atomically(card, model_card(config));
  }
}

}  // namespace graft::peft
