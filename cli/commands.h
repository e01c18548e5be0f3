// The verbs of the command. Each lives in a file of its name and is run with what follows it on the
// command line; what it throws is an error message and an exit code, see exit_code.h.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/cli/exit_code.h"

namespace graft::cli {

using Arguments = std::span<const std::string>;

ExitCode run_train(Arguments arguments);
ExitCode run_data(Arguments arguments);
ExitCode run_generate(Arguments arguments);
ExitCode run_chat(Arguments arguments);
ExitCode run_eval(Arguments arguments);
ExitCode run_logits(Arguments arguments);
ExitCode run_merge(Arguments arguments);
ExitCode run_combine(Arguments arguments);
ExitCode run_diff(Arguments arguments);
ExitCode run_extract(Arguments arguments);
ExitCode run_quantize(Arguments arguments);
ExitCode run_convert(Arguments arguments);
ExitCode run_inspect(Arguments arguments);
ExitCode run_doctor(Arguments arguments);

struct Verb {
  std::string_view name;
  std::string_view summary;
  ExitCode (*run)(Arguments arguments);
};

/// All verbs, in the order of the help.
std::span<const Verb> verbs();
/// Their names.
std::vector<std::string> verb_names();

/// Runs the whole command: argv without the program's name. Prints errors to stderr and returns
/// the exit code.
ExitCode run_command(Arguments arguments);

}  // namespace graft::cli
