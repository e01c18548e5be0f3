// graft merge: writes a model that has its adapters in its weights.
//
// The weights are streamed from the files of the model to those that are written, so that a model
// larger than memory can be merged.

#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "graft/cli/commands.h"
#include "graft/cli/flags.h"
#include "graft/cli/merge_check.h"
#include "graft/cli/model_flags.h"
#include "graft/cli/model_folder.h"
#include "graft/cli/module_errors.h"
#include "graft/cli/original_weights.h"
#include "graft/cli/terminal.h"
#include "graft/cli/training_data.h"
#include "graft/io/file.h"
#include "graft/models/save.h"
#include "graft/nn/weight.h"
#include "graft/peft/kbit.h"
#include "graft/tensor/error.h"
#include "graft/text/tokenizer.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

struct MergeFlags {
  ModelFlags model;
  std::string original;
  bool requantize = false;
  std::string out;
  std::string dtype = "keep";
  bool verify = false;
  std::optional<double> verify_limit;
  bool overwrite = false;
  bool json = false;
};

/// One merge, from the flags to the folder.
class Merge {
 public:
  explicit Merge(const MergeFlags& values);
  void run();

 private:
  void check_flags() const;
  std::unique_ptr<nn::CausalLM> load(const fs::path& path, const quant::Config& quant) const;
  peft::MergeOptions merge_options(nn::CausalLM& base);
  /// Merges into the base, having kept the logits that the result is to have.
  void merge(nn::CausalLM& base);
  /// What no adapter changes is taken from --original as well.
  void take_originals(nn::CausalLM& base) const;
  int64_t bytes_needed() const;
  /// Whether logits may be off by a share of the largest. Else what the adapters bring must stay.
  bool has_limit() const { return !is_written_in_4_bits() || values_.verify_limit; }
  double limit() const;
  /// Keeps the logits that the result is to have: those of the model that is added to.
  void take_logits(peft::PeftModel& adapted);
  /// Reads the written model back. Throws Error where its logits are too far off.
  void verify(const fs::path& written);
  void check_loss_of_4_bits() const;
  void print() const;
  void print_json() const;

  bool is_written_in_4_bits() const { return values_.requantize; }

  const MergeFlags& values_;
  const std::vector<AdapterName> adapters_;
  int64_t parameters_ = 0;
  bool is_in_4_bits_ = false;  ///< the base
  DType dtype_ = DType::f32;   ///< of the weights that are written
  DType held_ = DType::f32;    ///< of those that are read
  peft::OriginalWeight original_;
  std::map<std::string, peft::MergeError> errors_;
  int64_t nbytes_ = 0;
  std::optional<MergeCheck> check_;
  std::optional<Verification> verification_;
};

Merge::Merge(const MergeFlags& values) : values_(values), adapters_(adapters_of(values.model)) {
  const models::Description description = models::describe(values.model.model);
  parameters_ = description.parameters;
  is_in_4_bits_ = description.quantized > 0 || values.model.quant != "none";
  dtype_ = values.dtype == "keep" ? description.file_dtype : dtype_named(values.dtype);
  // Sums are rounded once, into the format of the file; a wider base is not rounded before.
  held_ = description.file_dtype == dtype_ && !is_in_4_bits_ ? dtype_ : DType::f32;
  check_flags();
}

void Merge::check_flags() const {
  const char* const needs =
      " is for a base in 4 bits, but the weights of the model are not, and --quant is none";
  GRAFT_CHECK(is_in_4_bits_ || !values_.requantize, ConfigError, "merge: --requantize", needs);
  GRAFT_CHECK(is_in_4_bits_ || values_.original.empty(), ConfigError, "merge: --original", needs);
  GRAFT_CHECK(values_.original.empty() || models::describe(values_.original).quantized == 0,
              ConfigError, "merge: --original ", values_.original,
              " is in 4 bits itself; give the model as it was before");
  GRAFT_CHECK(values_.verify || !values_.verify_limit, ConfigError,
              "merge: --verify-limit is for --verify; add that, or leave it out");
}

/// A model that takes the memory of one of its matrices, with the numbers that other verbs have.
std::unique_ptr<nn::CausalLM> Merge::load(const fs::path& path, const quant::Config& quant) const {
  auto model = models::load(path, {.dtype = held_, .quant = quant, .streamed = true});
  if (model->info().quant.load_in_4bit)
    peft::prepare_model_for_kbit_training(*model);
  return model;
}

void Merge::run() {
  const OutPolicy policy = values_.overwrite ? OutPolicy::replace_files : OutPolicy::must_be_empty;
  std::vector<fs::path> inputs = {values_.model.model};
  for (const AdapterName& adapter : adapters_)
    inputs.push_back(adapter.folder);
  if (!values_.original.empty())
    inputs.push_back(values_.original);
  check_out_folder(values_.out, policy, inputs);
  io::check_free_space(values_.out, bytes_needed());
  const std::optional<text::Tokenizer> tokenizer = load_tokenizer(values_.model.model, {});
  const auto base = load(values_.model.model, quant_config(values_.model));
  merge(*base);
  nbytes_ = write_model_folder(*base,
                               {.out = values_.out,
                                .policy = policy,
                                .tokenizer = tokenizer ? &*tokenizer : nullptr,
                                .generation_config = generation_config_of(values_.model.model),
                                .check = [this](const fs::path& written) { verify(written); }},
                               {.dtype = dtype_, .dequantize = !is_written_in_4_bits()});
  if (values_.json)
    print_json();
  else
    print();
}

int64_t Merge::bytes_needed() const {
  const double bits = is_written_in_4_bits() ? 4 : 8 * static_cast<double>(element_size(dtype_));
  return static_cast<int64_t>(static_cast<double>(parameters_) * bits / 8);
}

peft::MergeOptions Merge::merge_options(nn::CausalLM& base) {
  peft::MergeOptions options{.requantize = values_.requantize, .dtype = dtype_};
  options.on_merged = [this](const peft::MergeError& error) { errors_[error.path] = error; };
  if (!values_.original.empty())
    original_ = original_weights(values_.original, "--original", base);
  options.original_weight = original_;
  return options;
}

void Merge::merge(nn::CausalLM& base) {
  const peft::MergeOptions options = merge_options(base);
  const auto adapted = load_adapters(base, adapters_);
  if (values_.verify)
    take_logits(*adapted);
  adapted->merge_and_unload(adapted->active_adapters(), options);
  if (original_ && !is_written_in_4_bits())
    take_originals(base);
}

void Merge::take_originals(nn::CausalLM& base) const {
  for (const nn::NamedMember& parameter : nn::named_parameters(base)) {
    auto* weight = dynamic_cast<nn::Weight*>(parameter.member);
    if (weight != nullptr && weight->form().format)
      weight->stream({DType::f32}, [original = original_, path = parameter.path] {
        return nn::WeightStorage(Variable(original(path)));
      });
  }
}

void Merge::take_logits(peft::PeftModel& adapted) {
  if (!original_) {
    check_.emplace(adapted);
    return;
  }
  const auto original = load(values_.original, {});
  check_.emplace(*load_adapters(*original, adapters_));
}

/// Of the largest logit, how far logits may be off: weights in f32 are sums in another order (of
/// SmolLM2 1.2e-4 on ids that make no text), in 16 bits each is rounded once more.
double Merge::limit() const {
  return values_.verify_limit    ? *values_.verify_limit
         : dtype_ == DType::bf16 ? 5e-2
         : dtype_ == DType::f16  ? 1e-2
                                 : 1e-3;
}

void Merge::verify(const fs::path& written) {
  if (!check_)
    return;
  verification_ = check_->compare(*load(written, {}));
  if (!has_limit()) {
    check_loss_of_4_bits();
    return;
  }
  GRAFT_CHECK(verification_->difference <= limit() * verification_->largest, Error,
              "merge: the logits of the merged model are off by up to ", verification_->difference,
              ", more than ", limit(), " of the largest, ", verification_->largest,
              "; nothing is kept in ", values_.out,
              is_written_in_4_bits() ? ". Without --requantize the sums are not rounded to 4 bits"
                                     : ". --dtype f32 rounds least");
}

/// What 4 bits lose is of no fixed size, but may be no less than what was to be added.
void Merge::check_loss_of_4_bits() const {
  GRAFT_CHECK(
      verification_->lost < 1, Error, "merge: the logits of the merged model are ",
      number_text(verification_->lost, 3),
      " times as far from those of model and adapters as the model alone is: 4 bits are too "
      "coarse for what the adapters change; nothing is kept in ",
      values_.out, ". Without --requantize the sums are not rounded to 4 bits");
}

void Merge::print_json() const {
  io::Json json = {{"out", values_.out},        {"adapters", io::Json::array()},
                   {"parameters", parameters_}, {"dtype", concat(dtype_)},
                   {"bytes", nbytes_},          {"layers", io::Json::array()}};
  for (const AdapterName& adapter : adapters_)
    json["adapters"].push_back(
        {{"name", adapter.name}, {"folder", adapter.folder.string()}, {"scale", adapter.scale}});
  for (const auto& [path, error] : errors_)
    json["layers"].push_back(
        {{"weight", path}, {"error", error.relative}, {"error_of_change", error.of_change}});
  if (verification_)
    json["verify"] = {{"largest_difference", verification_->difference},
                      {"limit", has_limit() ? io::Json(limit() * verification_->largest) : nullptr},
                      {"effect_of_adapters", verification_->effect},
                      {"lost", verification_->lost},
                      {"largest_logit", verification_->largest},
                      {"tokens", verification_->tokens},
                      {"same_likeliest", verification_->agreeing}};
  std::cout << io::to_text(json) << "\n";
}

void Merge::print() const {
  const std::string form = is_written_in_4_bits() ? "in 4 bits" : concat("as ", dtype_);
  std::cout << "wrote " << values_.out << ": " << grouped(parameters_) << " parameters " << form
            << " with " << counted(std::ssize(adapters_), "adapter") << " merged, "
            << byte_text(nbytes_) << "\n";
  ModuleErrors lost;
  for (const auto& [path, error] : errors_)
    lost.add(path, error.of_change);
  if (!errors_.empty())
    std::cout << table(lost.rows("lost of the change"), terminal_of(1))
              << "lost: ||merged - (w + change)|| / ||change|| of a weight, the mean over the "
                 "count\n";
  if (!verification_)
    return;
  const std::string allowed =
      has_limit()
          ? "allowed " + number_text(limit() * verification_->largest, 3)
          : fixed_text(100 * verification_->lost, 1) + " % of what the adapters bring is lost";
  std::cout << "verified: logits differ by up to " << number_text(verification_->difference, 3)
            << " (" << allowed << "; the adapters change them by up to "
            << number_text(verification_->effect, 3)
            << "), and the likeliest token is the same after " << verification_->agreeing << " of "
            << verification_->tokens << "\n";
}

void add_flags(Flags& flags, MergeFlags& values) {
  flags.add("model", values.model.model, "DIR|FILE.gguf",
            "the base model: a Hugging Face folder or a GGUF file");
  flags.add("adapter", values.model.adapters, "[NAME=]DIR[@SCALE]",
            "a LoRA adapter in PEFT's format; may be repeated, and they add up");
  flags.add("out", values.out, "DIR", "the folder to write");
  flags.choice("dtype", values.dtype, {"keep", "f32", "bf16"},
               "of the weights in the file; keep: that of the model's files");
  add_quant_flags(flags, values.model, {"none", "nf4", "fp4"});
  flags.add("requantize", values.requantize,
            "put the sums on weights in 4 bits in 4 bits again; default: write them as --dtype");
  flags.add("original", values.original, "DIR|FILE.gguf",
            "the model as it was before it was put in 4 bits: add the adapters to its weights");
  flags.add("verify", values.verify,
            "read the result back and compare its logits with those of model and adapters; keep "
            "nothing where they are off by more than --verify-limit");
  flags.add("verify-limit", values.verify_limit, "X",
            "of the largest logit; default: 1e-3 (f16: 1e-2, bf16: 5e-2); with --requantize none, "
            "but less must be lost than the adapters bring",
            {.least = 0});
  flags.add("overwrite", values.overwrite, "replace the model in --out; other files stay");
  flags.add("json", values.json, "print the result as one JSON object");
  add_threads_flag(flags, values.model.threads);
  flags.examples({"graft merge --model MODEL --adapter my-adapter --out merged --verify",
                  "graft merge --model MODEL --adapter a@0.7 --adapter b@0.3 --out merged",
                  "graft merge --model MODEL --quant nf4 --adapter my-adapter --out merged"});
}

}  // namespace

ExitCode run_merge(Arguments arguments) {
  MergeFlags values;
  Flags flags("merge",
              "Adds adapters to the weights of their model and writes the sum as a model of its "
              "own, a Hugging Face folder that needs no adapter any more.");
  add_flags(flags, values);
  if (!flags.parse(arguments)) {
    std::cout << flags.help(terminal_of(1).columns);
    return ExitCode::done;
  }
  flags.require("model", "the folder of a model or a GGUF file");
  flags.require("adapter", "the folder of an adapter");
  flags.require("out", "the folder to write");
  apply_model_flags(flags, values.model);
  Merge(values).run();
  return ExitCode::done;
}

}  // namespace graft::cli
