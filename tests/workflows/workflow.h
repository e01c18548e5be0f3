// What the workflow tests share: a small model, data that is tokenised already, and a short run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "graft/tensor/tensor.h"
#include "graft/tests/support/command.h"

namespace graft::test {

using Arguments = std::vector<std::string>;

/// `first` and `second` behind each other.
Arguments joined(Arguments first, const Arguments& second);

/// `graft train` of an adapter with dropout on a golden model of a few thousand numbers; steps,
/// batches and checkpoints are still to be said.
Arguments small_run(const std::filesystem::path& out);

/// That in 12 steps of two micro-batches, with validation and checkpoints: about a tenth of a
/// second.
Arguments short_run(const std::filesystem::path& out);

/// The lines of a log.jsonl without what depends on the clock and the machine.
std::vector<nlohmann::json> steps_of(const std::filesystem::path& out);

/// Fails the test, showing stderr, where the command ended with another exit code.
void check_exit(const CommandResult& result, int expected);

/// The logits (T,V) of six ids as `graft logits` writes them, with more flags.
Tensor command_logits(const TemporaryFolder& scratch, const std::filesystem::path& model,
                      const Arguments& more = {});

/// stdout as one JSON object.
nlohmann::json json_of(const CommandResult& result);

}  // namespace graft::test
