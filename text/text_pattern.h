// What a tokenizer.json gives as a "pattern": {"String": "..."} or {"Regex": "..."}.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graft/io/json.h"
#include "graft/text/byte_range.h"
#include "graft/text/regex.h"

namespace graft::text {

class TextPattern {
 public:
  /// A regular expression in Oniguruma's words. Throws ConfigError.
  static TextPattern regex(std::string_view pattern);
  /// Exactly this text. An empty one matches between all characters.
  static TextPattern literal(std::string text);
  /// The member `key` of a stage. Throws FormatError with file and place.
  static TextPattern read(const io::JsonObject& stage, std::string_view key);

  /// All matches from left to right that do not overlap.
  std::vector<ByteRange> find_all(std::string_view text) const;
  /// `text` with `content` for each of them.
  std::string replaced(std::string_view text, std::string_view content) const;

 private:
  std::optional<Regex> regex_;
  std::string literal_;
};

/// A member that is one character. Throws FormatError.
std::string one_character(const io::JsonObject& stage, std::string_view key);

/// Throws FormatError where a stage of the pipeline has options that nobody has asked for: they may
/// change the ids.
void refuse_unasked_options(const io::JsonObject& stage);

}  // namespace graft::text
