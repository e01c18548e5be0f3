// graft data preview.
#pragma once

#include "graft/cli/data_verb.h"
#include "graft/cli/exit_code.h"

namespace graft::cli {

/// Prints the first samples with their tokens, those that are learnt marked.
ExitCode preview_data(const DataVerb& verb);

}  // namespace graft::cli
