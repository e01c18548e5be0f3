// graft combine --search: measures many combinations and writes the best one.
#pragma once

#include <vector>

#include "graft/cli/combine_flags.h"
#include "graft/cli/exit_code.h"

namespace graft::cli {

/// Measures, prints what was measured, the best first, and writes the best adapter with all that
/// was measured beside it. A signal ends the search with the best one so far. Throws ConfigError as
/// search_combinations and the flags' parsers do; NonFiniteError where nothing has a loss.
ExitCode search_combination(const CombineFlags& values, const std::vector<AdapterName>& adapters);

}  // namespace graft::cli
