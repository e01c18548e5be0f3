#include "graft/cli/model_flags.h"

#include <algorithm>
#include <iostream>

#include "graft/cli/terminal.h"
#include "graft/nn/module.h"
#include "graft/tensor/error.h"
#include "graft/tensor/isa.h"
#include "graft/tensor/parallel.h"
#include "graft/tensor/plugin.h"
#include "graft/text/regex.h"

namespace graft::cli {
namespace {

constexpr int64_t most_threads = 1024;

}  // namespace

void add_model_flags(Flags& flags, ModelFlags& values, const std::string& adapter_help) {
  flags.group("Model");
  flags.add("model", values.model, "DIR|FILE.gguf",
            "the base model: a Hugging Face folder or a GGUF file");
  flags.add("adapter", values.adapters, "[NAME=]DIR", adapter_help);
  flags.choice("dtype", values.dtype, {"f32", "bf16"}, "of the model's weights in memory");
  flags.choice("quant", values.quant, {"none"}, "of the model's weights in memory");
  flags.choice("device", values.device, {"cpu"}, "where to compute");
  flags.add("threads", values.threads, "N", "threads to use; default: all processors",
            {1, most_threads});
  add_isa_flag(flags, values.isa);
  flags.add("plugin", values.plugins, "FILE.so", "a kernel plug-in to open; may be repeated");
}

void add_isa_flag(Flags& flags, std::string& value) {
  flags.choice("isa", value, {"auto", "portable", "avx2", "avx512", "avx512-bf16"},
               "widest instruction set to use, of those the processor has");
}

void apply_isa(const std::string& value) {
  if (value != "auto")
    limit_isa(value);
}

void apply_model_flags(const Flags& flags, const ModelFlags& values) {
  flags.require("model", "the folder of a model or a GGUF file");
  if (values.threads)
    set_thread_count(static_cast<int>(*values.threads));
  apply_isa(values.isa);
  for (const std::string& plugin : values.plugins)
    load_plugin(plugin);
}

std::optional<AdapterName> adapter_of(const ModelFlags& values) {
  if (values.adapters.empty())
    return std::nullopt;
  GRAFT_CHECK(values.adapters.size() == 1, ConfigError,
              "--adapter is given several times; one adapter at a time is supported");
  const std::string& text = values.adapters[0];
  const size_t equals = text.find('=');
  if (equals == text.npos || std::filesystem::exists(text))
    return AdapterName{.folder = text};
  GRAFT_CHECK(equals > 0 && equals + 1 < text.size(), ConfigError, "--adapter is '", shown(text),
              "', expected [NAME=]DIR");
  return AdapterName{.name = text.substr(0, equals), .folder = text.substr(equals + 1)};
}

std::string adapter_label(const ModelFlags& values) {
  const std::optional<AdapterName> adapter = adapter_of(values);
  return adapter && adapter->name != AdapterName{}.name ? shown(adapter->name) : "adapter";
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

std::unique_ptr<nn::CausalLM> load_base(const ModelFlags& values) {
  return models::load(values.model,
                      {.dtype = dtype_named(values.dtype), .progress = loading_progress()});
}

peft::PeftOptions peft_options(int64_t seed) {
  return {.seed = static_cast<uint64_t>(seed),
          .matcher = text::full_matcher(),
          .observer = [](const std::string& warning) { warn(warning); }};
}

LoadedModel load_model(const ModelFlags& values) {
  const std::optional<AdapterName> adapter = adapter_of(values);
  LoadedModel loaded;
  loaded.base = load_base(values);
  if (adapter)
    loaded.adapted.reset(new peft::PeftModel(peft::PeftModel::from_pretrained(
        *loaded.base, adapter->folder, adapter->name, false, peft_options(0))));
  nn::pack(*loaded.base);
  return loaded;
}

}  // namespace graft::cli
