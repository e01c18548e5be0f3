#include "graft/train/sampler.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "graft/tensor/error.h"
#include "graft/tensor/philox.h"
#include "graft/tensor/random.h"

namespace graft::train {

Sampler::Sampler(int64_t samples, uint64_t seed, bool shuffle, SamplerState state)
    : seed_(seed), shuffle_(shuffle), state_(state) {
  GRAFT_CHECK(samples > 0, ConfigError, "sampler: no samples given");
  GRAFT_CHECK(state.epoch >= 0 && state.position >= 0 && state.position <= samples, ConfigError,
              "sampler: position ", state.position, " of epoch ", state.epoch, " given for ",
              samples, " samples");
  order_.resize(static_cast<size_t>(samples));
  shuffle_epoch();
}

void Sampler::shuffle_epoch() {
  std::iota(order_.begin(), order_.end(), int64_t{0});
  if (!shuffle_)
    return;
  const uint64_t key = seed_ ^ stream_of("sampler");
  const auto epoch = static_cast<uint64_t>(state_.epoch);
  // Fisher and Yates. 64 random bits modulo the count are even to one part in 2^64 / count.
  for (size_t i = order_.size() - 1; i > 0; --i) {
    const PhiloxBlock random =
        philox(key, {{static_cast<uint32_t>(i), static_cast<uint32_t>(uint64_t{i} >> 32),
                      static_cast<uint32_t>(epoch), static_cast<uint32_t>(epoch >> 32)}});
    const uint64_t bits = uint64_t{random.words[0]} | uint64_t{random.words[1]} << 32;
    std::swap(order_[i], order_[bits % (i + 1)]);
  }
}

std::vector<int64_t> Sampler::next(int64_t count) {
  const auto samples = static_cast<int64_t>(order_.size());
  if (state_.position == samples) {
    state_ = {.epoch = state_.epoch + 1, .position = 0};
    shuffle_epoch();
  }
  const int64_t end = std::min(samples, state_.position + std::max<int64_t>(count, 1));
  std::vector<int64_t> picked;
  for (; state_.position < end; ++state_.position)
    picked.push_back(order_[static_cast<size_t>(state_.position)]);
  return picked;
}

}  // namespace graft::train
