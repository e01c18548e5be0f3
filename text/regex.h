// Regular expressions with Unicode classes, and with limits that end hostile patterns in an error.
//
// Patterns may come from files (tokenizer.json) and from flags (--target-modules re:...): a match
// that needs too many steps or too much memory throws instead of hanging. Runs on PCRE2, compiled
// to machine code where the platform can. Safe to use from several threads.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graft/text/byte_range.h"

namespace graft::text {

/// One match: where it is, and where its capture groups are.
struct RegexMatch {
  ByteRange range;
  /// groups[0] is capture group 1; nothing where the group took no part in the match.
  std::vector<std::optional<ByteRange>> groups;
};

class Regex {
 public:
  /// Throws ConfigError with the pattern, the byte offset in it and what is wrong.
  explicit Regex(std::string_view pattern);
  ~Regex();
  Regex(Regex&& other) noexcept;
  Regex& operator=(Regex&& other) noexcept;

  // The functions below throw ConfigError where a match exceeds the limits, or where `text` is not
  // valid UTF-8.

  /// True where the pattern matches the whole of `text`.
  bool full_match(std::string_view text) const;
  /// The first match that begins at byte `from` or later. `from` is the start of a character;
  /// look-behinds see the bytes before it.
  std::optional<RegexMatch> search(std::string_view text, size_t from = 0) const;
  /// All matches from left to right that do not overlap. An empty match is left out only where it
  /// directly follows another match.
  std::vector<ByteRange> find_all(std::string_view text) const;

  const std::string& pattern() const { return pattern_; }

 private:
  struct Code;
  std::string pattern_;
  std::unique_ptr<Code> code_;
};

/// A function (pattern, name) -> does the pattern match the whole name, as Python's re.fullmatch
/// says it. Each pattern is compiled once. Throws as Regex does. Safe to use from several threads.
std::function<bool(const std::string& pattern, const std::string& name)> full_matcher();

}  // namespace graft::text
