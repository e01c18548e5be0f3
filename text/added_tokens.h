// Added tokens: texts that are one token wherever they stand, found before anything else is done to
// the input ("<|im_start|>").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "graft/text/byte_range.h"

namespace graft::text {

struct AddedToken {
  std::string content;
  int64_t id = 0;
  /// Found only where no word character stands next to it.
  bool single_word = false;
  /// Takes the white space before (behind) it into the token.
  bool lstrip = false;
  bool rstrip = false;
  /// Looked for in the normalised text, in its own normalised form.
  bool normalized = false;
  /// Left out when special tokens are skipped.
  bool special = false;
};

/// Finds a set of texts in others: the longest that begins at the leftmost place, again and again.
class AddedTokenFinder {
 public:
  /// Longest text to look for, and all of them together, in bytes; they bound the time and the
  /// memory that a hostile file can ask for.
  static constexpr size_t max_length = 1024;
  static constexpr size_t max_total_length = size_t{1} << 21;

  /// `text`, not empty, stands for `token`, which must outlive the finder. Throws ConfigError where
  /// it is too long or there are too many.
  void add(std::string_view text, const AddedToken& token);
  bool empty() const { return nodes_.size() == 1; }

  /// A part of a text: an added token, or nullptr for what lies between.
  struct Part {
    const AddedToken* token = nullptr;
    ByteRange range;
  };
  /// The parts of a valid text, in order and none of them empty; they cover it.
  std::vector<Part> split(std::string_view text) const;

 private:
  struct Node {
    std::unordered_map<char, uint32_t> children;
    const AddedToken* token = nullptr;
  };
  Part longest_at(std::string_view text, uint32_t begin) const;

  std::vector<Node> nodes_ = std::vector<Node>(1);
};

}  // namespace graft::text
