#include "graft/text/vocabulary.h"

#include <algorithm>

#include "graft/tensor/error.h"

namespace graft::text {

Vocabulary::Vocabulary(std::vector<std::pair<std::string, int64_t>> tokens, std::string_view file) {
  int64_t limit = 0;
  for (const auto& [token, id] : tokens) {
    if (id < 0 || id >= max_ids)
      throw FormatError(file, -1,
                        concat("token '", token, "' has id ", id, ", expected 0 to ", max_ids - 1));
    limit = std::max(limit, id + 1);
  }
  if (limit - static_cast<int64_t>(tokens.size()) > max_gaps)
    throw FormatError(
        file, -1,
        concat("ids go up to ", limit - 1, ", but there are only ", tokens.size(), " tokens"));
  tokens_.resize(static_cast<size_t>(limit));
  std::vector<bool> taken(static_cast<size_t>(limit));
  ids_.reserve(tokens.size());
  for (auto& [token, id] : tokens) {
    const auto index = static_cast<size_t>(id);
    if (taken[index])
      throw FormatError(
          file, -1, concat("tokens '", tokens_[index], "' and '", token, "' both have id ", id));
    taken[index] = true;
    tokens_[index] = std::move(token);
    if (!ids_.emplace(tokens_[index], static_cast<int32_t>(id)).second)
      throw FormatError(file, -1, concat("token '", tokens_[index], "' is there twice"));
  }
}

int32_t Vocabulary::find(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? none : found->second;
}

const std::string* Vocabulary::token(int64_t id) const {
  if (id < 0 || id >= id_limit())
    return nullptr;
  const std::string& token = tokens_[static_cast<size_t>(id)];
  return token.empty() && find(token) != id ? nullptr : &token;
}

}  // namespace graft::text
