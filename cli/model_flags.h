// The flags that every verb with a model shares, and the model they name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graft/cli/flags.h"
#include "graft/models/load.h"
#include "graft/nn/causal_lm.h"
#include "graft/peft/peft_model.h"

namespace graft::cli {

struct ModelFlags {
  std::string model;
  std::vector<std::string> adapters;
  std::string dtype = "f32";
  std::string device = "cpu";
  std::string quant = "none";
  bool no_double_quant = false;
  int64_t blocksize = 64;
  std::optional<int64_t> threads;
  std::string isa = "auto";
  std::vector<std::string> plugins;
};

/// Declares --model, --adapter, --dtype, --quant and what belongs to it, --device, --threads, --isa
/// and --plugin.
void add_model_flags(Flags& flags, ModelFlags& values,
                     const std::string& adapter_help =
                         "a LoRA adapter in PEFT's format; may be repeated, and they add up");

/// All of these but --model and --adapter, in the present group. Returns those that mean nothing
/// without a model.
std::vector<std::string> add_holding_flags(Flags& flags, ModelFlags& values);

/// --threads, which other verbs have too.
void add_threads_flag(Flags& flags, std::optional<int64_t>& value);
/// --isa, which other verbs have too.
void add_isa_flag(Flags& flags, std::string& value);
/// Keeps to the instruction set, unless it is "auto". Throws ConfigError where there is no such.
void apply_isa(const std::string& value);

/// --quant and what belongs to it, for a verb that quantises by default or not.
void add_quant_flags(Flags& flags, ModelFlags& values, std::vector<std::string> types);

/// Sets the number of threads and the instruction set and opens the plug-ins, for a verb that has
/// those flags only. Call before anything else is done.
void apply_machine_flags(const ModelFlags& values);
/// Throws ConfigError where --model is missing or what belongs to --quant contradicts it; sets the
/// number of threads and the instruction set and opens the plug-ins. Call before anything else is
/// done.
void apply_model_flags(Flags& flags, const ModelFlags& values);

/// An adapter as a flag names it.
struct AdapterName {
  std::string name = "default";
  std::filesystem::path folder;
  double scale = 1;
};
/// The adapters of --adapter [NAME=]DIR[@SCALE], in order. Where several have no name, each is
/// called after its folder. Throws ConfigError where one is no such text, and where two have the
/// same name.
std::vector<AdapterName> adapters_of(const ModelFlags& values);
/// The one adapter that was given, if any. Throws ConfigError where several were, or a scale.
std::optional<AdapterName> adapter_of(const ModelFlags& values);
/// What a person reads of them: their names, or "adapter" for one that was given none.
std::string adapter_label(const ModelFlags& values);

/// What --quant and its like say.
quant::Config quant_config(const ModelFlags& values);
/// As what a model's weights are held: "f32", or "nf4 with double quantisation, blocks of 64; the
/// rest as f32".
std::string held_text(const nn::ModelInfo& info);

/// "f32" or "bf16".
DType dtype_named(const std::string& name);
/// Shows on a terminal how far loading has come.
std::function<void(const models::LoadProgress&)> loading_progress();
/// For loading a model as its files have it, in that dtype, with that progress.
models::LoadOptions load_options(DType dtype);
/// The base model of --model. Throws as models::load does.
std::unique_ptr<nn::CausalLM> load_base(const ModelFlags& values);

/// What PeftModel is to be given: seed, regular expressions, and warnings to stderr, each once.
peft::PeftOptions peft_options(int64_t seed);

/// A base model, and the adapters on it where some were given, all of them active.
struct LoadedModel {
  std::unique_ptr<nn::CausalLM> base;
  std::unique_ptr<peft::PeftModel> adapted;

  const nn::CausalLM& model() const { return adapted ? *adapted : *base; }
};
/// Puts adapters, at least one, on a model for inference: all are active, each with its scale.
/// Throws as PeftModel::from_pretrained and set_adapter do.
std::unique_ptr<peft::PeftModel> load_adapters(nn::CausalLM& base,
                                               const std::vector<AdapterName>& adapters);
/// Loads --model and, for inference, every --adapter. Throws as models::load and load_adapters do.
LoadedModel load_model(const ModelFlags& values);

}  // namespace graft::cli
