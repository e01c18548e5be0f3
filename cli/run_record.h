// run.json: what a run was made of and what came out, so that it can be understood and repeated.
#pragma once

#include <optional>
#include <string>

#include "graft/cli/flags.h"
#include "graft/cli/run_folder.h"
#include "graft/cli/train_setup.h"
#include "graft/train/trainer.h"

namespace graft::cli {

/// How a run ended.
struct RunOutcome {
  train::RunResult result;
  std::optional<train::Evaluation> before;  ///< validation before the first step
  std::optional<train::Evaluation> after;   ///< validation of the weights that were written
  double training_seconds = 0;              ///< without evaluations and saving
  std::vector<std::string> files;           ///< what was written, relative to --out

  double tokens_per_second() const {
    const auto tokens = static_cast<double>(result.input_tokens);
    return training_seconds > 0 ? tokens / training_seconds : 0;
  }
};

/// "completed", "early_stopped", "stopped".
std::string name(train::RunEnd end);

/// The plan of a run as JSON: model, data, steps, and the adapted modules of an adapter.
io::Json plan_json(const TrainFlags& values, TrainSetup& setup);
/// The result of a run as JSON.
io::Json outcome_json(const RunOutcome& outcome);

/// Writes run.json and run.toml, the settings as a --config file with absolute paths; `before` is
/// the validation before the first step. Without `outcome`: the run has begun. Throws IoError.
void write_run_record(const RunFolder& folder, const Flags& flags, const TrainFlags& values,
                      TrainSetup& setup, const std::optional<train::Evaluation>& before,
                      const RunOutcome* outcome);

/// The validation before the first step of the run that is continued, from its run.json. Nothing
/// where that does not say.
std::optional<train::Evaluation> recorded_validation_before(const std::filesystem::path& folder);

/// The result in the run.json of a run that came to its end; null where there is none.
io::Json recorded_result(const std::filesystem::path& folder);

/// --model as the run was first given it, where that still names the same as `path`: it stands in
/// the adapter's files, which are not to change with a run that is continued. Else `path`.
std::string recorded_model_path(const std::filesystem::path& folder, const std::string& path);

}  // namespace graft::cli
