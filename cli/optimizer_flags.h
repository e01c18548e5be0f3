// The flags of `graft train` that describe the optimizer, and the optimizer they stand for.
#pragma once

#include <memory>
#include <vector>

#include "graft/cli/train_flags.h"
#include "graft/optim/optimizer.h"

namespace graft::cli {

/// Declares --optim, --weight-decay and --adam-betas.
void add_optimizer_flags(Flags& flags, TrainFlags& values);

/// Gives --adam-betas the values of the optimizer where none are given. Throws ConfigError where it
/// has none, and where they are no betas.
void settle_betas(Flags& flags, TrainFlags& values);

/// The optimizer of --optim over these parameters.
std::unique_ptr<optim::Optimizer> make_optimizer(const TrainFlags& values,
                                                 std::vector<NamedVariable> parameters);

}  // namespace graft::cli
