#include "graft/peft/eva.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "graft/autograd/tape.h"
#include "graft/io/checksum.h"
#include "graft/peft/adapted_linear.h"
#include "graft/peft/draft.h"
#include "graft/peft/incremental_pca.h"
#include "graft/tensor/embedding.h"
#include "graft/tensor/error.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/random.h"
#include "graft/tensor/reduce.h"

namespace graft::peft {
namespace {

constexpr const char* recorder_name = "inputs";
/// Batches after which directions that still turn are taken as they are.
constexpr int64_t most_batches = 1000;
/// Batches that may be too small for the first components, one after the other.
constexpr int64_t most_small_batches = 100;

/// An adapter that adds nothing and shows the inputs of its layer to whoever asks.
class InputRecorder final : public Adapter {
 public:
  std::function<void(const Tensor& x)> show{};  ///< x (…, in); not called where unset

  Variable forward(const Variable& x, const nn::Linear& base, const nn::Context&) const override {
    if (show)
      show(x.value());
    return Variable(Tensor::zeros(x.shape().with(-1, base.out_features()), x.dtype()));
  }
  Delta delta(const nn::Linear&) const override { return {}; }
};

/// A layer that gets its A from EVA.
struct Layer {
  SelectedLayer selected;
  int64_t most = 0;  ///< the highest rank it may get
  int64_t rank = 0;  ///< as of the last distribution
  size_t group = 0;
  InputRecorder* recorder = nullptr;
  std::string input{};  ///< checksum of the first input
};

/// Layers that read the same input, of which the first one is observed.
struct Group {
  size_t first;
  IncrementalPca pca;
  std::vector<bool> settled{};  ///< for each component: it did not turn with the last batch
  bool is_done = false;
};

/// For each of the components, whether it still points where it did.
std::vector<bool> standing_still(const Tensor& now, const Tensor& before, double tau) {
  std::vector<bool> still;
  for (int64_t i = 0; i < now.dim(0); ++i) {
    const Tensor one = now.slice(0, i, i + 1), other = before.slice(0, i, i + 1);
    const double lengths = std::sqrt(ops::sum_of_squares(one) * ops::sum_of_squares(other));
    still.push_back(ops::sum(ops::mul(one, other)) >= tau * lengths);
  }
  return still;
}

class EvaSearch {
 public:
  /// Refers to all.
  EvaSearch(nn::CausalLM& model, const Selection& selection,
            const std::function<EvaBatch(int64_t)>& batch, const PeftOptions& options)
      : model_(model),
        selection_(selection),
        eva_(*selection.config.eva_config),
        batch_(batch),
        options_(options) {}
  EvaSearch(const EvaSearch&) = delete;
  EvaSearch& operator=(const EvaSearch&) = delete;
  ~EvaSearch() { remove_adapter(model_, recorder_name); }

  /// Goes through the batches; their number.
  int64_t run() {
    const NoGrad no_grad;
    add_layers();
    form_groups();
    for (int64_t number = 0;; ++number) {
      update_groups();
      if (std::ranges::all_of(groups_, &Group::is_done))
        return number;
      if (number == most_batches) {
        warn_of_unsettled();
        return number;
      }
      forward(batch_(number));
      const bool all_started =
          std::ranges::all_of(groups_, [](const Group& group) { return group.pca.is_started(); });
      if (all_started)
        distribute();
      else
        check_size(number);
    }
  }

  const std::vector<Layer>& layers() const { return layers_; }
  /// A of a layer: its first components.
  Tensor directions_of(const Layer& layer) const {
    const IncrementalPca& pca = groups_[layer.group].pca;
    Tensor a = pca.components().slice(0, 0, layer.rank).clone();
    for (int64_t i = 0; i < layer.rank && eva_.whiten; ++i) {
      Tensor row = a.slice(0, i, i + 1);
      ops::scale_(row, 1 / std::sqrt(pca.singular_values().data<float>()[i]));
    }
    return a;
  }

 private:
  void add_layers() {
    for (const SelectedLayer& layer : selection_.layers) {
      if (layer.site.linear != nullptr && !layer.is_tied)
        add_layer(layer);
    }
    GRAFT_CHECK(!layers_.empty(), ConfigError,
                "eva: the configuration targets no linear layer, and embeddings have no inputs "
                "whose directions could be found");
    for (const Layer& layer : layers_)
      budget_ += layer.selected.r;
  }

  void add_layer(const SelectedLayer& selected) {
    Layer layer{.selected = selected};
    const double most = std::nearbyint(static_cast<double>(selected.r) * eva_.rho);  // half to even
    const int64_t in = linear_of(selected.site)->in_features();
    GRAFT_CHECK(most <= static_cast<double>(in), ConfigError, "eva: the rank of ",
                selected.site.path, " is ", selected.r, ", and rho is ", eva_.rho,
                ", but its inputs have no more than ", in, " directions; lower one of them");
    layer.most = static_cast<int64_t>(most);
    auto recorder = std::make_unique<InputRecorder>();
    layer.recorder = recorder.get();
    add_to_layer(selected.site, recorder_name, std::move(recorder));
    layers_.push_back(std::move(layer));
  }

  void forward(const EvaBatch& batch) {
    tokens_ = batch.tokens;
    counting_ = tokens_.defined() ? tokens_.numel() : batch.ids.numel();
    nn::Context context = batch.context;
    context.adapters = nn::AdapterSelection{.names = {recorder_name}};
    const Variable hidden = model_.forward(batch.ids, context);
    const bool head_is_observed = std::ranges::any_of(layers_, [&](const Layer& layer) {
      return layer.selected.site.module == original_head_ && layer.recorder->show;
    });
    if (head_is_observed)
      model_.head().forward(hidden, context);
  }

  /// The rows (n, in) f32 of a layer's input that count.
  Tensor rows_of(const Tensor& x) const {
    const Tensor rows = x.contiguous().view({-1, x.dim(-1)});
    return (tokens_.defined() ? ops::embedding(rows, tokens_) : rows).to(DType::f32);
  }

  /// Finds out with the first batch which layers read the same.
  void form_groups() {
    for (Layer& layer : layers_)
      layer.recorder->show = [&](const Tensor& x) {
        io::Checksum sum;
        const Tensor rows = rows_of(x);
        sum.add(rows.bytes());
        layer.input = sum.text();
      };
    forward(batch_(0));
    for (size_t i = 0; i < layers_.size(); ++i) {
      layers_[i].recorder->show = nullptr;
      const auto same = std::ranges::find_if(groups_, [&](const Group& group) {
        return layers_[group.first].input == layers_[i].input;
      });
      layers_[i].group = static_cast<size_t>(same - groups_.begin());
      if (same == groups_.end())
        groups_.push_back({.first = i, .pca = IncrementalPca(0, 0)});
    }
    for (Group& group : groups_)
      start(group);
  }

  /// Gives all layers of a group the highest rank that one of them may have.
  void start(Group& group) {
    const size_t number = static_cast<size_t>(&group - groups_.data());
    int64_t most = 0;
    for (const Layer& layer : layers_)
      most = layer.group == number ? std::max(most, layer.most) : most;
    for (Layer& layer : layers_) {
      if (layer.group == number)
        layer.rank = layer.most = most;
    }
    group.pca = IncrementalPca(most, stream_of(layers_[group.first].selected.site.path));
    group.settled.assign(static_cast<size_t>(most), false);
    listen(group);
  }

  void listen(Group& group) {
    layers_[group.first].recorder->show = [&](const Tensor& x) {
      const Tensor rows = rows_of(x);
      if (rows.dim(0) < group.pca.count())
        return;  // too few to say anything, as in PEFT
      const Tensor before = group.pca.components();
      group.pca.add(rows);
      if (before.defined())
        group.settled = standing_still(group.pca.components(), before, eva_.tau);
    };
  }

  /// Groups that have settled rest, until a layer of theirs gets a rank that has not.
  void update_groups() {
    for (Group& group : groups_) {
      const auto needed = layers_[group.first].rank;
      const bool settled =
          std::all_of(group.settled.begin(), group.settled.begin() + needed, std::identity());
      if (settled && !group.is_done)
        layers_[group.first].recorder->show = nullptr;
      else if (!settled && group.is_done)
        listen(group);
      group.is_done = settled;
    }
  }

  /// Deals the ranks out: to the largest shares of variance of all layers together.
  void distribute() {
    struct Share {
      float value;
      size_t layer;
    };
    std::vector<Share> shares;
    for (const size_t layer : dealing_order()) {
      const Tensor ratio = groups_[layers_[layer].group].pca.explained_variance_ratio();
      for (const float value : ratio.span<float>())
        shares.push_back({value, layer});
    }
    std::ranges::stable_sort(shares, std::ranges::greater(), &Share::value);
    for (Layer& layer : layers_)
      layer.rank = 0;
    for (int64_t i = 0; i < budget_ && i < std::ssize(shares); ++i)
      ++layers_[shares[static_cast<size_t>(i)].layer].rank;
    // The observed one of a group needs the most directions.
    for (Layer& layer : layers_) {
      Layer& observed = layers_[groups_[layer.group].first];
      if (observed.rank < layer.rank)
        std::swap(observed.rank, layer.rank);
    }
  }

  /// PEFT's order: the observed layers, then the others.
  std::vector<size_t> dealing_order() const {
    std::vector<size_t> order(layers_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_partition(
        order, [&](size_t layer) { return groups_[layers_[layer].group].first == layer; });
    return order;
  }

  void check_size(int64_t number) const {
    int64_t most = 0;
    for (const Layer& layer : layers_)
      most = std::max(most, layer.most);
    GRAFT_CHECK(number + 1 < most_small_batches, ConfigError, "eva: of ", most_small_batches,
                " batches none has ", most,
                " tokens that count, which rank and rho need (the last ", "one has ", counting_,
                "); make batches larger, or lower rank or rho");
  }

  void warn_of_unsettled() const {
    if (options_.observer)
      options_.observer(concat("eva: after ", most_batches, " batches the directions of ",
                               std::ranges::count(groups_, false, &Group::is_done), " of ",
                               groups_.size(), " inputs still turn by more than tau, ", eva_.tau,
                               ", allows; they are taken as they are"));
  }

  nn::CausalLM& model_;
  const Selection& selection_;
  const EvaConfig eva_;
  const std::function<EvaBatch(int64_t)>& batch_;
  const PeftOptions& options_;
  const nn::Module* original_head_ = &model_.head();
  std::vector<Layer> layers_;
  std::vector<Group> groups_;
  int64_t budget_ = 0;  // ranks to be dealt out
  // Of the batch that is run: the tokens that count, and how many they are.
  Tensor tokens_;
  int64_t counting_ = 0;
};

/// The configuration with the ranks that were found.
LoraConfig with_ranks(const Selection& selection, const std::vector<Layer>& found,
                      const PeftOptions& options) {
  LoraConfig config = selection.config;
  config.rank_pattern.clear();
  config.alpha_pattern.clear();
  std::vector<std::string> targets;
  for (const SelectedLayer& selected : selection.layers) {
    const std::string& path = selected.site.path;
    const auto layer = std::ranges::find(found, path, [](const Layer& each) -> const std::string& {
      return each.selected.site.path;
    });
    const int64_t rank = layer == found.end() ? selected.r : layer->rank;
    if (rank == 0)
      continue;
    targets.push_back(path);
    double alpha = pattern_value(selection.config.alpha_pattern, path, selection.config.lora_alpha,
                                 options.matcher);
    if (rank != selected.r && config.eva_config->adjust_scaling_factors)
      alpha *= static_cast<double>(rank) / static_cast<double>(selected.r);
    if (rank != config.r)
      config.rank_pattern.emplace_back(path, rank);
    if (alpha != config.lora_alpha)
      config.alpha_pattern.emplace_back(path, alpha);
    if (layer == found.end() && options.observer)
      options.observer(concat("eva: ", path,
                              " begins as without it; it is no linear layer of its "
                              "own"));
  }
  config.target_modules = Targets(std::move(targets));
  return config;
}

}  // namespace

void EvaStart::put_into(PeftModel& model, const std::string& adapter) const {
  for (const Site& site : sites_of(model.base_model())) {
    const auto start = a.find(site.path);
    const auto* layer = dynamic_cast<AdaptedLinear*>(site.module);
    if (start == a.end() || layer == nullptr)
      continue;
    auto* lora = dynamic_cast<Lora*>(layer->find(adapter));
    GRAFT_CHECK(lora != nullptr && lora->lora_a().shape() == start->second.shape(), ConfigError,
                "eva: the adapter \"", adapter, "\" was not made for ", site.path, " with rank ",
                start->second.dim(0));
    lora->lora_a().load(start->second.to(lora->lora_a()->dtype()));
  }
}

EvaStart eva_start(nn::CausalLM& model, const LoraConfig& config,
                   const std::function<EvaBatch(int64_t)>& batch, const PeftOptions& options) {
  GRAFT_CHECK(config.init_lora_weights == LoraInit::eva, ConfigError,
              "eva: init_lora_weights is \"", init_name(config), "\", eva expected");
  LoraConfig asked = config;
  if (!asked.eva_config)
    asked.eva_config = EvaConfig();
  const Selection selection = select_layers(
      model, asked,
      {.matcher = options.matcher, .observer = options.observer, .strict = options.strict});
  EvaSearch search(model, selection, batch, options);
  EvaStart start{.config = {}};
  start.batches = search.run();
  start.config = with_ranks(selection, search.layers(), options);
  for (const Layer& layer : search.layers()) {
    if (layer.rank > 0)
      start.a.emplace(layer.selected.site.path, search.directions_of(layer));
  }
  return start;
}

}  // namespace graft::peft
