#include "graft/train/score.h"

#include <algorithm>
#include <cmath>

namespace graft::train {

double Score::mean() const {
  return static_cast<double>(correct) / static_cast<double>(records);
}

std::optional<double> Score::standard_error() const {
  if (records < 2)
    return std::nullopt;
  return std::sqrt(mean() * (1 - mean()) / static_cast<double>(records - 1));
}

Score score_of(const std::vector<bool>& correct) {
  return {.correct = std::ranges::count(correct, true),
          .records = static_cast<int64_t>(correct.size())};
}

}  // namespace graft::train
