#include "graft/text/scored_merges.h"

#include <algorithm>
#include <unordered_map>

#include "graft/tensor/error.h"

namespace graft::text {
namespace {

// A vocabulary of 256,000 tokens takes 3e7; this many take seconds.
constexpr size_t max_work = size_t{1} << 30;

/// A token that can be cut into two others. Indices of tokens.
struct Cut {
  size_t token = 0;
  size_t left = 0;
  size_t right = 0;
};

std::vector<Cut> find_cuts(const std::vector<std::string_view>& tokens, std::string_view file) {
  std::unordered_map<std::string_view, size_t> indices;
  indices.reserve(tokens.size());
  for (size_t token = 0; token < tokens.size(); ++token)
    indices.emplace(tokens[token], token);
  std::vector<Cut> cuts;
  size_t work = 0;
  for (size_t token = 0; token < tokens.size(); ++token) {
    const std::string_view text = tokens[token];
    work += text.size() * text.size();
    if (text.size() > max_piece_bytes || work > max_work)
      throw FormatError(file, -1,
                        concat("token ", token, " has ", text.size(), " bytes, expected at most ",
                               max_piece_bytes, ", and most of the tokens a few"));
    for (size_t at = 1; at < text.size(); ++at) {
      const auto left = indices.find(text.substr(0, at));
      if (left == indices.end())
        continue;
      const auto right = indices.find(text.substr(at));
      if (right != indices.end())
        cuts.push_back({token, left->second, right->second});
    }
  }
  return cuts;
}

}  // namespace

std::vector<Merge> merges_by_score(const std::vector<std::string_view>& tokens,
                                   const std::vector<double>& scores, std::string_view file) {
  std::vector<Cut> cuts = find_cuts(tokens, file);
  std::ranges::sort(cuts, [&](const Cut& a, const Cut& b) {
    if (scores[a.token] != scores[b.token])
      return scores[a.token] > scores[b.token];
    return a.token != b.token ? a.token < b.token : a.left < b.left;
  });
  std::vector<Merge> merges;
  merges.reserve(cuts.size());
  for (const Cut& cut : cuts)
    merges.push_back({std::string(tokens[cut.left]), std::string(tokens[cut.right])});
  return merges;
}

}  // namespace graft::text
