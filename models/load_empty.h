// A model on disk without its numbers, for who wants to know what modules it has and how it is
// configured.
#pragma once

#include <filesystem>
#include <memory>

#include "graft/nn/causal_lm.h"

namespace graft::models {

/// The model at `path` as load() makes it, its parameters without numbers. Reads configuration and
/// headers, and throws as load() does.
std::unique_ptr<nn::CausalLM> load_without_numbers(const std::filesystem::path& path);

}  // namespace graft::models
