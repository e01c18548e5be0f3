// A file of prompts: lines of text, or the records of a data file, with their answers or without.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "graft/text/prompt.h"

namespace graft::text {

struct PromptFileOptions {
  /// Each record must have its answer, which becomes Prompt::reference. There are no lines of text
  /// then.
  bool with_reference = false;
  /// Names of a file's own keys by the names graft knows: {"prompt", "query"}.
  std::map<std::string, std::string> columns = {};
  /// How many are read.
  std::optional<int64_t> limit = std::nullopt;
  /// A prompt has fewer tokens than this, so that there is room for an answer; 0: no limit.
  int64_t positions = 0;
};

/// The prompts of a file and what its records are; nothing for lines of text.
struct PromptFile {
  std::vector<Prompt> prompts;
  std::optional<RecordFormat> format;
};

/// A .jsonl or .json file holds records that ask something, all of the kind of the first one; of
/// another file each line that is not blank is a prompt. Throws FormatError with file and line for
/// a record that asks nothing, is of another kind, lacks an answer that is wanted or leaves no room
/// for one, and where there is no prompt at all; ConfigError, IoError.
PromptFile read_prompts(const std::filesystem::path& path, const Prompter& prompter,
                        const PromptFileOptions& options = {});

/// Throws ConfigError where there is nothing to continue, or where a model with so many positions
/// has none left for an answer.
void check_prompt(const std::vector<int64_t>& ids, int64_t positions);

}  // namespace graft::text
