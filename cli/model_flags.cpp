#include "graft/cli/model_flags.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <iostream>
#include <set>

#include "graft/cli/terminal.h"
#include "graft/nn/module.h"
#include "graft/peft/kbit.h"
#include "graft/tensor/error.h"
#include "graft/tensor/isa.h"
#include "graft/tensor/parallel.h"
#include "graft/tensor/plugin.h"
#include "graft/text/regex.h"

namespace graft::cli {
namespace {

/// The number behind the last '@' of a text, which loses both; 1 where there is none.
double take_scale(std::string& text) {
  const size_t at = text.rfind('@');
  if (at == text.npos)
    return 1;
  const std::string number = text.substr(at + 1);
  double scale = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), scale);
  if (error != std::errc() || end != number.data() + number.size() || !std::isfinite(scale))
    return 1;  // a part of the folder's name
  text.resize(at);
  return scale;
}

/// An adapter as it is typed; its name is empty where it is given none. A folder that exists is
/// taken for one, whatever its name looks like.
AdapterName parse_adapter(const std::string& text) {
  AdapterName adapter{.name = "", .folder = text};
  if (std::filesystem::exists(text))
    return adapter;
  std::string rest = text;
  if (const size_t equals = rest.find('='); equals != rest.npos && equals < rest.find('/')) {
    adapter.name = rest.substr(0, equals);
    rest = rest.substr(equals + 1);
    GRAFT_CHECK(!adapter.name.empty() && !rest.empty(), ConfigError, "--adapter is '", shown(text),
                "', expected [NAME=]DIR[@SCALE]");
  }
  if (!std::filesystem::exists(rest))
    adapter.scale = take_scale(rest);
  adapter.folder = rest;
  return adapter;
}

void require_adapter_folder(const std::filesystem::path& folder) {
  GRAFT_CHECK(
      std::filesystem::exists(folder), ConfigError, "--adapter: there is no folder ",
      shown(folder.string()),
      "; expected is one with adapter_config.json and adapter_model.safetensors, as training "
      "writes it (graft downloads nothing)");
  GRAFT_CHECK(std::filesystem::is_directory(folder), ConfigError,
              "--adapter: ", shown(folder.string()),
              " is a file; expected is the folder of an adapter, with adapter_config.json and "
              "adapter_model.safetensors");
}

/// The last part of a path, fit for the name of an adapter.
std::string name_of(const std::filesystem::path& folder) {
  std::string name = std::filesystem::absolute(folder / "").parent_path().filename().string();
  std::ranges::replace(name, '.', '_');
  return name;
}

}  // namespace

void add_model_flags(Flags& flags, ModelFlags& values, const std::string& adapter_help) {
  flags.group("Model");
  flags.add("model", values.model, "DIR|FILE.gguf",
            "the base model: a Hugging Face folder or a GGUF file");
  flags.add("adapter", values.adapters, "[NAME=]DIR[@SCALE]", adapter_help);
  add_holding_flags(flags, values);
}

std::vector<std::string> add_holding_flags(Flags& flags, ModelFlags& values) {
  flags.choice("dtype", values.dtype, {"f32", "bf16"}, "of the model's weights in memory");
  add_quant_flags(flags, values, {"none", "nf4", "fp4"});
  flags.choice("device", values.device, {"cpu"}, "where to compute");
  add_threads_flag(flags, values.threads);
  add_isa_flag(flags, values.isa);
  flags.add("plugin", values.plugins, "FILE.so", "a kernel plug-in to open; may be repeated");
  return {"dtype", "quant", "no-double-quant", "blocksize"};
}

void add_threads_flag(Flags& flags, std::optional<int64_t>& value) {
  flags.add("threads", value, "N", "threads to use; default: all processors", {1, 1024});
}

void add_isa_flag(Flags& flags, std::string& value) {
  flags.choice("isa", value, {"auto", "portable", "avx2", "avx512", "avx512-bf16"},
               "widest instruction set to use, of those the processor has");
}

void apply_isa(const std::string& value) {
  if (value != "auto")
    limit_isa(value);
}

void add_quant_flags(Flags& flags, ModelFlags& values, std::vector<std::string> types) {
  flags.choice("quant", values.quant, std::move(types),
               "hold the linear layers in 4 bits; none: as the files have them");
  flags.add("no-double-quant", values.no_double_quant,
            "with --quant: keep the scales in f32, for 4.5 bits a weight in place of 4.13");
  flags.add("blocksize", values.blocksize, "N",
            "with --quant: weights that share a scale, a power of two", {32, 4096});
}

void apply_machine_flags(const ModelFlags& values) {
  if (values.threads)
    set_thread_count(static_cast<int>(*values.threads));
  apply_isa(values.isa);
  for (const std::string& plugin : values.plugins)
    load_plugin(plugin);
}

void apply_model_flags(Flags& flags, const ModelFlags& values) {
  flags.require("model", "the folder of a model or a GGUF file");
  if (values.quant == "none") {
    for (const char* name : {"no-double-quant", "blocksize"})
      flags.set_aside(name, "quant", "says how --quant holds weights, and --quant is none");
  }
  GRAFT_CHECK(std::has_single_bit(static_cast<uint64_t>(values.blocksize)), ConfigError,
              flags.where("blocksize"), " is ", values.blocksize,
              ", expected a power of two from 32 to 4096");
  apply_machine_flags(values);
  models::require_model(values.model);
}

std::vector<AdapterName> adapters_of(const ModelFlags& values) {
  std::vector<AdapterName> adapters;
  for (const std::string& text : values.adapters) {
    adapters.push_back(parse_adapter(text));
    AdapterName& added = adapters.back();
    require_adapter_folder(added.folder);
    if (added.name.empty())
      added.name = values.adapters.size() == 1 ? AdapterName{}.name : name_of(added.folder);
    const auto same = std::ranges::count(adapters, added.name, &AdapterName::name);
    GRAFT_CHECK(same == 1, ConfigError, "--adapter: two adapters are called '", shown(added.name),
                "'; give them names, such as --adapter one=DIR --adapter two=DIR");
  }
  return adapters;
}

std::optional<AdapterName> adapter_of(const ModelFlags& values) {
  const std::vector<AdapterName> adapters = adapters_of(values);
  if (adapters.empty())
    return std::nullopt;
  GRAFT_CHECK(adapters.size() == 1, ConfigError,
              "--adapter is given several times, and one adapter is trained; give one");
  GRAFT_CHECK(adapters[0].scale == 1, ConfigError, "--adapter is '", shown(values.adapters[0]),
              "', and a scale means nothing for training; leave @… out");
  return adapters[0];
}

std::string adapter_label(const ModelFlags& values) {
  const std::vector<AdapterName> adapters = adapters_of(values);
  if (adapters.size() == 1 && adapters[0].name == AdapterName{}.name)
    return "adapter";
  std::string label;
  for (const AdapterName& adapter : adapters)
    label += (label.empty() ? "" : " + ") + shown(adapter.name);
  return label;
}

quant::Config quant_config(const ModelFlags& values) {
  if (values.quant == "none")
    return {};
  return {.load_in_4bit = true,
          .bnb_4bit_quant_type = quant::parse_quant_type(values.quant),
          .bnb_4bit_use_double_quant = !values.no_double_quant,
          .blocksize = values.blocksize};
}

std::string held_text(const nn::ModelInfo& info) {
  const std::string dtype = concat(info.dtype);
  if (!info.quant.load_in_4bit)
    return dtype;
  return quant::to_string(info.quant.format()) + "; the rest as " + dtype;
}

DType dtype_named(const std::string& name) {
  return name == "bf16" ? DType::bf16 : DType::f32;
}

std::function<void(const models::LoadProgress&)> loading_progress() {
  if (!terminal_of(2).interactive)
    return {};
  return [shown_percent = int64_t{-1}](const models::LoadProgress& progress) mutable {
    const int64_t percent = 20 * progress.done / std::max<int64_t>(progress.total, 1) * 5;
    if (percent == shown_percent)
      return;
    shown_percent = percent;
    const bool is_done = progress.done >= progress.total;
    std::cerr << "\r\x1b[K";
    if (!is_done)
      std::cerr << "loading the model … " << percent << " %";
    std::cerr << std::flush;
  };
}

models::LoadOptions load_options(DType dtype) {
  models::LoadOptions options;
  options.dtype = dtype;
  options.progress = loading_progress();
  return options;
}

std::unique_ptr<nn::CausalLM> load_base(const ModelFlags& values) {
  auto model = models::load(values.model, {.dtype = dtype_named(values.dtype),
                                           .quant = quant_config(values),
                                           .progress = loading_progress()});
  // Not for training alone, so that an adapter is used on the numbers it was trained on.
  if (model->info().quant.load_in_4bit)
    peft::prepare_model_for_kbit_training(*model);
  return model;
}

peft::PeftOptions peft_options(int64_t seed) {
  // Every combination of adapters that is tried would repeat what is said of their settings.
  const auto warn_once = [seen = std::set<std::string>()](const std::string& warning) mutable {
    if (seen.insert(warning).second)
      warn(warning);
  };
  return {
      .seed = static_cast<uint64_t>(seed), .matcher = text::full_matcher(), .observer = warn_once};
}

std::unique_ptr<peft::PeftModel> load_adapters(nn::CausalLM& base,
                                               const std::vector<AdapterName>& adapters) {
  const AdapterName& first = adapters.at(0);
  std::unique_ptr<peft::PeftModel> model(new peft::PeftModel(
      peft::PeftModel::from_pretrained(base, first.folder, first.name, false, peft_options(0))));
  std::vector<std::string> names;
  for (const AdapterName& adapter : adapters) {
    if (!names.empty())
      model->load_adapter(adapter.folder, adapter.name);
    names.push_back(adapter.name);
    model->set_scale(adapter.name, adapter.scale);
  }
  model->set_adapter(names, true);
  return model;
}

LoadedModel load_model(const ModelFlags& values) {
  const std::vector<AdapterName> adapters = adapters_of(values);
  LoadedModel loaded;
  loaded.base = load_base(values);
  if (!adapters.empty())
    loaded.adapted = load_adapters(*loaded.base, adapters);
  nn::pack(*loaded.base);
  return loaded;
}

}  // namespace graft::cli
