#include "graft/peft/extract.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "graft/peft/adapter_file.h"
#include "graft/peft/adapter_layers.h"
#include "graft/peft/draft.h"
#include "graft/peft/factors.h"
#include "graft/peft/parameter_pairs.h"
#include "graft/peft/selection.h"
#include "graft/peft/tying.h"
#include "graft/tensor/error.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"

namespace graft::peft {
namespace {

double norm_of(const Tensor& x) {
  return std::sqrt(ops::sum_of_squares(x));
}

std::string module_of(const std::string& parameter) {
  return parameter.substr(0, parameter.rfind('.'));
}

bool is_weight(const std::string& parameter) {
  return parameter.ends_with(".weight");
}

void check_options(const ExtractOptions& options) {
  GRAFT_CHECK(options.rank.has_value() != options.energy.has_value(), ConfigError,
              "extract: either a rank or a share of the energy expected, ",
              options.rank ? "both are given" : "none is given");
  GRAFT_CHECK(options.rank.value_or(1) >= 1 && options.max_rank.value_or(1) >= 1, ConfigError,
              "extract: the rank is ", options.rank.value_or(options.max_rank.value_or(1)),
              ", at least 1 expected");
  const double share = options.energy.value_or(1);
  GRAFT_CHECK(share > 0 && share <= 1, ConfigError, "extract: the energy to keep is ", share,
              ", above 0 and up to 1 expected");
  GRAFT_CHECK(options.energy || !options.max_rank, ConfigError,
              "extract: max_rank bounds the ranks that a share of the energy needs, but a rank is "
              "given");
}

/// What training changed of a parameter.
struct Change {
  Tensor change;           ///< tuned - base, f32
  double weight_norm = 0;  ///< of the base's numbers
};

Change change_of(const ParameterPair& pair) {
  const Tensor base = pair.base->value().to(DType::f32).contiguous();
  const Tensor tuned = pair.tuned->value().to(DType::f32).contiguous();
  const auto check = [&](const Tensor& value, const char* which) {
    GRAFT_CHECK(ops::all_finite(value), NonFiniteError, "extract: ", pair.path, " of the ", which,
                " has a number that is NaN or infinite");
  };
  check(base, "base");
  check(tuned, "tuned model");
  return {.change = ops::add(tuned, base, -1), .weight_norm = norm_of(base)};
}

/// The factors of a change as the adapter of its layer has them: of an embedding turned.
Approximation nearest(const Tensor& change, bool is_embedding, const ExtractOptions& options) {
  return compress_to_share(
      is_embedding ? change.transpose(0, 1).contiguous() : change, options.energy.value_or(1),
      options.rank.value_or(options.max_rank.value_or(change.numel())), Svd::fast);
}

/// One run of extract_lora.
class Extractor {
 public:
  Extractor(nn::CausalLM& base, nn::CausalLM& tuned, const ExtractOptions& options)
      : base_(base),
        options_(options),
        pairs_(parameter_pairs(base, tuned)),
        sites_(sites_of(base)),
        tie_(tie_of(base, sites_)) {
    if (tie_ && !tie_of(tuned, sites_of(tuned)))
      tie_.reset();  // two matrices to adapt
  }

  Extraction run() {
    const std::vector<SelectedLayer> meant = meant_layers();
    std::map<std::string, Site> targets;
    for (const SelectedLayer& layer : meant)
      targets.emplace(layer.site.path, layer.site);
    if (tie_ && (targets.contains(tie_->head.path) || targets.contains(tie_->embedding.path)))
      targets.emplace(tie_->embedding.path, tie_->embedding);
    check_rank(targets);
    for (const ParameterPair& pair : pairs_) {
      const auto target = targets.find(module_of(pair.path));
      compare(pair, is_weight(pair.path) && target != targets.end() ? &target->second : nullptr);
    }
    check_found();
    make_adapter();
    return std::move(result_);
  }

 private:
  SelectionRules rules(const Observer& observer) const {
    return {.matcher = options_.matcher, .observer = observer, .strict = true};
  }

  /// What the targets mean. Warnings about the layers are for the adapter that becomes of it.
  std::vector<SelectedLayer> meant_layers() {
    const LoraConfig config{.r = 1,
                            .target_modules = options_.target_modules,
                            .exclude_modules = options_.exclude_modules};
    const Observer nobody;
    return select_layers(base_, config, rules(nobody)).layers;
  }

  void check_rank(const std::map<std::string, Site>& targets) const {
    int64_t highest = 0;
    for (const auto& [path, site] : targets) {
      const Shape shape = weight_of(site)->shape();
      highest = std::max(highest, std::min(shape[0], shape[1]));
    }
    GRAFT_CHECK(options_.rank.value_or(1) <= highest, ConfigError, "extract: the rank is ",
                options_.rank.value_or(1), ", but no targeted layer can have more than ", highest,
                ", the smaller size of its matrix");
  }

  /// `target` is the layer whose weight this is, where it is to be adapted.
  void compare(const ParameterPair& pair, const Site* target) {
    const auto [change, weight_norm] = change_of(pair);
    const double size = norm_of(change);
    if (size == 0)
      return;
    if (target == nullptr) {
      result_.others.push_back({.path = pair.path, .weight_norm = weight_norm, .norm = size});
      return;
    }
    const bool is_embedding = target->embedding != nullptr;
    const Approximation found = nearest(change, is_embedding, options_);
    const char* const a = is_embedding ? "lora_embedding_A" : "lora_A.weight";
    const char* const b = is_embedding ? "lora_embedding_B" : "lora_B.weight";
    factors_[adapter_key(target->path, a)] = found.factors.a;
    factors_[adapter_key(target->path, b)] = found.factors.b;
    result_.layers.push_back({.path = target->path,
                              .weight_norm = weight_norm,
                              .norm = size,
                              .rank = found.factors.a.dim(0),
                              .energy = found.energy,
                              .discarded = found.discarded});
    if (options_.on_layer)
      options_.on_layer(result_.layers.back());
  }

  void check_found() const {
    if (!result_.layers.empty())
      return;
    GRAFT_CHECK(
        !result_.others.empty(), ConfigError,
        "extract: the models do not differ in a single number; there is nothing to extract");
    throw ConfigError(concat(
        "extract: none of the targeted layers (", options_.target_modules,
        ") differs; what does: ", result_.others[0].path,
        result_.others.size() > 1 ? concat(" and ", result_.others.size() - 1, " more") : ""));
  }

  /// The rank that most layers have; of those that are as frequent the highest.
  int64_t most_frequent_rank() const {
    std::map<int64_t, int64_t> counts;
    for (const ExtractedLayer& layer : result_.layers)
      ++counts[layer.rank];
    return std::ranges::max_element(
               counts, {}, [](const auto& each) { return std::pair(each.second, each.first); })
        ->first;
  }

  LoraConfig config() const {
    LoraConfig config{.r = most_frequent_rank()};
    config.lora_alpha = static_cast<double>(config.r);
    config.task_type = "CAUSAL_LM";
    config.base_model_name_or_path = base_.info().name_or_path;
    config.inference_mode = true;
    std::vector<std::string> targets;
    for (const ExtractedLayer& layer : result_.layers) {
      targets.push_back(layer.path);
      if (layer.rank != config.r) {
        config.rank_pattern.emplace_back(layer.path, layer.rank);
        config.alpha_pattern.emplace_back(layer.path, static_cast<double>(layer.rank));
      }
    }
    add_end_of_tie(targets, config);
    std::vector<std::string> others;
    for (const Site& site : sites_) {
      if (std::ranges::find(targets, site.path) == targets.end()) {
        others.push_back(site.path);
        continue;
      }
      if (const nn::Linear* linear = linear_of(site))
        config.fan_in_fan_out = linear->file_layout() == nn::FileLayout::in_out;
    }
    config.target_modules = Targets(minimal_targets(targets, others));
    if (options_.save_rest)
      save_rest(config, targets);
    return config;
  }

  /// Where the list has the embedding of a tied model, the head makes the adapter one for both.
  void add_end_of_tie(std::vector<std::string>& modules, LoraConfig& config) const {
    if (!tie_ || std::ranges::find(modules, tie_->embedding.path) == modules.end())
      return;
    modules.push_back(tie_->head.path);  // by whose name PEFT knows it
    config.ensure_weight_tying = true;
  }

  void save_rest(LoraConfig& config, const std::vector<std::string>& adapted) const {
    for (const OtherChange& other : result_.others) {
      const std::string module = module_of(other.path);
      if (std::ranges::find(adapted, module) != adapted.end())
        config.bias = "lora_only";
      else if (std::ranges::find(config.modules_to_save, module) == config.modules_to_save.end())
        config.modules_to_save.push_back(module);
    }
    add_end_of_tie(config.modules_to_save, config);
  }

  void make_adapter() {
    const Selection selection = select_layers(base_, config(), rules(options_.observer));
    AdapterDraft draft(selection, "default");
    std::map<const nn::Member*, const ParameterPair*> pair_of;
    for (const ParameterPair& pair : pairs_)
      pair_of[pair.base] = &pair;
    std::vector<Tensor> values;
    for (const AdapterTensor& tensor : draft.tensors()) {
      Tensor& value = values.emplace_back();
      if (tensor.is_repeated)
        continue;
      value = factors_.contains(tensor.key) ? factors_.at(tensor.key)
                                            : tuned_value(*pair_of.at(tensor.copied), tensor);
    }
    set_file_values(draft.tensors(), values);
    for (const AdapterTensor& tensor : draft.tensors())
      result_.tensors.push_back({tensor.key, file_value(tensor)});
    for (OtherChange& other : result_.others)
      other.is_saved = options_.save_rest;
    result_.config = selection.config;
  }

  static Tensor tuned_value(const ParameterPair& pair, const AdapterTensor& tensor) {
    const Tensor value = pair.tuned->value().to(DType::f32);
    return tensor.is_transposed ? value.transpose(0, 1).contiguous() : value.clone();
  }

  nn::CausalLM& base_;
  const ExtractOptions& options_;
  const std::vector<ParameterPair> pairs_;
  const std::vector<Site> sites_;
  std::optional<Tie> tie_;                 // of both models
  std::map<std::string, Tensor> factors_;  // by their keys
  Extraction result_;
};

}  // namespace

double Extraction::norm() const {
  double energy = 0;
  for (const ExtractedLayer& layer : layers)
    energy += layer.energy;
  for (const OtherChange& other : others)
    energy += other.norm * other.norm;
  return std::sqrt(energy);
}

double Extraction::kept() const {
  double lost = 0;
  for (const ExtractedLayer& layer : layers)
    lost += layer.discarded;
  for (const OtherChange& other : others)
    lost += other.is_saved ? 0 : other.norm * other.norm;
  return 1 - lost / (norm() * norm());
}

void Extraction::save(const std::filesystem::path& folder) const {
  write_adapter_files(folder, config, tensors);
}

Extraction extract_lora(nn::CausalLM& base, nn::CausalLM& tuned, const ExtractOptions& options) {
  check_options(options);
  return Extractor(base, tuned, options).run();
}

}  // namespace graft::peft
