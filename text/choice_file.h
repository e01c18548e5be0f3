// Multiple choice: questions with several answers of which one is right, and the samples whose
// losses say which of them a model finds likeliest.
//
// Prompt and choice are made into tokens by the convention of lm-eval. A choice follows its context
// behind a delimiter; blanks at the end of the context belong to the choice; the tokens of the
// choice are those of both together without the first ones, as many as the context has alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graft/text/prompt.h"
#include "graft/text/sample.h"

namespace graft::text {

struct ChoiceQuestion {
  std::string context;  ///< what the model reads before each choice
  std::vector<std::string> choices;
  size_t gold = 0;   ///< which choice is right
  size_t first = 0;  ///< the sample of its first choice; those of the others follow
  int64_t line = 0;
};

struct ChoiceFileOptions {
  /// Names of a file's own keys by the names graft knows: {"choices", "endings"}.
  std::map<std::string, std::string> columns = {};
  /// How many questions are read.
  std::optional<int64_t> limit = std::nullopt;
  /// Stands between context and choice. Default: a space, nothing behind a chat template.
  std::optional<std::string> delimiter = std::nullopt;
};

struct ChoiceFile {
  std::vector<ChoiceQuestion> questions;
  /// One for each choice: the choice's tokens have labels, those of the context none.
  std::vector<Sample> samples;
};

/// Reads a file of records with a question ("question", "query", "prompt", "context" or
/// "messages"), "choices" (a list of texts, or {"text", "label"} with a list of each) and the right
/// one
/// ("answer", "gold", "label" or "answerKey": its number from 0, its letter or label, or its text).
/// Throws FormatError with file and line, ConfigError, IoError.
ChoiceFile read_choices(const std::filesystem::path& path, const Tokenizer& tokenizer,
                        const Prompter& prompter, const ChoiceFileOptions& options = {});

/// `continuation` behind `context` as a sample in which the continuation is learnt. Where the
/// context has no tokens, bos (else eos) stands for it. Throws ConfigError where there is neither,
/// or where the continuation has no token of its own.
Sample continuation_sample(const Tokenizer& tokenizer, std::string_view context,
                           std::string_view continuation);

}  // namespace graft::text
