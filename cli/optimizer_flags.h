// The flags of `graft train` that describe the optimizer, and the optimizer they stand for.
#pragma once

#include <memory>
#include <vector>

#include "graft/cli/train_flags.h"
#include "graft/optim/optimizer.h"
#include "graft/peft/peft_model.h"

namespace graft::cli {

/// Declares --optim, --weight-decay, --adam-betas and those of LoRA+.
void add_optimizer_flags(Flags& flags, TrainFlags& values);

/// Gives --adam-betas the values of the optimizer where none are given. Throws ConfigError where it
/// has none, and where they are no betas.
void settle_betas(Flags& flags, TrainFlags& values);

/// Throws ConfigError where what steps the parts of an adapter lacks what it needs.
void check_lora_optimizers(const TrainFlags& values);

/// The optimizer of --optim over these parameters; not lorafa.
std::unique_ptr<optim::Optimizer> make_optimizer(const TrainFlags& values,
                                                 std::vector<NamedVariable> parameters);
/// The optimizer of --optim over what an adapter trains, with LoRA+ where it is asked for. Freezes
/// A for lorafa.
std::unique_ptr<optim::Optimizer> make_optimizer(const TrainFlags& values, peft::PeftModel& model);

}  // namespace graft::cli
