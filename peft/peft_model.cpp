#include "graft/peft/peft_model.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <system_error>
#include <utility>

#include "graft/io/file.h"
#include "graft/peft/adapter_file.h"
#include "graft/peft/draft.h"
#include "graft/peft/model_card.h"

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
    if ((&site != embedding && site.module != &base.head()) || !has_adapters(*site.module))
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

/// Reads the numbers of `tensors` from an adapter's folder. Throws FormatError where two that are
/// one differ.
std::vector<Tensor> read_tensors(const std::filesystem::path& folder,
                                 const std::vector<AdapterTensor>& tensors, nn::Module& base,
                                 DType dtype) {
  std::vector<ExpectedTensor> expected;
  for (const AdapterTensor& tensor : tensors)
    expected.push_back({tensor.key, tensor.shape, tensor.saved_parameter});
  std::vector<Tensor> values = read_adapter(folder, expected, base, dtype);
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].is_repeated)
      continue;
    const auto first = std::ranges::find_if(tensors, [&](const AdapterTensor& other) {
      return !other.is_repeated && other.variable.id() == tensors[i].variable.id();
    });
    const Tensor same = held_value(*first, values[static_cast<size_t>(first - tensors.begin())]);
    if (held_value(tensors[i], values[i]).to_vector() != same.to_vector())
      throw FormatError((folder / adapter_model_name).string(), -1,
                        concat(tensors[i].key, " and ", first->key,
                               " differ, but ensure_weight_tying says that they are one"));
  }
  return values;
}

void set_trained(const std::vector<AdapterTensor>& tensors, bool trained) {
  for (const AdapterTensor& tensor : tensors)
    Variable(tensor.variable).set_requires_grad(trained);
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
    GRAFT_CHECK(!has_adapters(*site.module), ConfigError,
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
  remove_adapters(base_);
  for (const Entry& entry : adapters_)
    remove_overrides(base_, entry.name);
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
  AdapterDraft draft(selection, name);
  draft.initialize(options_.seed, adapter_dtype());
  set_trained(draft.tensors(), false);
  Entry entry{.name = name, .config = selection.config, .modules = {}, .tensors = {}};
  if (!base_.info().name_or_path.empty())
    entry.config.base_model_name_or_path = base_.info().name_or_path;
  put_on(selection, draft, std::move(entry));
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
  AdapterDraft draft(selection, name);
  set_file_values(draft.tensors(), read_tensors(folder, draft.tensors(), base_, adapter_dtype()));
  set_trained(draft.tensors(), is_trainable);
  put_on(selection, draft,
         {.name = name, .config = selection.config, .modules = {}, .tensors = {}});
}

void PeftModel::load_weights(const std::filesystem::path& folder, const std::string& name) {
  const std::vector<AdapterTensor>& tensors = entry(name).tensors;
  set_file_values(tensors, read_tensors(folder, tensors, base_, adapter_dtype()));
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

void PeftModel::set_adapter(std::vector<std::string> names, bool inference_mode) {
  for (const std::string& name : names) {
    entry(name);
    GRAFT_CHECK(std::ranges::count(names, name) == 1, ConfigError, "set_adapter: \"", name,
                "\" is given twice");
  }
  check_copies(names);
  // Those that lose their place keep requiring gradients, or a backward that is still to come would
  // find its leaves gone; trainable_parameters() leaves them out.
  for (const std::string& name : names)
    set_trained(entry(name).tensors, !inference_mode);
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

std::vector<NamedVariable> PeftModel::trainable_parameters() const {
  std::vector<NamedVariable> parameters;
  for (const std::string& name : active_) {
    for (const AdapterTensor& tensor : entry(name).tensors) {
      if (!tensor.is_repeated && tensor.variable.requires_grad())
        parameters.push_back({tensor.name, tensor.variable});
    }
  }
  return parameters;
}

ParameterCounts PeftModel::count_parameters() const {
  ParameterCounts counts;
  std::set<const void*> seen;
  for (const nn::NamedMember& parameter : base_parameters(base_)) {
    if (seen.insert(parameter.member->identity()).second)
      counts.all += parameter.member->shape().numel();
  }
  for (const Entry& entry : adapters_) {
    for (const AdapterTensor& tensor : entry.tensors) {
      if (!tensor.is_repeated && !tensor.is_bias_of_base)
        counts.all += tensor.shape.numel();
    }
  }
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

void PeftModel::check_copies(const std::vector<std::string>& names) const {
  std::map<const nn::Member*, std::string> owners;
  for (const std::string& name : names) {
    for (const nn::Member* member : entry(name).copied) {
      const auto [owner, is_new] = owners.emplace(member, name);
      GRAFT_CHECK(is_new, ConfigError, "set_adapter: \"", owner->second, "\" and \"", name,
                  "\" both bring a copy of the same parameter of the model (", member->name(),
                  "); one of them can be active at a time");
    }
  }
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

void PeftModel::put_on(const Selection& selection, AdapterDraft& draft, Entry entry) {
  for (const SelectedLayer& layer : selection.layers)
    entry.modules.push_back(layer.site.path);
  for (const SelectedCopy& copy : selection.copies)
    entry.copied.push_back(copy.member);
  entry.tensors = std::move(draft.tensors());
  adapters_.push_back(std::move(entry));
  if (adapters_.size() == 1) {
    for (const nn::NamedMember& parameter : base_parameters(base_)) {
      if (Variable* variable = parameter.member->variable())
        variable->set_requires_grad(false);
    }
  }
  draft.put_on();
}

}  // namespace graft::peft
