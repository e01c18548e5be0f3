#include "graft/tensor/error.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace graft {
namespace {

/// How many letters to insert, delete, replace or swap with their neighbour to turn a into b.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before, above, row(b.size() + 1);  // of two letters ago, one, and now
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    before = std::exchange(above, row);
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      row[j + 1] = std::min({above[j] + (a[i] != b[j]), row[j] + 1, above[j + 1] + 1});
      if (i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j])
        row[j + 1] = std::min(row[j + 1], before[j - 1] + 1);
    }
  }
  return row.back();
}

}  // namespace

FormatError::FormatError(std::string_view file, int64_t offset, std::string_view what)
    : FormatError(
          offset >= 0 ? concat(file, ": at byte ", offset, ": ", what) : concat(file, ": ", what),
          file) {
  offset_ = offset;
}

FormatError::FormatError(std::string message, std::string_view file)
    : Error(std::move(message)), file_(file) {}

FormatError FormatError::at_line(std::string_view file, int64_t line, std::string_view what) {
  return FormatError(concat(file, ":", line, ": ", what), file);
}

std::string nearest(std::string_view name, std::span<const std::string> candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(1, name.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(name, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view name, std::span<const std::string> candidates) {
  const std::string best = nearest(name, candidates);
  return best.empty() ? "" : concat(" (did you mean '", best, "'?)");
}

}  // namespace graft
