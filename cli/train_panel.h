// What `graft train` says before and after a run.
#pragma once

#include <string>

#include "graft/cli/run_record.h"
#include "graft/cli/terminal.h"
#include "graft/cli/train_setup.h"

namespace graft::cli {

/// The start panel: model, data, batch, steps, numbers, folder.
std::string start_panel(const TrainFlags& values, TrainSetup& setup, const Terminal& terminal);
/// The adapted modules with rank, scale and parameters, one line for each kind.
std::string module_table(TrainSetup& setup, const Terminal& terminal);
/// The end summary, with the next command to type.
std::string end_summary(const TrainFlags& values, const TrainSetup& setup,
                        const RunOutcome& outcome, const Terminal& terminal);

}  // namespace graft::cli
