// PeftModel: a language model with adapters, over a base model that stays as it was.
//
//   auto adapted = get_peft_model(*model, {.r = 16, .target_modules = Targets::all_linear()});
//   auto adamw = optim::AdamW(adapted.trainable_parameters(), {.lr = 2e-4});
//   ...
//   adapted.save_pretrained("out");
//
// The layers that an adapter targets are swapped for AdaptedLinears and AdaptedEmbeddings, which
// own the base's; where an adapter trains parameters of the base, it has copies of them. Used by
// itself, the base model still computes what it did before: adapters apply only where the Context
// names them, and PeftModel's resolve() names the active ones in a Context that leaves it open.
// That holds too for adapters that begin with a part of the weights (PiSSA, OLoRA): layers are
// without the part only where the adapter applies, where PEFT takes it out of the model for good.
// The destructor takes the adapters out again; the base's parameters stay frozen. Refers to its
// base model, which must outlive it. One thing changes the base: an adapter that begins by LoftQ,
// whose layers have their weights in 4 bits from then on.
//
// Which adapters are active, trained and merged are three separate sets. Active ones apply by
// default and add up, in the order in which they were added, which matters for those that multiply
// (use_dora); trained ones are what an optimizer is given; merged ones are held in one
// matrix with the base by a second copy of each layer, and apply by default as well, active or not.
// A forward of other adapters than those that are merged goes to the base, which no merge writes:
// so merging changes the speed of forwards, and never their meaning.
//
// Forwards may run concurrently, with different adapters too; nothing may be changed meanwhile. A
// call that throws has changed nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/nn/causal_lm.h"
#include "graft/peft/combine.h"
#include "graft/peft/config.h"
#include "graft/peft/draft.h"
#include "graft/peft/loftq_start.h"
#include "graft/peft/matching.h"
#include "graft/peft/merge.h"
#include "graft/peft/selection.h"
#include "graft/peft/status.h"

namespace graft::peft {

struct CombineInput;

struct PeftOptions {
  /// Of the first values of adapters; they depend on it and the module's path only.
  uint64_t seed = 0;
  /// Matches regular expressions: text::full_matcher(). Without one, only plain names work.
  RegexMatcher matcher{};
  /// Is told what deserves attention but is no error.
  Observer observer{};
  /// For init_lora_weights "loftq" on a base whose weights are in 4 bits already.
  OriginalWeight original_weight{};
  /// Told of each layer that LoftQ starts.
  std::function<void(const LoftQError&)> on_loftq{};
  /// An entry of a configuration that matches nothing is an error; false: a warning, as in PEFT.
  /// Entries of an adapter that is loaded only ever give a warning.
  bool strict = true;
};

struct SaveOptions {
  /// Saves an adapter that took a part out of the base model as one on the base as it is: a LoRA of
  /// twice the rank, B A with the part subtracted.
  bool subtract_mutated_init = false;
};

/// How many numbers there are; tied ones count once.
struct ParameterCounts {
  int64_t trainable = 0;
  int64_t all = 0;
};
/// "trainable params: 294,912 || all params: 125,534,208 || trainable%: 0.2349"
std::string to_string(const ParameterCounts& counts);

class PeftModel final : public nn::CausalLM {
 public:
  /// Freezes the base model and adds a new adapter, which becomes active. See get_peft_model.
  PeftModel(nn::CausalLM& base, LoraConfig config, const std::string& name = "default",
            PeftOptions options = {});
  /// Freezes the base model and loads an adapter that PEFT or graft saved, which becomes active;
  /// it is trained only where is_trainable. Throws as load_adapter does.
  static PeftModel from_pretrained(nn::CausalLM& base, const std::filesystem::path& folder,
                                   const std::string& name = "default", bool is_trainable = false,
                                   PeftOptions options = {});
  ~PeftModel() override;

  // The base model with the adapters of the context, for all rows or row by row; the active and
  // merged ones where it names none. Throws ConfigError where the context names one that does not
  // exist, for several adapters in a batch of which one has copies of the base's parameters, and
  // for one that is invoked by tokens where the texts began in an earlier forward and the context
  // does not come from resolve(context, texts).
  Variable forward(const Tensor& ids, const nn::Context& context) const override;
  const nn::LinearLike& head() const override { return base_.head(); }
  const nn::ModelInfo& info() const override { return base_.info(); }
  void untie_head() override { base_.untie_head(); }
  nn::Context resolve(const nn::Context& context) const override;
  nn::Context resolve(const nn::Context& context,
                      std::span<const std::vector<int64_t>> texts) const override;

  /// Adds a new adapter, neither active nor trained until set_adapter. Started by LoftQ, its file
  /// says init_lora_weights true: it holds what LoftQ made, which PEFT would make again. Where
  /// loftq_iter is above 1 it fits only the base as it is now, which is to be saved too. Throws
  /// ConfigError where the name is taken, not fit for a folder, has a dot or is base_row, where a
  /// setting is wrong, and where a target, pattern or excluded name matches nothing, naming the
  /// nearest.
  void add_adapter(const std::string& name, LoraConfig config);
  /// Adds a saved adapter, inactive. Throws FormatError with the difference where its tensors are
  /// not those the configuration and the model call for, and where there is only a pickle; IoError.
  void load_adapter(const std::filesystem::path& folder, const std::string& name,
                    bool is_trainable = false);
  /// Puts the numbers of a saved adapter into one that is there and has the same configuration:
  /// what going on from a checkpoint does. Throws as load_adapter does, having changed nothing, and
  /// ConfigError where the adapter is merged.
  void load_weights(const std::filesystem::path& folder, const std::string& name = "default");
  /// Writes adapter_config.json, adapter_model.safetensors and, where there is none yet, README.md
  /// into the folder, which is made where it is missing. Adapters not called "default" go to a
  /// subfolder of their name, as in PEFT. Each file appears whole or not at all. Throws ConfigError
  /// for an unknown name and options that do not fit; IoError.
  void save_pretrained(const std::filesystem::path& folder) const;
  void save_pretrained(const std::filesystem::path& folder,
                       const std::vector<std::string>& selected_adapters,
                       const SaveOptions& options = {}) const;

  /// Makes a new adapter of several: their changes times the weights, combined as the options say
  /// (peft/combine.h). One adapter alone is only weighted, whatever the type. Its configuration is
  /// that of the first one with a rank and scaling of its own, and with all modules that any of
  /// them targets. Of modules that are trained whole, biases and tokens, it has copies in which the
  /// differences from the base are weighted and added up, whatever the type; Compat::peft, as PEFT,
  /// leaves them as the base has them, and leaves out biases of adapters. It is neither active nor
  /// trained. Throws ConfigError for unknown adapters, a name that is taken, weights that are not
  /// one for each or not finite, options that validate() refuses, use_dora with cat or
  /// Compat::peft, an adapter that is invoked by tokens, and where adapters differ in
  /// ensure_weight_tying; NonFiniteError where an adapter is broken.
  CombineReport add_weighted_adapter(const std::vector<std::string>& adapters,
                                     const std::vector<double>& weights,
                                     const std::string& adapter_name,
                                     const CombineOptions& options = {});
  /// Throws ConfigError where add_weighted_adapter would refuse these, and makes nothing.
  void check_combination(const std::vector<std::string>& adapters,
                         const std::vector<double>& weights, const CombineOptions& options) const;

  /// Makes these adapters the active ones, which add up, and the ones that are trained; with
  /// inference_mode none is. What is merged is unmerged, and the observer told. A backward of an
  /// earlier forward still reaches the adapters that forward used. Throws ConfigError for an
  /// unknown name, and where two of them have copies of the same parameter of the base model, or of
  /// the same row of it (trainable_token_indices).
  void set_adapter(std::vector<std::string> names, bool inference_mode = false);
  /// Trains these adapters from now on, or not, whether they are active or not; the others stay as
  /// they are. A backward that is still to come no longer reaches those that are not trained.
  /// Throws ConfigError for an unknown name.
  void set_requires_grad(const std::vector<std::string>& names, bool required = true);
  /// Takes an adapter out of the model. Where it was the only active one, the first of the others
  /// in alphabetical order becomes active, as in PEFT, and the observer is told; whether that one
  /// is trained does not change. Where there is no other, the model is its base. Throws ConfigError
  /// for an unknown name, and where the adapter is merged.
  void delete_adapter(const std::string& name);

  /// Adds base and adapters up in a second copy of each layer, which forwards with those adapters
  /// use from then on: the active ones where none are named. What is merged already stays so. The
  /// copy holds the numbers of this moment; a later change of the adapters needs another merge.
  /// 16-bit weights are rounded once, 4-bit ones come to be held in the model's dtype, or as the
  /// options say (peft/merge.h). Copies of
  /// whole parameters (modules_to_save, biases, tokens) apply as before. Throws ConfigError for an
  /// unknown name and an adapter that is invoked by tokens, and NonFiniteError, with everything as
  /// before, where an adapter is broken or a sum is beyond its format.
  void merge_adapter();
  void merge_adapter(const std::vector<std::string>& names, const MergeOptions& options = {});
  /// Drops what merge_adapter made; the layers are bit for bit what they were.
  void unmerge_adapter();
  /// Makes the active and merged adapters, or those named, part of the base model, which is a plain
  /// one afterwards, and takes all adapters out. The base's own numbers are replaced by their sums,
  /// and what those adapters have copies of by the copies. A head that shared the embedding's
  /// matrix and now differs from it gets one of its own. Where the weights are streamed, sums are
  /// made as they are read, and one that is beyond its format is found then. Throws as
  /// merge_adapter does, and ConfigError where an adapter would give a bias to a layer that has
  /// none.
  nn::CausalLM& merge_and_unload();
  nn::CausalLM& merge_and_unload(const std::vector<std::string>& names,
                                 const MergeOptions& options = {});
  /// Takes all adapters out; the base model is bit for bit what it was without them.
  nn::CausalLM& unload();

  /// Multiplies what the adapter contributes, besides its own scaling; 1 at first. Not saved.
  /// Throws ConfigError for an unknown name, a factor that is not finite, and where the adapter is
  /// merged.
  void set_scale(const std::string& name, double factor);
  double scale(const std::string& name) const { return entry(name).scale; }

  /// While it lives, the contributions of the adapters that were active at its start are multiplied
  /// by a factor.
  class RescaledAdapters {
   public:
    RescaledAdapters(PeftModel& model, double factor);
    ~RescaledAdapters();
    RescaledAdapters(const RescaledAdapters&) = delete;
    RescaledAdapters& operator=(const RescaledAdapters&) = delete;

   private:
    PeftModel& model_;
    std::vector<std::pair<std::string, double>> before_;
  };
  /// Throws as set_scale does.
  [[nodiscard]] RescaledAdapters rescale_adapter_scale(double factor) {
    return RescaledAdapters(*this, factor);
  }

  /// While it lives, the model is its base. They may be nested.
  class DisabledAdapters {
   public:
    explicit DisabledAdapters(PeftModel& model) : model_(model) { ++model_.disabled_; }
    ~DisabledAdapters() { --model_.disabled_; }
    DisabledAdapters(const DisabledAdapters&) = delete;
    DisabledAdapters& operator=(const DisabledAdapters&) = delete;

   private:
    PeftModel& model_;
  };
  [[nodiscard]] DisabledAdapters disable_adapter() { return DisabledAdapters(*this); }

  /// A name for a new adapter: the one that is wanted, or with underscores behind it where an
  /// adapter is called so.
  std::string unused_name(std::string wanted) const;
  /// Names, in the order in which they were added.
  std::vector<std::string> available_adapters() const;
  /// Those that apply by default, besides merged ones; none while disabled.
  std::vector<std::string> active_adapters() const;
  /// Those that are trained, in the order in which they were added.
  std::vector<std::string> trainable_adapters() const;
  /// Those that are merged, in the order in which they were added.
  const std::vector<std::string>& merged_adapters() const { return merged_; }
  /// Each adapted layer, in the model's order.
  std::vector<LayerStatus> layer_status() const;
  ModelStatus model_status() const;
  /// The configuration with its targets made out. Throws ConfigError for an unknown name.
  const LoraConfig& config(const std::string& name) const;
  /// Paths of the modules the adapter was put on. Throws ConfigError for an unknown name.
  const std::vector<std::string>& targeted_modules(const std::string& name) const;

  /// What an optimizer takes: the parameters of the adapters that are trained, active or not, named
  /// "<path of the layer>.<name of the adapter>.lora_A.weight".
  std::vector<NamedVariable> trainable_parameters() const;
  /// As PEFT counts, but for a low-rank pair that head and embedding share: it counts once.
  ParameterCounts count_parameters() const;

  nn::CausalLM& base_model() { return base_; }

 private:
  struct Entry {
    std::string name;
    LoraConfig config;
    std::vector<std::string> modules;
    std::vector<AdapterTensor> tensors;
    std::vector<nn::Member*> copied{};  ///< parameters of the base it has copies of
    bool trained = false;
    double scale = 1;
  };
  /// The base model as a member, so that walks over this module see the base's paths.
  class Base final : public nn::Member {
   public:
    Base(nn::Module& owner, nn::Module& base) : Member(owner, ""), base_(base) {}
    nn::Module* module() override { return &base_; }

   private:
    nn::Module& base_;
  };

  PeftModel(nn::CausalLM& base, PeftOptions options);
  PeftModel(nn::CausalLM& base, const std::filesystem::path& folder, const std::string& name,
            bool is_trainable, PeftOptions options);

  const Entry& entry(const std::string& name) const;
  Entry& entry(const std::string& name);
  void warn(const std::string& message) const;
  /// Those of the names that exist, in the order in which the adapters were added.
  std::vector<std::string> in_order(const std::vector<std::string>& names) const;
  /// What a Context that names no adapters stands for: the active and the merged ones.
  std::vector<std::string> default_selection() const;
  /// The context with the parts of these ids that adapters apply to which are invoked by tokens.
  nn::Context with_parts(nn::Context context, const Tensor& ids) const;
  bool is_merged(const std::string& name) const;
  void check_not_merged(const char* operation, const std::string& name) const;
  /// Throws ConfigError for an unknown name, and where an adapter is invoked by tokens.
  void check_mergeable(const std::vector<std::string>& names) const;
  void apply_scale(const std::string& name, double factor);
  /// Throws ConfigError where two of them bring a copy of the same parameter, or of a row of it.
  void check_copies(const char* operation, const std::vector<std::string>& names) const;
  void check_new_name(const std::string& name) const;
  /// What add_weighted_adapter combines. Throws as check_combination does.
  std::vector<CombineInput> combine_inputs(const std::vector<std::string>& adapters,
                                           const std::vector<double>& weights,
                                           const CombineOptions& options) const;
  Selection select(LoraConfig config, bool strict);
  /// f32, in an f64 model f64.
  DType adapter_dtype() const;
  /// Puts an adapter, which is complete, on the model.
  void put_on(const Selection& selection, AdapterDraft& draft, Entry entry);

  nn::CausalLM& base_;
  Base member_{*this, base_};
  PeftOptions options_;
  std::vector<Entry> adapters_;
  std::vector<std::string> active_;
  std::vector<std::string> merged_;  // in the order of adapters_
  int disabled_ = 0;
};

/// Puts a new adapter on the model; see PeftModel.
inline PeftModel get_peft_model(nn::CausalLM& model, LoraConfig config,
                                const std::string& name = "default", PeftOptions options = {}) {
  return PeftModel(model, std::move(config), name, std::move(options));
}

}  // namespace graft::peft
