// graft data check.
#pragma once

#include "graft/cli/data_verb.h"
#include "graft/cli/exit_code.h"

namespace graft::cli {

/// Reads every file to its end and lists all faults. bad_input where there is one.
ExitCode check_data(const DataVerb& verb);

}  // namespace graft::cli
