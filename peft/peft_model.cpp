#include "graft/peft/peft_model.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <system_error>
#include <utility>

#include "graft/io/file.h"
#include "graft/peft/adapted_linear.h"
#include "graft/peft/adapter_file.h"
#include "graft/peft/init.h"
#include "graft/peft/lora.h"
#include "graft/peft/model_card.h"

namespace graft::peft {
namespace {

/// A LoRA without numbers for each selected layer. Throws ConfigError for layers of a kind that
/// adapters cannot be put on.
std::vector<std::unique_ptr<Lora>> make_loras(const Selection& selection) {
  std::vector<std::unique_ptr<Lora>> loras;
  for (const SelectedLayer& layer : selection.layers) {
    const nn::LinearLike& linear = **layer.site.linear;
    GRAFT_CHECK(dynamic_cast<const nn::Linear*>(&linear) != nullptr ||
                    dynamic_cast<const AdaptedLinear*>(&linear) != nullptr,
                ConfigError, "add adapter: ", layer.site.path,
                " is a linear layer of a kind that adapters cannot be put on");
    loras.push_back(
        std::make_unique<Lora>(linear.in_features(), linear.out_features(),
                               LoraOptions{.r = layer.r,
                                           .scaling = layer.scaling,
                                           .dropout = selection.config.lora_dropout,
                                           .dropout_module = dropout_module_of(layer.site.path)}));
  }
  return loras;
}

/// The layer with adapters at a place, which is put there if need be.
AdaptedLinear& adapted(nn::Child<nn::LinearLike>& child) {
  if (dynamic_cast<AdaptedLinear*>(&*child) == nullptr) {
    child.replace([](std::unique_ptr<nn::LinearLike> old) -> std::unique_ptr<nn::LinearLike> {
      std::unique_ptr<nn::Linear> base(static_cast<nn::Linear*>(old.release()));
      return std::make_unique<AdaptedLinear>(std::move(base));
    });
  }
  return static_cast<AdaptedLinear&>(*child);
}

/// The adapters of that name, with the paths of their layers.
struct PlacedAdapter {
  std::string path;
  Adapter* adapter;
};
std::vector<PlacedAdapter> placed(nn::Module& base, const std::string& name) {
  std::vector<PlacedAdapter> found;
  for (const Site& site : sites_of(base)) {
    const auto* linear = dynamic_cast<const AdaptedLinear*>(site.module);
    if (Adapter* adapter = linear == nullptr ? nullptr : linear->find(name))
      found.push_back({site.path, adapter});
  }
  return found;
}

/// PEFT also saves the base weight of a head that its configuration names.
bool names_head(const LoraConfig& config, const std::vector<Site>& sites,
                const RegexMatcher& matcher) {
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

/// What the adapter's file holds.
std::vector<io::NamedTensor> saved_tensors(nn::CausalLM& base, const std::string& name,
                                           const LoraConfig& config, const RegexMatcher& matcher) {
  std::vector<io::NamedTensor> tensors;
  for (const PlacedAdapter& at : placed(base, name)) {
    for (const nn::Member* parameter : at.adapter->members())
      tensors.push_back({adapter_key(at.path, parameter->name()), parameter->value()});
  }
  const std::vector<Site> sites = sites_of(base);
  const auto head = std::ranges::find(sites, &base.head(), &Site::module);
  const auto* adapted_head = dynamic_cast<const AdaptedLinear*>(&base.head());
  if (head == sites.end() || adapted_head == nullptr || !names_head(config, sites, matcher))
    return tensors;
  for (const nn::Member* parameter : adapted_head->base().members())
    tensors.push_back(
        {adapter_key(head->path, "base_layer." + parameter->name()), parameter->value()});
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

/// "1,234,567"
std::string grouped(int64_t count) {
  const std::string digits = std::to_string(count);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0)
      text += ',';
    text += digits[i];
  }
  return text;
}

}  // namespace

std::string to_string(const ParameterCounts& counts) {
  const double percent = counts.all == 0 ? 0
                                         : 100 * static_cast<double>(counts.trainable) /
                                               static_cast<double>(counts.all);
  char text[32];
  std::snprintf(text, sizeof text, "%.4f", percent);
  return concat("trainable params: ", grouped(counts.trainable),
                " || all params: ", grouped(counts.all), " || trainable%: ", text);
}

PeftModel::PeftModel(nn::CausalLM& base, PeftOptions options)
    : base_(base), options_(std::move(options)) {
  for (const Site& site : sites_of(base))
    GRAFT_CHECK(dynamic_cast<AdaptedLinear*>(site.module) == nullptr, ConfigError,
                "peft model: the model carries the adapters of another PeftModel, at ", site.path,
                "; add this one to that with add_adapter or load_adapter");
}

PeftModel::PeftModel(nn::CausalLM& base, LoraConfig config, const std::string& name,
                     PeftOptions options)
    : PeftModel(base, std::move(options)) {
  const bool inference_mode = config.inference_mode;
  add_adapter(name, std::move(config));
  set_adapter({name}, inference_mode);
}

PeftModel::PeftModel(nn::CausalLM& base, const std::filesystem::path& folder,
                     const std::string& name, bool is_trainable, PeftOptions options)
    : PeftModel(base, std::move(options)) {
  load_adapter(folder, name, is_trainable);
  set_adapter({name}, !is_trainable);
}

PeftModel PeftModel::from_pretrained(nn::CausalLM& base, const std::filesystem::path& folder,
                                     const std::string& name, bool is_trainable,
                                     PeftOptions options) {
  return PeftModel(base, folder, name, is_trainable, std::move(options));
}

PeftModel::~PeftModel() {
  for (const Site& site : sites_of(base_)) {
    if (dynamic_cast<AdaptedLinear*>(site.module) == nullptr)
      continue;
    site.linear->replace(
        [](std::unique_ptr<nn::LinearLike> old) -> std::unique_ptr<nn::LinearLike> {
          return static_cast<AdaptedLinear&>(*old).release_base();
        });
  }
}

Variable PeftModel::forward(const Tensor& ids, const nn::Context& context) const {
  return base_.forward(ids, resolve(context));
}

nn::Context PeftModel::resolve(const nn::Context& context) const {
  nn::Context resolved = base_.resolve(context);
  if (!resolved.adapters)
    resolved.adapters = nn::AdapterSelection{active_adapters()};
  for (const std::string& name : resolved.adapters->names)
    entry(name);
  return resolved;
}

void PeftModel::add_adapter(const std::string& name, LoraConfig config) {
  check_new_name(name);
  const Selection selection = select(std::move(config), options_.strict);
  std::vector<std::unique_ptr<Lora>> loras = make_loras(selection);
  for (size_t i = 0; i < loras.size(); ++i)
    initialize(*loras[i], selection.config.init_lora_weights, options_.seed,
               selection.layers[i].site.path, adapter_dtype());
  Entry entry{.name = name, .config = selection.config, .modules = {}};
  if (!base_.info().name_or_path.empty())
    entry.config.base_model_name_or_path = base_.info().name_or_path;
  put_on(selection, std::move(loras), std::move(entry));
}

void PeftModel::load_adapter(const std::filesystem::path& folder, const std::string& name,
                             bool is_trainable) {
  check_new_name(name);
  const std::filesystem::path config_file = folder / adapter_config_name;
  std::error_code ignored;
  GRAFT_CHECK(std::filesystem::exists(config_file, ignored), IoError,
              "load_adapter: ", folder.string(), " is not the folder of an adapter: it has no ",
              adapter_config_name,
              " (adapters not called \"default\" are in a subfolder of their name)");
  LoraConfig config = read_lora_config(config_file);
  config.inference_mode = !is_trainable;
  const Selection selection = select(std::move(config), false);
  std::vector<std::unique_ptr<Lora>> loras = make_loras(selection);

  std::vector<ExpectedTensor> expected;
  for (size_t i = 0; i < loras.size(); ++i) {
    for (const nn::Member* parameter : loras[i]->members())
      expected.push_back(
          {adapter_key(selection.layers[i].site.path, parameter->name()), parameter->shape()});
  }
  std::vector<Tensor> tensors = read_adapter(folder, expected, base_, adapter_dtype());
  size_t next = 0;
  for (const std::unique_ptr<Lora>& lora : loras) {
    for (nn::Member* parameter : lora->members())
      parameter->load(std::move(tensors[next++]));
    nn::set_requires_grad(*lora, is_trainable);
  }
  put_on(selection, std::move(loras), {.name = name, .config = selection.config, .modules = {}});
}

void PeftModel::save_pretrained(const std::filesystem::path& folder) const {
  save_pretrained(folder, available_adapters());
}

void PeftModel::save_pretrained(const std::filesystem::path& folder,
                                const std::vector<std::string>& selected_adapters) const {
  for (const std::string& name : selected_adapters)
    entry(name);
  make_folder(folder);
  for (const std::string& name : selected_adapters) {
    const LoraConfig config = completed(entry(name).config, base_.info());
    const std::filesystem::path place = name == "default" ? folder : folder / name;
    make_folder(place);
    write_adapter(place / adapter_model_name, saved_tensors(base_, name, config, options_.matcher));
    io::write_file_atomically(place / adapter_config_name, to_json(config));
    const std::filesystem::path card = folder / "README.md";
    std::error_code ignored;
    if (!std::filesystem::exists(card, ignored))
      io::write_file_atomically(card, model_card(config));
  }
}

void PeftModel::set_adapter(std::vector<std::string> names, bool inference_mode) {
  for (const std::string& name : names) {
    entry(name);
    GRAFT_CHECK(std::ranges::count(names, name) == 1, ConfigError, "set_adapter: \"", name,
                "\" is given twice");
  }
  // Those that lose their place keep requiring gradients, or a backward that is still to come would
  // find its leaves gone; trainable_parameters() leaves them out.
  for (const std::string& name : names) {
    for (const PlacedAdapter& at : placed(base_, name))
      nn::set_requires_grad(*at.adapter, !inference_mode);
  }
  active_ = std::move(names);
}

std::vector<std::string> PeftModel::available_adapters() const {
  std::vector<std::string> names;
  for (const Entry& entry : adapters_)
    names.push_back(entry.name);
  return names;
}

std::vector<std::string> PeftModel::active_adapters() const {
  return disabled_ > 0 ? std::vector<std::string>() : active_;
}

const LoraConfig& PeftModel::config(const std::string& name) const {
  return entry(name).config;
}

const std::vector<std::string>& PeftModel::targeted_modules(const std::string& name) const {
  return entry(name).modules;
}

std::vector<NamedVariable> PeftModel::trainable_parameters() {
  std::vector<NamedVariable> parameters;
  for (const Site& site : sites_of(base_)) {
    const auto* linear = dynamic_cast<const AdaptedLinear*>(site.module);
    for (const std::string& name : active_) {
      Adapter* adapter = linear == nullptr ? nullptr : linear->find(name);
      if (adapter == nullptr)
        continue;
      for (NamedVariable& parameter : nn::trainable_parameters(*adapter))
        parameters.push_back(
            {concat(site.path, ".", name, ".", parameter.name), std::move(parameter.variable)});
    }
  }
  return parameters;
}

ParameterCounts PeftModel::count_parameters() {
  ParameterCounts counts{.trainable = 0, .all = nn::count_parameters(base_)};
  for (const NamedVariable& parameter : trainable_parameters())
    counts.trainable += parameter.variable.shape().numel();
  return counts;
}

const PeftModel::Entry& PeftModel::entry(const std::string& name) const {
  const auto found = std::ranges::find(adapters_, name, &Entry::name);
  if (found != adapters_.end())
    return *found;
  const std::vector<std::string> names = available_adapters();
  throw ConfigError(concat("adapter \"", name, "\" does not exist; there are: ", Targets(names),
                           did_you_mean(name, names)));
}

void PeftModel::check_new_name(const std::string& name) const {
  GRAFT_CHECK(io::is_plain_file_name(name), ConfigError, "add adapter: \"", name,
              "\" is no name for an adapter; it has to be fit for a folder, without slashes");
  GRAFT_CHECK(std::ranges::find(adapters_, name, &Entry::name) == adapters_.end(), ConfigError,
              "add adapter: there is one called \"", name, "\" already; choose another name");
}

Selection PeftModel::select(LoraConfig config, bool strict) {
  return select_layers(
      base_, std::move(config),
      {.matcher = options_.matcher, .observer = options_.observer, .strict = strict});
}

DType PeftModel::adapter_dtype() const {
  return accumulator_dtype(base_.info().dtype);
}

void PeftModel::put_on(const Selection& selection, std::vector<std::unique_ptr<Lora>> loras,
                       Entry entry) {
  for (const SelectedLayer& layer : selection.layers)
    entry.modules.push_back(layer.site.path);
  adapters_.push_back(std::move(entry));
  if (adapters_.size() == 1)
    nn::set_requires_grad(base_, false);
  for (size_t i = 0; i < loras.size(); ++i)
    adapted(*selection.layers[i].site.linear).add(adapters_.back().name, std::move(loras[i]));
}

}  // namespace graft::peft
