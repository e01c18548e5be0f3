// The flags of `graft train`, and the settings of the libraries that they stand for.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graft/cli/model_flags.h"
#include "graft/cli/run_folder.h"
#include "graft/cli/training_data.h"
#include "graft/optim/optimizer.h"
#include "graft/peft/config.h"
#include "graft/train/options.h"

namespace graft::cli {

struct TrainFlags {
  ModelFlags model;
  DataFlags data;
  std::string validation_data, out;
  std::optional<double> validation_split;
  bool no_shuffle = false;
  bool packing = false;

  std::string method = "lora";
  int64_t lora_r = 16;
  double lora_alpha = 32;
  double lora_dropout = 0;
  std::string target_modules = "all-linear";
  std::string exclude_modules;
  bool use_rslora = false;
  bool use_dora = false;
  std::string init_lora_weights = "true";
  bool subtract_mutated_init = false;
  double eva_rho = 2;
  double eva_tau = 0.99;
  int64_t loftq_iter = 1;
  bool lora_bias = false;
  std::string bias = "none";
  std::string modules_to_save;
  std::string trainable_token_indices;
  bool ensure_weight_tying = false;

  int64_t batch_size = 4;
  int64_t grad_accum = 1;
  std::optional<int64_t> max_steps;
  std::optional<double> epochs;
  double learning_rate = 2e-4;
  std::string lr_schedule = "cosine";
  std::optional<int64_t> warmup_steps;
  std::optional<double> warmup_ratio;
  std::string optim = "adamw";
  double weight_decay = 0;
  std::optional<std::string> adam_betas;  ///< once settled, unset with sgd alone
  std::optional<double> loraplus_lr_ratio, loraplus_lr_embedding;
  double max_grad_norm = 1;
  bool gradient_checkpointing = false;

  int64_t eval_steps = 0;
  int64_t early_stop = 0;
  bool keep_best = false;
  int64_t save_steps = 0;
  int64_t keep = 3;

  int64_t seed = 0;
  bool resume = false;
  bool overwrite = false;
  bool dry_run = false;
  bool json = false;

  bool is_full() const { return method == "full"; }
  /// The adapter is for a model of its own, which is written to base_folder().
  bool writes_base() const {
    return model.adapters.empty() && init_lora_weights == "loftq" && loftq_iter > 1;
  }
  std::filesystem::path base_folder() const { return std::filesystem::path(out) / "base"; }
  OutPolicy out_policy() const;
};

/// Declares all of them.
void add_train_flags(Flags& flags, TrainFlags& values);

/// Where --data is a folder with a valid.jsonl and nothing else was chosen, that is the validation
/// data.
void use_data_folder(TrainFlags& values);

/// Checks the flags against each other; what describes an adapter is then what the one of --adapter
/// has. Throws ConfigError where flags are missing, contradict each other or would be ignored,
/// IoError and FormatError where that adapter cannot be read.
void settle_train_flags(Flags& flags, TrainFlags& values);

/// What --lora-r and its like say.
peft::LoraConfig lora_config(const TrainFlags& values);
/// What the Trainer is told.
train::TrainOptions train_options(const TrainFlags& values);

}  // namespace graft::cli
