#include "graft/models/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "graft/tensor/philox.h"

namespace graft::models {
namespace {

/// The word that keeps these random numbers apart from others under the same seed ("pick").
constexpr uint32_t domain = 0x7069636b;

/// A number in [0, 1) with 53 random bits.
double uniform(uint64_t seed, int64_t row, int64_t step) {
  const PhiloxBlock block =
      philox(seed, {{static_cast<uint32_t>(row), static_cast<uint32_t>(row >> 32),
                     static_cast<uint32_t>(step), domain}});
  const uint64_t bits = (uint64_t{block.words[0]} << 32 | block.words[1]) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

}  // namespace

Sampler::Sampler(const GenerateOptions& options)
    : temperature_(options.temperature),
      top_p_(options.top_p),
      top_k_(options.top_k),
      seed_(options.seed),
      first_row_(options.first_row) {
  GRAFT_CHECK(temperature_ >= 0 && std::isfinite(temperature_), ConfigError,
              "generate: temperature is ", temperature_, ", a number of at least 0 expected");
  GRAFT_CHECK(top_k_ >= 0, ConfigError, "generate: top_k is ", top_k_,
              ", a number of at least 0 expected");
  GRAFT_CHECK(top_p_ > 0 && top_p_ <= 1, ConfigError, "generate: top_p is ", top_p_,
              ", a number above 0 and at most 1 expected");
}

int64_t Sampler::pick(std::span<const float> logits, int64_t row, int64_t step) {
  GRAFT_CHECK(std::ranges::all_of(logits, [](float logit) { return std::isfinite(logit); }),
              NonFiniteError, "generate: the logits of row ", row, " at step ", step,
              " are not finite");
  const auto largest = std::ranges::max_element(logits);
  if (temperature_ == 0)
    return largest - logits.begin();
  keep_top_k(logits);
  double total = 0;
  for (Candidate& candidate : candidates_) {
    const double logit = logits[static_cast<size_t>(candidate.id)];
    candidate.weight = std::exp((logit - *largest) / temperature_);
  }
  keep_top_p();
  for (const Candidate& candidate : candidates_)
    total += candidate.weight;
  double rest = uniform(seed_, first_row_ + row, step) * total;
  for (const Candidate& candidate : candidates_) {
    rest -= candidate.weight;
    if (rest < 0)
      return candidate.id;
  }
  return candidates_.back().id;
}

void Sampler::keep_top_k(std::span<const float> logits) {
  float least = -std::numeric_limits<float>::infinity();
  if (top_k_ > 0 && top_k_ < static_cast<int64_t>(logits.size())) {
    sorted_.assign(logits.begin(), logits.end());
    const auto kth = sorted_.begin() + (top_k_ - 1);
    std::ranges::nth_element(sorted_, kth, std::ranges::greater());
    least = *kth;
  }
  candidates_.clear();
  for (size_t id = 0; id < logits.size(); ++id) {
    if (logits[id] >= least)  // as transformers does, equals of the k-th stay
      candidates_.push_back({0, static_cast<int64_t>(id)});
  }
}

void Sampler::keep_top_p() {
  if (top_p_ >= 1)
    return;
  std::ranges::sort(candidates_, [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
  });
  double total = 0;
  for (const Candidate& candidate : candidates_)
    total += candidate.weight;
  double sum = 0;
  size_t kept = 0;
  while (kept < candidates_.size() && sum < top_p_ * total)
    sum += candidates_[kept++].weight;
  candidates_.resize(kept);
}

}  // namespace graft::models
