#include "graft/peft/peft_model.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <system_error>
#include <utility>

#include "graft/io/file.h"
#include "graft/peft/adapted_layer.h"
#include "graft/peft/adapter_file.h"
#include "graft/peft/alora.h"
#include "graft/peft/draft.h"

namespace graft::peft {
namespace {

/// Reads the numbers of `tensors` from an adapter's folder. Throws FormatError where two that are
/// one differ.
std::vector<Tensor> read_tensors(const std::filesystem::path& folder,
                                 const std::vector<AdapterTensor>& tensors, nn::Module& base,
                                 const LoraConfig& config, DType dtype) {
  std::vector<ExpectedTensor> expected;
  for (const AdapterTensor& tensor : tensors)
    expected.push_back({tensor.key, tensor.shape, tensor.saved_parameter});
  std::vector<Tensor> values = read_adapter(
      folder, expected, base,
      takes_from_base(config) ? BaseWeights::passed_over : BaseWeights::checked, dtype);
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

}  // namespace

PeftModel::PeftModel(nn::CausalLM& base, PeftOptions options)
    : base_(base), options_(std::move(options)) {
  for (const Site& site : sites_of(base))
    GRAFT_CHECK(adapted_layer(*site.module) == nullptr, ConfigError,
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
  unload();
}

Variable PeftModel::forward(const Tensor& ids, const nn::Context& context) const {
  const nn::Context resolved = resolve(context);
  const std::vector<std::string>& by_row = resolved.adapters->by_row;
  GRAFT_CHECK(by_row.empty() || ids.dim(0) == std::ssize(by_row), ConfigError,
              "forward: adapters are named for ", by_row.size(), " rows, but the batch has ",
              ids.dim(0));
  return base_.forward(ids, with_parts(resolved, ids));
}

nn::Context PeftModel::resolve(const nn::Context& context) const {
  nn::Context resolved = base_.resolve(context);
  if (!resolved.adapters)
    resolved.adapters = nn::AdapterSelection{.names = default_selection()};
  const std::vector<std::string>& names = resolved.adapters->names;
  const std::vector<std::string>& by_row = resolved.adapters->by_row;
  GRAFT_CHECK(names.empty() || by_row.empty(), ConfigError,
              "forward: adapters are named both for all rows and row by row; give one of the two");
  for (const std::string& name : names)
    entry(name);
  for (const std::string& name : by_row) {
    if (name != nn::base_row)
      entry(name);
  }
  if (disabled_ > 0)
    resolved.adapters = nn::AdapterSelection{};
  return resolved;
}

nn::Context PeftModel::resolve(const nn::Context& context,
                               std::span<const std::vector<int64_t>> texts) const {
  nn::Context resolved = resolve(context);
  resolved.adapters->parts.clear();
  for (const Entry& entry : adapters_) {
    const auto& invocation = entry.config.alora_invocation_tokens;
    if (!invocation || !resolved.adapters->applies(entry.name))
      continue;
    nn::AdapterPart part{.adapter = entry.name};
    for (const std::vector<int64_t>& text : texts)
      part.starts.push_back(invoked_from(text, *invocation));
    resolved.adapters->parts.push_back(std::move(part));
  }
  return resolved;
}

nn::Context PeftModel::with_parts(nn::Context context, const Tensor& ids) const {
  std::vector<nn::AdapterPart> parts;
  for (const Entry& entry : adapters_) {
    const auto& invocation = entry.config.alora_invocation_tokens;
    if (invocation && context.adapters->applies(entry.name))
      parts.push_back(invoked_part(ids, context, entry.name, *invocation));
  }
  context.adapters->parts = std::move(parts);
  return context;
}

void PeftModel::add_adapter(const std::string& name, LoraConfig config) {
  check_new_name(name);
  const Selection selection = select(std::move(config), options_.strict);
  AdapterDraft draft(selection, name);
  draft.take_from_base(adapter_dtype());
  draft.initialize(options_.seed, adapter_dtype());
  std::vector<QuantizedWeight> quantized;
  if (selection.config.init_lora_weights == LoraInit::loftq)
    quantized = start_with_loftq(base_, selection, draft.tensors(), options_.original_weight,
                                 options_.on_loftq);
  set_trained(draft.tensors(), false);
  Entry entry{.name = name, .config = selection.config, .modules = {}, .tensors = {}};
  if (!base_.info().name_or_path.empty())
    entry.config.base_model_name_or_path = base_.info().name_or_path;
  put_on(selection, draft, std::move(entry));
  for (QuantizedWeight& weight : quantized)
    weight.weight->load(std::move(weight.value));
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
  warn_of_dense_weights(selection, options_.observer);
  AdapterDraft draft(selection, name);
  set_file_values(draft.tensors(),
                  read_tensors(folder, draft.tensors(), base_, selection.config, adapter_dtype()));
  draft.take_from_base(adapter_dtype());
  set_trained(draft.tensors(), is_trainable);
  put_on(selection, draft,
         {.name = name,
          .config = selection.config,
          .modules = {},
          .tensors = {},
          .trained = is_trainable});
}

void PeftModel::load_weights(const std::filesystem::path& folder, const std::string& name) {
  check_not_merged("load_weights", name);
  const std::vector<AdapterTensor>& tensors = entry(name).tensors;
  set_file_values(tensors,
                  read_tensors(folder, tensors, base_, entry(name).config, adapter_dtype()));
}

void PeftModel::set_adapter(std::vector<std::string> names, bool inference_mode) {
  for (const std::string& name : names) {
    entry(name);
    GRAFT_CHECK(std::ranges::count(names, name) == 1, ConfigError, "set_adapter: \"", name,
                "\" is given twice");
  }
  check_copies("set_adapter", names);
  if (!merged_.empty()) {
    warn(concat("set_adapter: ", Targets(merged_), " is unmerged; merge again what is to be"));
    unmerge_adapter();
  }
  // Those that lose their place keep requiring gradients, or a backward that is still to come would
  // find its leaves gone; trainable_parameters() leaves them out.
  for (Entry& entry : adapters_)
    entry.trained = false;
  set_requires_grad(names, !inference_mode);
  active_ = std::move(names);
}

void PeftModel::set_requires_grad(const std::vector<std::string>& names, bool required) {
  for (const std::string& name : names)
    entry(name);
  for (const std::string& name : names) {
    entry(name).trained = required;
    set_trained(entry(name).tensors, required);
  }
}

void PeftModel::delete_adapter(const std::string& name) {
  entry(name);
  check_not_merged("delete_adapter", name);
  remove_adapter(base_, name);
  std::erase_if(adapters_, [&](const Entry& entry) { return entry.name == name; });
  if (std::erase(active_, name) == 0 || !active_.empty() || adapters_.empty())
    return;
  active_ = {std::ranges::min_element(adapters_, {}, &Entry::name)->name};
  warn(concat("delete_adapter: \"", name, "\" was active; \"", active_[0], "\" is now"));
}

void PeftModel::apply_scale(const std::string& name, double factor) {
  for (const Site& site : sites_of(base_)) {
    AdaptedLayer* layer = adapted_layer(*site.module);
    if (AdapterBase* adapter = layer == nullptr ? nullptr : layer->find(name))
      adapter->set_scale(factor);
  }
  entry(name).scale = factor;
}

void PeftModel::set_scale(const std::string& name, double factor) {
  entry(name);
  check_not_merged("set_scale", name);
  GRAFT_CHECK(std::isfinite(factor), ConfigError, "set_scale: the factor is ", factor,
              ", a finite one expected");
  apply_scale(name, factor);
}

PeftModel::RescaledAdapters::RescaledAdapters(PeftModel& model, double factor) : model_(model) {
  for (const std::string& name : model.active_)
    model.check_not_merged("rescale_adapter_scale", name);
  GRAFT_CHECK(std::isfinite(factor), ConfigError, "rescale_adapter_scale: the factor is ", factor,
              ", a finite one expected");
  for (const std::string& name : model.active_) {
    before_.emplace_back(name, model.scale(name));
    model.apply_scale(name, factor * model.scale(name));
  }
}

PeftModel::RescaledAdapters::~RescaledAdapters() {
  for (const auto& [name, factor] : before_) {
    if (std::ranges::find(model_.adapters_, name, &Entry::name) != model_.adapters_.end())
      model_.apply_scale(name, factor);
  }
}

const PeftModel::Entry& PeftModel::entry(const std::string& name) const {
  const auto found = std::ranges::find(adapters_, name, &Entry::name);
  if (found != adapters_.end())
    return *found;
  const std::vector<std::string> names = available_adapters();
  throw ConfigError(concat("adapter \"", name, "\" does not exist; there are: ", Targets(names),
                           did_you_mean(name, names)));
}

PeftModel::Entry& PeftModel::entry(const std::string& name) {
  return const_cast<Entry&>(std::as_const(*this).entry(name));
}

void PeftModel::warn(const std::string& message) const {
  if (options_.observer)
    options_.observer(message);
}

std::vector<std::string> PeftModel::in_order(const std::vector<std::string>& names) const {
  std::vector<std::string> found;
  for (const Entry& entry : adapters_) {
    if (std::ranges::find(names, entry.name) != names.end())
      found.push_back(entry.name);
  }
  return found;
}

bool PeftModel::is_merged(const std::string& name) const {
  return std::ranges::find(merged_, name) != merged_.end();
}

void PeftModel::check_not_merged(const char* operation, const std::string& name) const {
  GRAFT_CHECK(!is_merged(name), ConfigError, operation, ": \"", name,
              "\" is merged; call unmerge_adapter first");
}

std::vector<std::string> PeftModel::default_selection() const {
  if (disabled_ > 0)
    return {};
  std::vector<std::string> names = active_;
  std::ranges::copy_if(merged_, std::back_inserter(names), [&](const std::string& name) {
    return std::ranges::find(active_, name) == active_.end();
  });
  return names;
}

void PeftModel::check_copies(const char* operation, const std::vector<std::string>& names) const {
  std::map<nn::Member*, nn::ChosenOverrides> found;
  for (const std::string& name : names) {
    for (nn::Member* member : entry(name).copied) {
      const nn::Override* copy = member->overrides()->find(name);
      for (const nn::Override* other : found[member])
        GRAFT_CHECK(!copy->meets(*other), ConfigError, operation, ": \"", other->adapter,
                    "\" and \"", name, "\" both bring a copy of the same parameter of the model (",
                    member->name(), "); one of them can be active at a time");
      found[member].push_back(copy);
    }
  }
}

void PeftModel::check_new_name(const std::string& name) const {
  GRAFT_CHECK(io::is_plain_file_name(name), ConfigError, "add adapter: \"", name,
              "\" is no name for an adapter; it has to be fit for a folder, without slashes");
  GRAFT_CHECK(name.find('.') == std::string::npos && name != nn::base_row, ConfigError,
              "add adapter: \"", name,
              "\" is no name for an adapter: dots separate the parts of paths, and ", nn::base_row,
              " stands for the base model; choose another name");
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
