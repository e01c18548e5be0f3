// AnswerMatch: when an answer counts as the one that was expected, as lm-eval's exact_match says
// it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graft/text/regex.h"

namespace graft::text {

struct AnswerMatchOptions {
  /// Only what the pattern finds first is compared: its first group, or all of the match where it
  /// has none. Empty: the whole text.
  std::string answer_pattern = {};
  /// What these patterns find is taken out.
  std::vector<std::string> ignored_patterns = {};
  bool ignore_case = false;
  /// ASCII punctuation is taken out.
  bool ignore_punctuation = false;
};

/// Texts are equal where what is compared of them is, byte for byte. Safe to use from several
/// threads.
class AnswerMatch {
 public:
  /// Throws ConfigError where a pattern is none.
  explicit AnswerMatch(const AnswerMatchOptions& options);

  /// What is compared of a valid text: what the answer's pattern finds, without what is ignored (in
  /// the order patterns, case, punctuation) and without white space around it. Nothing where the
  /// answer's pattern finds nothing. Throws ConfigError where a pattern takes too many steps.
  std::optional<std::string> compared(std::string_view text) const;

 private:
  std::optional<Regex> answer_;
  std::vector<Regex> ignored_;
  bool ignore_case_;
  bool ignore_punctuation_;
};

}  // namespace graft::text
