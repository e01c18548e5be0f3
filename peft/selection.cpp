#include "graft/peft/selection.h"

#include <algorithm>
#include <set>
#include <utility>

#include "graft/peft/tying.h"
#include "graft/tensor/error.h"

namespace graft::peft {
namespace {

/// One run of select_layers.
class Selector {
 public:
  Selector(nn::CausalLM& model, LoraConfig config, const SelectionRules& rules)
      : model_(model),
        rules_(rules),
        config_(std::move(config)),
        sites_(sites_of(model)),
        tie_(tie_of(model, sites_)) {}

  Selection run() {
    validate(config_);
    tied_ = apply_tying(config_, tie_, rules_.matcher, rules_.observer);
    make_out_targets();
    check_exclude();
    select();
    check_layers();
    if (selected_.empty())
      throw ConfigError(nothing_selected());
    check_keys("rank_pattern", config_.rank_pattern);
    check_keys("alpha_pattern", config_.alpha_pattern);
    check_layout();
    check_embeddings();
    check_invoked();
    std::vector<SelectedCopy> copies = select_copies(
        config_, sites_, selected_, tie_, tied_,
        {.matcher = rules_.matcher, .observer = rules_.observer, .strict = rules_.strict});
    return {.config = config_, .layers = layers(), .copies = std::move(copies)};
  }

 private:
  void warn(const std::string& message) const {
    if (rules_.observer)
      rules_.observer("lora config: " + message);
  }
  /// For an entry that matches nothing.
  void complain(const std::string& message) const {
    GRAFT_CHECK(!rules_.strict, ConfigError, "lora config: ", message);
    warn(message);
  }

  /// Replaces what stands for names by names, and checks those of the user.
  void make_out_targets() {
    switch (config_.target_modules.kind()) {
      case Targets::Kind::unset:
        config_.target_modules = default_targets(model_.info().model_type);
        GRAFT_CHECK(config_.target_modules.is_set(), ConfigError,
                    "lora config: target_modules is not given, and none are known for a model of "
                    "type \"",
                    model_.info().model_type,
                    "\"; name some (linear layers: ", linear_names(sites_), ") or all-linear");
        break;
      case Targets::Kind::all_linear:
        config_.target_modules = Targets(all_linear());
        break;
      case Targets::Kind::regex:
        break;
      case Targets::Kind::list:
        GRAFT_CHECK(!config_.target_modules.names().empty(), ConfigError,
                    "lora config: target_modules is empty; linear layers are ",
                    linear_names(sites_));
        check_names("target_modules", config_.target_modules);
        break;
    }
    minimise_targets();
  }

  std::vector<std::string> all_linear() const {
    std::vector<std::string> names;
    for (const Site& site : sites_) {
      if (site.linear != nullptr && site.module != &model_.head())
        names.push_back(site.path);
    }
    GRAFT_CHECK(!names.empty(), ConfigError,
                "lora config: target_modules is all-linear, but the model has no linear layers");
    return names;
  }

  void minimise_targets() {
    const std::vector<std::string>& names = config_.target_modules.names();
    if (names.size() < minimised_from)
      return;
    std::vector<std::string> others;
    for (const Site& site : sites_) {
      if (!means(config_.target_modules, site.path, rules_.matcher))
        others.push_back(site.path);
    }
    std::vector<std::string> fewer = minimal_targets(names, others);
    if (fewer.size() < names.size())
      config_.target_modules = Targets(std::move(fewer));
  }

  /// Complains of names in a list that no module has.
  void check_names(std::string_view field, const Targets& targets) const {
    for (const std::string& name : targets.names()) {
      const bool found = std::ranges::any_of(
          sites_, [&](const Site& site) { return is_or_ends_in(site.path, name); });
      if (!found)
        complain(concat(field, ": \"", name, "\" matches no module of the model",
                        did_you_mean(name, suffixes_of(sites_)), "; its linear layers are ",
                        linear_names(sites_)));
    }
  }

  void check_exclude() const {
    check_names("exclude_modules", config_.exclude_modules);
    if (config_.exclude_modules.pattern().empty())
      return;
    const bool found = std::ranges::any_of(
        sites_, [&](const Site& site) { return is_excluded(config_, site.path, rules_.matcher); });
    if (!found)
      complain(concat("exclude_modules: the regular expression \"",
                      config_.exclude_modules.pattern(),
                      "\" matches no module of the model; it has to match a whole path, such as ",
                      sites_.empty() ? "" : sites_.back().path));
  }

  void select() {
    for (const Site& site : sites_) {
      if (means(config_.target_modules, site.path, rules_.matcher))
        meant_.push_back(&site);
      if (is_tied_head(site) || !is_targeted(config_, site.path, rules_.matcher))
        continue;
      GRAFT_CHECK(site.linear != nullptr || site.embedding != nullptr, ConfigError,
                  "lora config: target_modules means ", site.path,
                  ", and graft adapts linear layers and embeddings only: ", linear_names(sites_));
      selected_.push_back(&site);
    }
    if (tied_ != Tied::targets)
      return;
    GRAFT_CHECK(!config_.use_dora, ConfigError,
                "lora config: use_dora does not go with ensure_weight_tying on ",
                tie_->embedding.path, " and ", tie_->head.path,
                ": the two ends have lengths of their own; drop one of the settings");
    const bool has_embedding = std::ranges::any_of(
        selected_, [&](const Site* site) { return site->path == tie_->embedding.path; });
    GRAFT_CHECK(has_embedding, ConfigError, "lora config: ensure_weight_tying needs an adapter on ",
                tie_->embedding.path, ", and other settings leave it out");
    for (const Site& site : sites_) {
      if (is_tied_head(site))
        selected_.push_back(&site);
    }
  }

  bool is_tied_head(const Site& site) const {
    return tied_ == Tied::targets && site.path == tie_->head.path;
  }

  /// Makes fan_in_fan_out say how the files of the model store the adapted layers, as PEFT does: of
  /// several kinds the last one counts.
  void check_layout() {
    for (const Site* site : selected_) {
      const nn::Linear* linear = linear_of(*site);
      if (linear == nullptr)
        continue;
      const bool in_out = linear->file_layout() == nn::FileLayout::in_out;
      if (in_out != config_.fan_in_fan_out)
        warn(concat("fan_in_fan_out is ", config_.fan_in_fan_out ? "true" : "false",
                    ", but the files of the model store ", site->path,
                    in_out ? " (in, out); taken as true" : " (out, in); taken as false"));
      config_.fan_in_fan_out = in_out;
    }
  }

  void check_embeddings() const {
    for (const Site* site : selected_)
      GRAFT_CHECK(site->embedding == nullptr || !config_.lora_bias, ConfigError,
                  "lora config: lora_bias is set and target_modules means ", site->path,
                  ", an embedding, whose adapters have no bias");
  }

  /// aLoRA is for layers between the embedding and the head.
  void check_invoked() const {
    if (!config_.alora_invocation_tokens)
      return;
    for (const Site* site : selected_)
      GRAFT_CHECK(site->embedding == nullptr && site->module != &model_.head(), ConfigError,
                  "lora config: alora_invocation_tokens is set and target_modules means ",
                  site->path,
                  "; an adapter that is invoked by tokens can be on the linear layers between the "
                  "embedding and the head only");
    const int64_t last = model_.info().vocab_size - 1;
    for (const int64_t id : *config_.alora_invocation_tokens) {
      if (id > last)
        complain(concat("alora_invocation_tokens: the model has no token ", id,
                        ", so that nothing invokes the adapter; its tokens are 0 to ", last));
    }
  }

  /// Complains of layer indices and patterns for which there is no layer.
  void check_layers() const {
    if (config_.layers_to_transform.empty())
      return;
    std::set<int64_t> found;
    for (const Site* site : meant_) {
      const auto index = layer_index(site->path, config_.layers_pattern.values(), rules_.matcher);
      if (index)
        found.insert(*index);
    }
    for (const std::string& pattern : config_.layers_pattern.values()) {
      const bool used = std::ranges::any_of(meant_, [&](const Site* site) {
        return layer_index(site->path, {pattern}, rules_.matcher).has_value();
      });
      if (!used)
        complain(concat("layers_pattern: no number follows \"", pattern,
                        "\" in the path of a targeted module",
                        meant_.empty() ? "" : ", such as " + meant_.front()->path));
    }
    for (const int64_t index : config_.layers_to_transform.values()) {
      if (!found.contains(index))
        complain(concat("layers_to_transform: no targeted module is in layer ", index,
                        found.empty() ? "; none is in a numbered layer"
                                      : concat("; the model's are in layers ", *found.begin(),
                                               " to ", *found.rbegin())));
    }
  }

  template <class T>
  void check_keys(std::string_view field, const Pattern<T>& pattern) const {
    for (const auto& [key, value] : pattern) {
      const std::string& wanted = key;
      const bool found = std::ranges::any_of(selected_, [&](const Site* site) {
        return key_matches(wanted, site->path, rules_.matcher);
      });
      if (found)
        continue;
      std::vector<Site> targeted;
      for (const Site* site : selected_)
        targeted.push_back(*site);
      const std::string bare = wanted.starts_with('^') ? wanted.substr(1) : wanted;
      complain(concat(field, ": \"", wanted, "\" matches no targeted module",
                      did_you_mean(bare, suffixes_of(targeted)), "; targeted are ",
                      linear_names(targeted)));
    }
  }

  std::string nothing_selected() const {
    if (meant_.empty())
      return concat("lora config: target_modules (", config_.target_modules,
                    ") matches no module of the model; its linear layers are ",
                    linear_names(sites_),
                    config_.target_modules.kind() == Targets::Kind::regex
                        ? ". A regular expression has to match the whole path, such as " +
                              (sites_.empty() ? "" : sites_.back().path)
                        : "");
    return concat(
        "lora config: exclude_modules, modules_to_save or layers_to_transform leave none of the ",
        meant_.size(), " modules that target_modules means, such as ", meant_.front()->path);
  }

  std::vector<SelectedLayer> layers() const {
    std::vector<SelectedLayer> layers;
    for (const Site* site : selected_) {
      const int64_t r = pattern_value(config_.rank_pattern, site->path, config_.r, rules_.matcher);
      const double alpha =
          pattern_value(config_.alpha_pattern, site->path, config_.lora_alpha, rules_.matcher);
      layers.push_back({.site = *site,
                        .r = r,
                        .scaling = scaling(config_, r, alpha),
                        .is_tied = is_tied_head(*site)});
    }
    return layers;
  }

  nn::CausalLM& model_;
  const SelectionRules& rules_;
  LoraConfig config_;
  std::vector<Site> sites_;
  std::optional<Tie> tie_;
  Tied tied_ = Tied::nothing;
  std::vector<const Site*> meant_;     // by the targets' names alone
  std::vector<const Site*> selected_;  // to be adapted
};

}  // namespace

Selection select_layers(nn::CausalLM& model, LoraConfig config, const SelectionRules& rules) {
  return Selector(model, std::move(config), rules).run();
}

}  // namespace graft::peft
