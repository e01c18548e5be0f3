#include "graft/cli/optimizer_flags.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "graft/cli/word_list.h"
#include "graft/optim/adamw.h"
#include "graft/optim/adamw8bit.h"
#include "graft/optim/lion.h"
#include "graft/optim/sgd.h"
#include "graft/tensor/error.h"
#include "graft/train/lora_optimizers.h"

namespace graft::cli {
namespace {

/// Optimizers that transformers' --optim calls otherwise. A paged one is the same, but that its
/// state may move between a GPU and the processor's memory.
const std::vector<std::pair<std::string_view, std::string_view>> names_elsewhere = {
    {"adamw_torch", "adamw"},          {"adamw_torch_fused", "adamw"},
    {"paged_adamw", "adamw"},          {"paged_adamw_32bit", "adamw"},
    {"adamw_8bit", "adamw8bit"},       {"adamw_bnb_8bit", "adamw8bit"},
    {"paged_adamw_8bit", "adamw8bit"}, {"lion_32bit", "lion"},
    {"paged_lion_32bit", "lion"},
};

std::pair<double, double> betas(const std::string& text) {
  const std::vector<double> values = split_numbers(text).value_or(std::vector<double>());
  const auto fits = [](double value) { return value >= 0 && value < 1; };
  GRAFT_CHECK(values.size() == 2 && std::ranges::all_of(values, fits), ConfigError,
              "train: --adam-betas is '", text,
              "', expected two numbers in [0, 1) with a comma between, e.g. 0.9,0.999");
  return {values[0], values[1]};
}

}  // namespace

void add_optimizer_flags(Flags& flags, TrainFlags& values) {
  flags.choice("optim", values.optim, {"adamw", "adamw8bit", "lion", "lorafa", "sgd"},
               "the optimizer; adamw8bit: AdamW with a quarter of the state; lorafa: AdamW with A "
               "frozen, for adapters");
  flags.synonyms("optim", names_elsewhere);
  flags.add("weight-decay", values.weight_decay, "X",
            "weight decay as torch's, over all that is trained: with --method full norms and "
            "biases too",
            {.least = 0});
  flags.add("adam-betas", values.adam_betas, "B1,B2",
            "of adamw, adamw8bit and lorafa, default: 0.9,0.999, and of lion, default: 0.9,0.99");
  flags.add("loraplus-lr-ratio", values.loraplus_lr_ratio, "X",
            "LoRA+: the learning rate of B is X times that of A",
            {.least = 0, .above_least = true});
  flags.add("loraplus-lr-embedding", values.loraplus_lr_embedding, "X",
            "with it, the learning rate of adapters on embeddings, default: 1e-6", {.least = 0});
}

void settle_betas(Flags& flags, TrainFlags& values) {
  if (values.optim == "sgd") {
    flags.set_aside("adam-betas", "optim",
                    "is for adamw and lion, but --optim is sgd; leave it out");
    return;
  }
  if (!values.adam_betas)
    values.adam_betas = values.optim == "lion" ? "0.9,0.99" : "0.9,0.999";
  GRAFT_CHECK(!values.adam_betas->empty(), ConfigError, flags.where("adam-betas"),
              " is empty, expected two numbers with a comma between");
  betas(*values.adam_betas);
}

std::unique_ptr<optim::Optimizer> make_optimizer(const TrainFlags& values,
                                                 std::vector<NamedVariable> parameters) {
  if (values.optim == "sgd")
    return std::make_unique<optim::Sgd>(
        std::move(parameters),
        optim::SgdOptions{.lr = values.learning_rate, .weight_decay = values.weight_decay});
  const auto [beta1, beta2] = betas(*values.adam_betas);
  if (values.optim == "lion")
    return std::make_unique<optim::Lion>(std::move(parameters),
                                         optim::LionOptions{.lr = values.learning_rate,
                                                            .beta1 = beta1,
                                                            .beta2 = beta2,
                                                            .weight_decay = values.weight_decay});
  const optim::AdamWOptions options{.lr = values.learning_rate,
                                    .beta1 = beta1,
                                    .beta2 = beta2,
                                    .weight_decay = values.weight_decay};
  if (values.optim == "adamw8bit")
    return std::make_unique<optim::AdamW8bit>(std::move(parameters), options);
  return std::make_unique<optim::AdamW>(std::move(parameters), options);
}

void check_lora_optimizers(const TrainFlags& values) {
  const bool is_lorafa = values.optim == "lorafa";
  GRAFT_CHECK(!is_lorafa || !values.is_full(), ConfigError,
              "train: --optim lorafa steps the B matrices of an adapter, but --method full trains "
              "none; give another optimizer");
  GRAFT_CHECK(!is_lorafa || !values.loraplus_lr_ratio, ConfigError,
              "train: --loraplus-lr-ratio is about the learning rates of A and B, but --optim "
              "lorafa does not train A; give one of them");
  GRAFT_CHECK(values.loraplus_lr_ratio || !values.loraplus_lr_embedding, ConfigError,
              "train: --loraplus-lr-embedding belongs to LoRA+: give --loraplus-lr-ratio, too");
}

std::unique_ptr<optim::Optimizer> make_optimizer(const TrainFlags& values, peft::PeftModel& model) {
  if (values.optim == "lorafa") {
    optim::AdamWOptions options = optim::LoraFa::defaults;
    options.lr = values.learning_rate;
    std::tie(options.beta1, options.beta2) = betas(*values.adam_betas);
    options.weight_decay = values.weight_decay;
    return train::make_lorafa(model, options);
  }
  auto optimizer = make_optimizer(values, model.trainable_parameters());
  if (values.loraplus_lr_ratio)
    train::set_loraplus(*optimizer, model,
                        {.lr_ratio = *values.loraplus_lr_ratio,
                         .lr_embedding = values.loraplus_lr_embedding.value_or(
                             train::LoraPlusOptions{}.lr_embedding)});
  return optimizer;
}

}  // namespace graft::cli
