// graft convert: adapters to and from llama.cpp's form.

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "graft/cli/adapter_folder.h"
#include "graft/cli/convert.h"
#include "graft/cli/model_flags.h"
#include "graft/cli/terminal.h"
#include "graft/io/json.h"
#include "graft/models/gguf_lora.h"
#include "graft/models/load_empty.h"
#include "graft/peft/adapter_file.h"
#include "graft/peft/adapter_layers.h"
#include "graft/peft/sites.h"
#include "graft/tensor/error.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"
#include "graft/text/regex.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

/// The value that most of several have; of those that are as frequent, the largest.
template <class T>
T most_frequent(const std::vector<T>& values) {
  std::map<T, int64_t> counts;
  for (const T& value : values)
    ++counts[value];
  const auto most = std::ranges::max_element(
      counts, [](const auto& a, const auto& b) { return a.second <= b.second; });
  return most->first;
}

/// `x` as --dtype says. Throws NonFiniteError where the numbers are too large for that.
Tensor in_dtype(const Tensor& x, const std::string& dtype, const std::string& module) {
  if (dtype == "keep")
    return x.dtype() == DType::f64 ? x.to(DType::f32) : x;
  const Tensor result = x.to(dtype == "f16" ? DType::f16 : dtype_named(dtype));
  GRAFT_CHECK(ops::all_finite(result), NonFiniteError, "convert: ", module,
              " has numbers that are not finite, or too large for ", dtype);
  return result;
}

/// The model that an adapter is for, without numbers.
std::unique_ptr<nn::CausalLM> model_of(const ConvertFlags& values, const std::string& named) {
  if (!values.model.empty())
    return models::load_without_numbers(values.model);
  GRAFT_CHECK(!named.empty() && fs::exists(named), ConfigError,
              "convert: --model is missing: give the model that the adapter is for; its "
              "configuration says how the adapter is stored, its numbers are not read");
  return models::load_without_numbers(named);
}

/// Throws ConfigError where the adapter has what the format cannot say.
void check_sayable(const peft::AdapterFiles& adapter) {
  GRAFT_CHECK(!adapter.config.alora_invocation_tokens, ConfigError, "convert: ", adapter.file,
              ": it is invoked by tokens (alora_invocation_tokens), and graft writes no such "
              "adapter as GGUF");
  const auto refuse = [&](const std::string& what) {
    throw ConfigError(concat("convert: ", adapter.file, ": ", what,
                             ", which a GGUF adapter cannot hold; merge the adapter (graft merge) "
                             "and convert the model"));
  };
  if (!adapter.others.empty())
    refuse("it has " + adapter.others[0]);
  if (peft::takes_from_base(adapter.config))
    refuse(concat("it was made with ", peft::init_name(adapter.config),
                  ", which takes a part of the model's weights away"));
  if (adapter.config.ensure_weight_tying)
    refuse("head and embedding share one pair of matrices (ensure_weight_tying)");
  for (const auto& [path, layer] : adapter.layers)
    if (layer.bias.defined())
      refuse(concat("it has a bias at ", path, " (lora_bias)"));
}

/// An adapter's changes as a GGUF file says them, and what had to be put into the matrices.
struct SaidLora {
  models::GgufLora lora;
  int64_t folded = 0;  ///< modules whose B was multiplied, as one alpha does not serve all
};

SaidLora said(const peft::AdapterFiles& adapter, const std::string& dtype) {
  std::vector<float> alphas;  // of each layer the one that gives its scaling
  for (const auto& [path, layer] : adapter.layers) {
    const int64_t r = layer.a.dim(0);
    const double scale = peft::scaling_of(adapter.config, path, r, text::full_matcher());
    alphas.push_back(static_cast<float>(scale * static_cast<double>(r)));
  }
  const float alpha = most_frequent(alphas);
  GRAFT_CHECK(alpha != 0, ConfigError, "convert: ", adapter.file,
              ": lora_alpha is 0, so that the adapter changes nothing; llama.cpp takes 0 for a "
              "factor of 1");
  SaidLora result{.lora = {.alpha = alpha, .pairs = {}}};
  for (size_t i = 0; const auto& [path, layer] : adapter.layers) {
    const float own = alphas[i++];
    Tensor b = layer.b;
    if (own != alpha) {
      b = ops::scale(b.to(DType::f32).contiguous(), double{own} / alpha);
      ++result.folded;
    }
    result.lora.pairs.push_back({path, in_dtype(layer.a, dtype, path), in_dtype(b, dtype, path)});
  }
  return result;
}

/// The configuration of an adapter with these pairs on the model.
peft::LoraConfig config_for(const models::GgufLora& lora, nn::CausalLM& model) {
  std::vector<int64_t> ranks;
  std::map<std::string, int64_t> rank_of;
  for (const models::LoraPair& pair : lora.pairs) {
    ranks.push_back(pair.a.dim(0));
    rank_of[pair.module] = ranks.back();
  }
  peft::LoraConfig config{.r = most_frequent(ranks)};
  config.lora_alpha = lora.alpha.value_or(static_cast<double>(config.r));
  config.task_type = "CAUSAL_LM";
  config.base_model_name_or_path = model.info().name_or_path;
  config.inference_mode = true;
  std::vector<std::string> targets, others;
  for (const peft::Site& site : peft::sites_of(model)) {
    const auto rank = rank_of.find(site.path);
    (rank != rank_of.end() ? targets : others).push_back(site.path);
    if (rank == rank_of.end())
      continue;
    const nn::Linear* linear = peft::linear_of(site);
    config.fan_in_fan_out |= linear != nullptr && linear->file_layout() == nn::FileLayout::in_out;
    if (rank->second == config.r)
      continue;
    config.rank_pattern.emplace_back(site.path, rank->second);
    if (!lora.alpha)
      config.alpha_pattern.emplace_back(site.path, static_cast<double>(rank->second));
  }
  config.target_modules = peft::Targets(peft::minimal_targets(targets, others));
  return config;
}

std::vector<io::NamedTensor> tensors_for(const models::GgufLora& lora, nn::CausalLM& model,
                                         const std::string& dtype) {
  std::map<std::string, bool> is_embedding;
  for (const peft::Site& site : peft::sites_of(model))
    is_embedding[site.path] = site.embedding != nullptr;
  std::vector<io::NamedTensor> tensors;
  for (const models::LoraPair& pair : lora.pairs) {
    const bool embedding = is_embedding.at(pair.module);
    const auto add = [&](const char* linear_name, const char* embedding_name, const Tensor& x) {
      tensors.push_back({peft::adapter_key(pair.module, embedding ? embedding_name : linear_name),
                         in_dtype(x, dtype, pair.module)});
    };
    add("lora_A.weight", "lora_embedding_A", pair.a);
    add("lora_B.weight", "lora_embedding_B", pair.b);
  }
  return tensors;
}

void print(const ConvertFlags& values, const models::GgufLora& lora, int64_t folded) {
  if (values.json) {
    io::Json json = {{"out", values.out}, {"modules", lora.pairs.size()}, {"folded", folded}};
    json["alpha"] = lora.alpha ? io::Json(*lora.alpha) : io::Json(nullptr);
    std::cout << io::to_text(json) << "\n";
    return;
  }
  std::cout << "wrote " << values.out << ": " << counted(std::ssize(lora.pairs), "module") << ", ";
  if (lora.alpha)
    std::cout << "alpha " << number_text(*lora.alpha) << "\n";
  else
    std::cout << "no alpha: the factor is 1\n";
  if (folded > 0)
    std::cout << "one alpha serves all modules of a GGUF adapter: the B of "
              << counted(folded, "module") << " was multiplied by what differs\n";
}

}  // namespace

std::vector<fs::path> inputs_of(const ConvertFlags& values) {
  std::vector<fs::path> inputs = {values.from};
  if (!values.model.empty())
    inputs.push_back(values.model);
  return inputs;
}

void check_gguf_out(const ConvertFlags& values) {
  GRAFT_CHECK(fs::path(values.out).extension() == ".gguf", ConfigError, "convert: --out ",
              values.out, " is not called .gguf, by which such files are known");
  check_out_file(values.out, inputs_of(values));
  GRAFT_CHECK(values.overwrite || !fs::exists(values.out), ConfigError, "convert: --out ",
              values.out, " is there already; give --overwrite to replace it");
}

void convert_adapter_to_gguf(const ConvertFlags& values) {
  check_gguf_out(values);
  const peft::AdapterFiles adapter = peft::read_adapter_files(values.from);
  check_sayable(adapter);
  const auto model = model_of(values, adapter.config.base_model_name_or_path.value_or(""));
  const SaidLora result = said(adapter, values.dtype);
  io::write_file_atomically(
      values.out, [&](io::FileWriter& out) { models::write_gguf_lora(out, result.lora, *model); });
  print(values, result.lora, result.folded);
}

void convert_adapter_to_peft(const ConvertFlags& values) {
  const auto model = model_of(values, "");
  const OutPolicy policy = values.overwrite ? OutPolicy::replace_files : OutPolicy::must_be_empty;
  const models::GgufLora lora = models::read_gguf_lora(values.from, *model);
  write_adapter_folder({values.out, policy, inputs_of(values)}, [&](const fs::path& to) {
    peft::write_adapter_files(to, config_for(lora, *model),
                              tensors_for(lora, *model, values.dtype));
  });
  print(values, lora, 0);
}

}  // namespace graft::cli
