// Combining adapters on their model.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "graft/cli/model_flags.h"

namespace graft::cli {

/// Loads --model and puts the adapters on it, without their scales; the first one is active. Throws
/// as load_model does.
LoadedModel load_to_combine(const ModelFlags& values, std::vector<AdapterName> adapters);

/// Writes the files of an adapter into a folder that exists, whatever its name. Throws IoError.
void save_adapter(const peft::PeftModel& model, const std::string& name,
                  const std::filesystem::path& folder);

}  // namespace graft::cli
