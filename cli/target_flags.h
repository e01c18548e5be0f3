// --target-modules and --exclude-modules, which several verbs have.
#pragma once

#include <string>

#include "graft/cli/flags.h"
#include "graft/peft/targets.h"

namespace graft::cli {

/// Declares both. `target_modules` holds its default; `exclude_modules` is empty for none.
void add_target_flags(Flags& flags, std::string& target_modules, std::string& exclude_modules);

/// Throws ConfigError where one names no module, or is a regular expression that is none.
void check_target_flags(const Flags& flags, const std::string& target_modules,
                        const std::string& exclude_modules);

/// What such a text says: "all-linear", "q_proj,v_proj" or "re:.*_proj"; unset where it is empty.
peft::Targets targets_of(const std::string& text);

}  // namespace graft::cli
