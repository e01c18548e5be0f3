#include "graft/peft/copies.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "graft/tensor/error.h"

namespace graft::peft {
namespace {

bool is_bias(std::string_view path) {
  return path == "bias" || path.ends_with(".bias");
}

/// One run of select_copies.
class CopySelector {
 public:
  CopySelector(const LoraConfig& config, const std::vector<Site>& sites,
               const std::vector<const Site*>& adapted, const std::optional<Tie>& tie, Tied tied,
               const CopyRules& rules)
      : config_(config), sites_(sites), adapted_(adapted), tie_(tie), tied_(tied), rules_(rules) {}

  std::vector<SelectedCopy> run() {
    select_saved_modules();
    select_tokens();
    select_biases();
    return std::move(copies_);
  }

 private:
  void warn(const std::string& message) const {
    if (rules_.observer)
      rules_.observer("lora config: " + message);
  }

  [[noreturn]] void refuse(std::string_view field, const std::string& path) const {
    throw ConfigError(concat("lora config: ", field, " means ", path,
                             ", which is adapted as well; take it out of one of them"));
  }

  /// Sites whose path ends in `name`, as PEFT matches them. Complains where there are none.
  std::vector<const Site*> ending_in(std::string_view field, const std::string& name) const {
    std::vector<const Site*> found;
    for (const Site& site : sites_) {
      if (site.path.ends_with(name))
        found.push_back(&site);
    }
    if (!found.empty())
      return found;
    const std::string message = concat(field, ": \"", name, "\" matches no module of the model",
                                       did_you_mean(name, suffixes_of(sites_)));
    GRAFT_CHECK(!rules_.strict, ConfigError, "lora config: ", message);
    warn(message);
    return found;
  }

  void check_not_adapted(std::string_view field, const Site& module) const {
    for (const Site* site : adapted_) {
      if (site->path == module.path || site->path.starts_with(module.path + "."))
        refuse(field, site->path);
    }
  }

  /// A copy of a parameter, once for each parameter. True where it is new.
  bool add(SelectedCopy copy) {
    if (!copied_.insert(copy.member).second)
      return false;
    copies_.push_back(std::move(copy));
    return true;
  }

  void save_module(const Site& site) {
    check_not_adapted("modules_to_save", site);
    for (const nn::NamedMember& parameter : base_parameters(*site.module))
      add({.kind = CopyKind::saved_module,
           .module = site.path,
           .parameter = parameter.path,
           .member = parameter.member,
           .is_transposed = is_transposed(site.path + "." + parameter.path)});
  }

  /// True of the weights of GPT-2's Conv1D, by the path of the parameter.
  bool is_transposed(const std::string& path) const {
    return std::ranges::any_of(sites_, [&](const Site& site) {
      const nn::Linear* linear = linear_of(site);
      return linear != nullptr && linear->file_layout() == nn::FileLayout::in_out &&
             path == site.path + ".weight";
    });
  }

  void select_saved_modules() {
    for (const std::string& name : config_.modules_to_save) {
      for (const Site* site : ending_in("modules_to_save", name)) {
        if (tied_ != Tied::copies || site->path != tie_->head.path)
          save_module(*site);
      }
    }
    if (tied_ != Tied::copies)
      return;
    check_not_adapted("modules_to_save", tie_->head);
    add({.kind = CopyKind::saved_module,
         .module = tie_->head.path,
         .parameter = "weight",
         .member = weight_of(tie_->head),
         .same_as = number_of(weight_of(tie_->embedding))});
  }

  int64_t number_of(const nn::Member* member) const {
    const auto found = std::ranges::find(copies_, member, &SelectedCopy::member);
    return found == copies_.end() ? -1 : found - copies_.begin();
  }

  /// The tables that trainable_token_indices means, with the ids. The input embedding, where a list
  /// stands for it.
  std::vector<std::pair<const Site*, const std::vector<int64_t>*>> token_tables() const {
    std::vector<std::pair<const Site*, const std::vector<int64_t>*>> tables;
    for (const auto& [name, ids] : config_.trainable_token_indices) {
      if (name.empty()) {
        const Site* embedding = input_embedding(sites_);
        GRAFT_CHECK(embedding != nullptr, ConfigError,
                    "lora config: trainable_token_indices, but the model has no embedding");
        tables.emplace_back(embedding, &ids);
        continue;
      }
      for (const Site* site : ending_in("trainable_token_indices", name))
        tables.emplace_back(site, &ids);
    }
    return tables;
  }

  void copy_tokens(const Site& site, const std::vector<int64_t>& ids, int64_t same_as) {
    nn::Member* weight = weight_of(site);
    GRAFT_CHECK(weight != nullptr, ConfigError, "lora config: trainable_token_indices means ",
                site.path, ", which is neither an embedding nor a linear layer");
    check_not_adapted("trainable_token_indices", site);
    const int64_t rows = weight->shape()[0];
    for (const int64_t id : ids)
      GRAFT_CHECK(id < rows, ConfigError, "lora config: trainable_token_indices has ", id, ", but ",
                  site.path, " has ", rows, " rows");
    const bool is_new = add({.kind = CopyKind::tokens,
                             .module = site.path,
                             .parameter = "weight",
                             .member = weight,
                             .rows = ids,
                             .same_as = same_as});
    GRAFT_CHECK(is_new, ConfigError, "lora config: the weight of ", site.path,
                " is named twice in trainable_token_indices, or in modules_to_save as well");
  }

  /// As PEFT: a head that shares the matrix gets the rows of the embedding, unless it is given
  /// others.
  void select_tokens() {
    const auto tables = token_tables();
    const auto of = [&](const std::string& path) -> const std::vector<int64_t>* {
      for (const auto& [site, ids] : tables) {
        if (site->path == path)
          return ids;
      }
      return nullptr;
    };
    const std::vector<int64_t>* first = tie_ ? of(tie_->embedding.path) : nullptr;
    const std::vector<int64_t>* second = tie_ ? of(tie_->head.path) : nullptr;
    const bool differ = first != nullptr && second != nullptr && *first != *second;
    GRAFT_CHECK(!differ || !config_.ensure_weight_tying, ConfigError,
                "lora config: trainable_token_indices gives ", tie_->embedding.path, " and ",
                tie_->head.path, " different ids, and ensure_weight_tying wants them to be one");
    const bool shares = first != nullptr && !differ;
    for (const auto& [site, ids] : tables) {
      if (!shares || site->path != tie_->head.path)
        copy_tokens(*site, *ids, -1);
    }
    if (shares)
      copy_tokens(tie_->head, *first, number_of(weight_of(tie_->embedding)));
  }

  void add_biases(const Site& site) {
    for (const nn::NamedMember& parameter : base_parameters(*site.module)) {
      if (is_bias(parameter.path) && parameter.path.find('.') == std::string::npos)
        add({.kind = CopyKind::bias,
             .module = site.path,
             .parameter = parameter.path,
             .member = parameter.member});
    }
  }

  void select_biases() {
    if (config_.bias == "none")
      return;
    const size_t before = copies_.size();
    if (config_.bias == "all") {
      for (const Site& site : sites_)
        add_biases(site);
    } else {
      for (const Site* site : adapted_)
        add_biases(*site);
    }
    if (copies_.size() == before)
      warn(concat("bias is \"", config_.bias, "\", but ",
                  config_.bias == "all" ? "the model has" : "the adapted layers have",
                  " no biases to train"));
  }

  const LoraConfig& config_;
  const std::vector<Site>& sites_;
  const std::vector<const Site*>& adapted_;
  const std::optional<Tie>& tie_;
  const Tied tied_;
  const CopyRules& rules_;
  std::vector<SelectedCopy> copies_;
  std::set<const nn::Member*> copied_;
};

}  // namespace

std::vector<SelectedCopy> select_copies(const LoraConfig& config, const std::vector<Site>& sites,
                                        const std::vector<const Site*>& adapted,
                                        const std::optional<Tie>& tie, Tied tied,
                                        const CopyRules& rules) {
  return CopySelector(config, sites, adapted, tie, tied, rules).run();
}

}  // namespace graft::peft
