// Vocabulary: the tokens of a model by id, and back.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace graft::text {

class Vocabulary {
 public:
  static constexpr int32_t none = -1;
  /// Ids lie below this; it bounds the memory that a hostile file can ask for.
  static constexpr int64_t max_ids = int64_t{1} << 24;
  static constexpr int64_t max_gaps = int64_t{1} << 20;

  Vocabulary() = default;
  /// Throws FormatError, naming `file`, where an id or a token stands twice, an id is not in
  /// [0, max_ids), or more than max_gaps ids have no token.
  Vocabulary(std::vector<std::pair<std::string, int64_t>> tokens, std::string_view file);
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  /// Id of a token, or `none`.
  int32_t find(std::string_view token) const;
  /// Token of an id, or nullptr.
  const std::string* token(int64_t id) const;
  /// How many tokens there are. Ids may have gaps.
  int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  /// One more than the largest id.
  int64_t id_limit() const { return static_cast<int64_t>(tokens_.size()); }

 private:
  std::vector<std::string> tokens_;  // by id; gaps are empty and not in ids_
  std::unordered_map<std::string_view, int32_t> ids_;
};

}  // namespace graft::text
