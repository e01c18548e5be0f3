#include "graft/cli/train_flags.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>

#include "graft/cli/optimizer_flags.h"
#include "graft/cli/target_flags.h"
#include "graft/cli/word_list.h"
#include "graft/tensor/error.h"

namespace graft::cli {
namespace {

constexpr int64_t most = int64_t{1} << 40;  // of steps and sizes: products stay far from overflow

/// Flags that describe an adapter.
constexpr std::array lora_flags = {"lora-r",
                                   "lora-alpha",
                                   "lora-dropout",
                                   "target-modules",
                                   "exclude-modules",
                                   "use-rslora",
                                   "use-dora",
                                   "init-lora-weights",
                                   "subtract-mutated-init",
                                   "eva-rho",
                                   "eva-tau",
                                   "loftq-iter",
                                   "lora-bias",
                                   "bias",
                                   "modules-to-save",
                                   "trainable-token-indices",
                                   "ensure-weight-tying",
                                   "loraplus-lr-ratio",
                                   "loraplus-lr-embedding"};

void add_validation_flags(Flags& flags, TrainFlags& values) {
  flags.add("val-data", values.validation_data, "FILE|DIR",
            "validation data: a file, or a folder with a valid file; default: that of --data");
  flags.add("val-split", values.validation_split, "R",
            "share of --data that is kept out of training for validation, e.g. 0.1", {0, 0.9});
  flags.add("no-shuffle", values.no_shuffle, "take the samples in the order of the file");
  flags.add("packing", values.packing,
            "put samples behind each other in rows of --max-seq-len; the loss is the same");
  flags.rivals("val-data", "val-split");
}

void add_method_flags(Flags& flags, TrainFlags& values) {
  flags.group("Method");
  flags.choice("method", values.method, {"lora", "full"},
               "train an adapter, or all weights of the model");
  flags.add("lora-r", values.lora_r, "N", "rank of the adapter", {1, 1 << 20});
  flags.add("lora-alpha", values.lora_alpha, "X", "the adapter's part is multiplied by alpha / r",
            {.least = 0, .above_least = true});
  flags.add("lora-dropout", values.lora_dropout, "P", "share of the adapter's inputs dropped",
            {.least = 0, .most = 1, .below_most = true});
  add_target_flags(flags, values.target_modules, values.exclude_modules);
  flags.add("use-rslora", values.use_rslora, "the adapter's part is multiplied by alpha / sqrt(r)");
  flags.add("use-dora", values.use_dora, "train the length of each of the weights' rows, too");
  flags.add("init-lora-weights", values.init_lora_weights, "HOW",
            "how the adapter starts: true, gaussian, orthogonal, pissa, pissa_niter_N, olora, eva, "
            "loftq, or false: at random, for tests");
  flags.add("subtract-mutated-init", values.subtract_mutated_init,
            "with pissa and olora: write a LoRA of twice the rank, for the model as it is");
  flags.add("eva-rho", values.eva_rho, "X",
            "with eva: how many times as high the rank of a layer may become", {.least = 1});
  flags.add("eva-tau", values.eva_tau, "X",
            "with eva: the cosine at which a direction counts as found", {.least = 0, .most = 1});
  flags.add(
      "loftq-iter", values.loftq_iter, "N",
      "with loftq: how often weights are quantised; above 1 the model is written to --out too",
      {1, 1000});
  flags.add("lora-bias", values.lora_bias, "give the adapter's B matrices a bias");
  flags.choice("bias", values.bias, {"none", "all", "lora_only"},
               "biases of the model to train along; lora_only: of the adapted modules");
  flags.add("modules-to-save", values.modules_to_save, "LIST",
            "modules to train whole, as copies in the adapter: names with commas between");
  flags.add("trainable-token-indices", values.trainable_token_indices, "LIST",
            "tokens whose embeddings to train: ids with commas between, or MODULE=IDS; MODULE=IDS");
  flags.add("ensure-weight-tying", values.ensure_weight_tying,
            "where head and embedding are one matrix, train their parts of the adapter as one");
}

void add_loop_flags(Flags& flags, TrainFlags& values) {
  flags.group("Training");
  flags.add("batch-size", values.batch_size, "N",
            "samples (with --packing: rows) of one forward and backward", {1, most});
  flags.add("grad-accum", values.grad_accum, "N", "such batches before each update", {1, most});
  flags.add("epochs", values.epochs, "E", "passes over the data; default: 1",
            {.least = 0, .most = 1e6, .above_least = true});
  flags.add("max-steps", values.max_steps, "N", "updates, in place of --epochs", {1, most});
  flags.add("learning-rate", values.learning_rate, "X", "the highest, after the warm-up",
            {.least = 0});
  flags.choice("lr-schedule", values.lr_schedule, {"cosine", "linear", "constant"},
               "how the learning rate falls");
  flags.add("warmup-steps", values.warmup_steps, "N", "updates until the full rate", {0, most});
  flags.add("warmup-ratio", values.warmup_ratio, "R", "the same as a share of all updates", {0, 1});
  add_optimizer_flags(flags, values);
  flags.add("max-grad-norm", values.max_grad_norm, "X", "clip gradients; 0: never", {.least = 0});
  flags.add("gradient-checkpointing", values.gradient_checkpointing,
            "less memory for about a third more time; the same result");
  flags.add("seed", values.seed, "N", "of the adapter's start, the order and dropout", {0, most});
}

void add_run_flags(Flags& flags, TrainFlags& values) {
  flags.group("Run");
  flags.add("out", values.out, "DIR", "where everything is written, and nowhere else");
  flags.add("eval-steps", values.eval_steps, "N", "validate every N updates; 0: at the end",
            {0, most});
  flags.add("early-stop", values.early_stop, "N",
            "stop after N validations without a lower loss; 0: never", {0, most});
  flags.add("keep-best", values.keep_best,
            "the result has the weights of the best validation, not the last ones");
  flags.add("save-steps", values.save_steps, "N", "a checkpoint every N updates; 0: at the end",
            {0, most});
  flags.add("keep", values.keep, "N", "how many checkpoints stay, besides the best", {2, most});
  flags.add("resume", values.resume, "continue the run in --out from its newest checkpoint");
  flags.add("overwrite", values.overwrite, "replace the run in --out");
  flags.add("dry-run", values.dry_run, "check everything and print the plan; write nothing");
  flags.add("json", values.json, "print the result as one JSON object");
  flags.config_file();
  flags.rivals("epochs", "max-steps");
  flags.rivals("warmup-steps", "warmup-ratio");
  flags.rivals("resume", "overwrite");
  for (const char* name : {"resume", "overwrite", "dry-run", "json"})
    flags.not_a_setting(name);
}

/// Ids, or "MODULE=IDS; MODULE=IDS".
peft::TokenIndices token_indices(const std::string& text) {
  peft::TokenIndices tokens;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(';', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const size_t equals = part.find('=');
    const std::vector<std::string> names = split(part.substr(0, equals == part.npos ? 0 : equals));
    std::vector<int64_t> ids;
    for (const std::string& word : split(part.substr(equals == part.npos ? 0 : equals + 1))) {
      const auto [stop, error] =
          std::from_chars(word.data(), word.data() + word.size(), ids.emplace_back());
      if (error != std::errc() || stop != word.data() + word.size())
        ids.back() = -1;
    }
    const bool is_list = equals == part.npos && end == text.size() && tokens.empty();
    GRAFT_CHECK(!ids.empty() && std::ranges::min(ids) >= 0 && (is_list || names.size() == 1),
                ConfigError, "train: --trainable-token-indices is '", text,
                "', expected ids with commas between, e.g. 32000,32001, or "
                "'embed_tokens=32000,32001; lm_head=32000'");
    tokens.emplace_back(is_list ? "" : names[0], std::move(ids));
    begin = end + 1;
  }
  return tokens;
}

/// As the flag spells it.
std::string spelled(const peft::TokenIndices& tokens) {
  std::string text;
  for (const auto& [module, ids] : tokens) {
    text += (text.empty() ? "" : "; ") + module + (module.empty() ? "" : "=");
    for (size_t i = 0; i < ids.size(); ++i)
      text += (i == 0 ? "" : ",") + std::to_string(ids[i]);
  }
  return text;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names)
    text += (text.empty() ? "" : ",") + name;
  return text;
}

/// As a flag says them; a list in the order of the alphabet, as its order means nothing.
std::string spelled(const peft::Targets& targets) {
  std::string text;
  std::vector<std::string> names = targets.names();
  switch (targets.kind()) {
    case peft::Targets::Kind::unset:
      return "";
    case peft::Targets::Kind::all_linear:
      return "all-linear";
    case peft::Targets::Kind::regex:
      return "re:" + targets.pattern();
    case peft::Targets::Kind::list:
      std::ranges::sort(names);
      for (const std::string& name : names)
        text += (text.empty() ? "" : ",") + name;
  }
  return text;
}

/// Gives a setting the value that the adapter which --adapter continues has. Throws where the flag
/// says something else; one in a config file gives way to an --adapter on the command line.
template <class T>
void take_over(const Flags& flags, std::string_view name, T& value, const T& asked, const T& own) {
  const bool gives_way =
      !flags.given(name) || (flags.typed("adapter") && !flags.typed(name)) || asked == own;
  GRAFT_CHECK(gives_way, ConfigError, std::boolalpha, flags.where(name), " is '", asked,
              "', but the adapter that --adapter continues has '", own,
              "', which cannot be changed: leave --", name, " out");
  value = own;
}

/// What is set of an adapter is what the one to be continued has.
void take_over_adapter(const Flags& flags, TrainFlags& values) {
  const AdapterName from = *adapter_of(values.model);
  GRAFT_CHECK(from.name == AdapterName{}.name, ConfigError, flags.where("adapter"), " is '",
              from.name, "=", from.folder.string(),
              "': names tell several adapters apart, and one is trained; give --adapter ",
              from.folder.string());
  const peft::LoraConfig own = peft::read_lora_config(from.folder / "adapter_config.json");
  GRAFT_CHECK(!own.alora_invocation_tokens, ConfigError, flags.where("adapter"), " is '",
              from.folder.string(),
              "', which is invoked by tokens (alora_invocation_tokens); graft uses such adapters "
              "and does not train them");
  const auto take = [&](std::string_view name, auto& value, const auto& theirs) {
    take_over(flags, name, value, value, theirs);
  };
  take("lora-r", values.lora_r, own.r);
  take("lora-alpha", values.lora_alpha, own.lora_alpha);
  take("lora-dropout", values.lora_dropout, own.lora_dropout);
  take("use-rslora", values.use_rslora, own.use_rslora);
  take("use-dora", values.use_dora, own.use_dora);
  take("init-lora-weights", values.init_lora_weights, peft::init_name(own));
  take("lora-bias", values.lora_bias, own.lora_bias);
  take("bias", values.bias, own.bias);
  take("ensure-weight-tying", values.ensure_weight_tying, own.ensure_weight_tying);
  take_over(flags, "modules-to-save", values.modules_to_save, joined(split(values.modules_to_save)),
            joined(own.modules_to_save));
  take_over(flags, "trainable-token-indices", values.trainable_token_indices,
            spelled(token_indices(values.trainable_token_indices)),
            spelled(own.trainable_token_indices));
  const auto take_targets = [&](std::string_view name, std::string& value,
                                const peft::Targets& theirs) {
    take_over(flags, name, value, spelled(targets_of(value)), spelled(theirs));
  };
  take_targets("target-modules", values.target_modules, own.target_modules);
  take_targets("exclude-modules", values.exclude_modules, own.exclude_modules);
}

/// Names a start that there is; flags of another start are set aside.
void settle_init(Flags& flags, const TrainFlags& values) {
  if (values.is_full())
    return;
  try {
    peft::parse_lora_init(values.init_lora_weights);
  } catch (const ConfigError& error) {
    throw ConfigError(concat(flags.where("init-lora-weights"), ": ", error.what()));
  }
  constexpr std::array<std::pair<const char*, const char*>, 3> owners{
      {{"eva-rho", "eva"}, {"eva-tau", "eva"}, {"loftq-iter", "loftq"}}};
  for (const auto& [flag, init] : owners)
    if (values.init_lora_weights != init)
      flags.set_aside(flag, "init-lora-weights",
                      concat("is for --init-lora-weights ", init, ", but that is '",
                             values.init_lora_weights, "'; leave it out"));
  GRAFT_CHECK(values.init_lora_weights != "loftq" || values.model.quant != "none", ConfigError,
              "train: --init-lora-weights loftq makes up for what weights lose in 4 bits, but "
              "--quant is none; give --quant nf4 or fp4");
  GRAFT_CHECK(!values.subtract_mutated_init || peft::takes_from_base(lora_config(values)),
              ConfigError,
              "train: --subtract-mutated-init is for --init-lora-weights pissa and olora, which "
              "take a part out of the model, but that is '",
              values.init_lora_weights, "'; leave it out");
}

void check_validation_flags(const TrainFlags& values) {
  const bool validates = !values.validation_data.empty() || values.validation_split.value_or(0) > 0;
  GRAFT_CHECK(validates || values.eval_steps == 0, ConfigError,
              "train: --eval-steps needs validation data: give --val-data or --val-split");
  GRAFT_CHECK(values.early_stop == 0 || (validates && values.eval_steps > 0), ConfigError,
              "train: --early-stop needs validations to count: give --val-data or --val-split, and "
              "--eval-steps");
  GRAFT_CHECK(!values.keep_best || (validates && values.eval_steps > 0), ConfigError,
              "train: --keep-best needs validations to choose among: give --val-data or "
              "--val-split, and --eval-steps");
}

}  // namespace

OutPolicy TrainFlags::out_policy() const {
  if (resume)
    return OutPolicy::resume;
  return overwrite ? OutPolicy::overwrite : OutPolicy::must_be_empty;
}

void add_train_flags(Flags& flags, TrainFlags& values) {
  add_model_flags(flags, values.model, "train this LoRA adapter further, in place of a new one");
  add_data_flags(flags, values.data);
  add_validation_flags(flags, values);
  add_method_flags(flags, values);
  add_loop_flags(flags, values);
  add_run_flags(flags, values);
  flags.examples({
      "graft train --model MODEL --data train.jsonl --out my-adapter",
      "graft train --model MODEL --data train.jsonl --val-split 0.1 --out my-adapter",
      "graft train --resume --out my-adapter",
      "graft train --config my-adapter/run.toml --learning-rate 1e-4 --out another",
  });
}

void use_data_folder(TrainFlags& values) {
  const bool chosen = !values.validation_data.empty() || values.validation_split.has_value();
  if (!chosen && text::find_data_file(values.data.path, text::DataPart::valid))
    values.validation_data = values.data.path;
}

void settle_train_flags(Flags& flags, TrainFlags& values) {
  flags.require("data", "the training data, e.g. a .jsonl file");
  flags.require("out", "a folder for the adapter and the log");
  check_target_flags(flags, values.target_modules, values.exclude_modules);
  token_indices(values.trainable_token_indices);
  const bool from_adapter = !values.model.adapters.empty();
  GRAFT_CHECK(!from_adapter || !values.is_full(), ConfigError,
              "train: --adapter continues an adapter and --method full trains none; give one");
  GRAFT_CHECK(!values.is_full() || values.model.quant == "none", ConfigError, "train: --quant ",
              values.model.quant,
              " holds weights in 4 bits, which cannot be trained, but --method full trains all "
              "weights; leave one of them out");
  for (const std::string_view flag : lora_flags)
    if (values.is_full())
      flags.set_aside(flag, "method", "describes an adapter, but --method full trains none");
  if (from_adapter)
    take_over_adapter(flags, values);
  settle_init(flags, values);
  check_lora_optimizers(values);
  check_validation_flags(values);
  settle_betas(flags, values);
}

peft::LoraConfig lora_config(const TrainFlags& values) {
  peft::LoraConfig config;
  config.r = values.lora_r;
  config.target_modules = targets_of(values.target_modules);
  config.exclude_modules = targets_of(values.exclude_modules);
  config.lora_alpha = values.lora_alpha;
  config.lora_dropout = values.lora_dropout;
  config.use_rslora = values.use_rslora;
  config.use_dora = values.use_dora;
  config.init_lora_weights = peft::parse_lora_init(values.init_lora_weights);
  config.pissa_niter = peft::parse_pissa_niter(values.init_lora_weights);
  if (config.init_lora_weights == peft::LoraInit::eva)
    config.eva_config = peft::EvaConfig{.rho = values.eva_rho, .tau = values.eva_tau};
  if (config.init_lora_weights == peft::LoraInit::loftq)
    config.loftq_config = peft::LoftQConfig{.loftq_iter = values.loftq_iter};
  config.lora_bias = values.lora_bias;
  config.bias = values.bias;
  config.modules_to_save = split(values.modules_to_save);
  config.trainable_token_indices = token_indices(values.trainable_token_indices);
  config.ensure_weight_tying = values.ensure_weight_tying;
  config.task_type = "CAUSAL_LM";
  config.base_model_name_or_path = values.model.model;
  return config;
}

train::TrainOptions train_options(const TrainFlags& values) {
  return {.batch_size = values.batch_size,
          .grad_accum = values.grad_accum,
          .max_steps = values.max_steps.value_or(0),
          .epochs = values.epochs.value_or(1),
          .lr_schedule = optim::parse_schedule(values.lr_schedule),
          .warmup_steps = values.warmup_steps.value_or(0),
          .warmup_ratio = values.warmup_ratio.value_or(0),
          .max_grad_norm = values.max_grad_norm,
          .eval_steps = values.eval_steps,
          .early_stop = values.early_stop,
          .keep_best = values.keep_best,
          .save_steps = values.save_steps,
          .seed = static_cast<uint64_t>(values.seed),
          .shuffle = !values.no_shuffle,
          .row_tokens = values.packing ? values.data.max_seq_len : 0,
          .gradient_checkpointing = values.gradient_checkpointing};
}

}  // namespace graft::cli
