// How to go on after a run that failed or is finished: commands to type, for the end of a message.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "graft/cli/train_flags.h"

namespace graft::cli {

/// What names the model that the adapter of a run is for: "--model MODEL --quant nf4".
std::string base_flags(const TrainFlags& values);

/// After a loss or a gradient that is not finite. `saved_step` is that of the newest checkpoint.
std::string after_non_finite(const TrainFlags& values, std::optional<int64_t> saved_step);

/// After memory ran out.
std::string after_out_of_memory(const TrainFlags& values, std::optional<int64_t> saved_step);

/// Where a run that has ended is to be resumed: what would make it longer. `step` is its last one.
std::string after_finished(const TrainFlags& values, int64_t step, int64_t total_steps);

}  // namespace graft::cli
