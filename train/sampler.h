// Sampler: in which order samples are used.
//
// The order of an epoch is a function of (seed, epoch), so what has to be kept to continue is the
// epoch and how far into it one is.
#pragma once

#include <cstdint>
#include <vector>

namespace graft::train {

struct SamplerState {
  int64_t epoch = 0;     ///< from 0
  int64_t position = 0;  ///< samples of the epoch that are used up
  friend bool operator==(const SamplerState&, const SamplerState&) = default;
};

class Sampler {
 public:
  /// Without `shuffle` every epoch has the order of the list. Throws ConfigError where there are no
  /// samples or the state is not one of them.
  Sampler(int64_t samples, uint64_t seed, bool shuffle, SamplerState state = {});

  /// The numbers of the next `count` samples, fewer at the end of an epoch, never none: an epoch
  /// that is used up is followed by the next.
  std::vector<int64_t> next(int64_t count);
  const SamplerState& state() const { return state_; }

 private:
  void shuffle_epoch();

  uint64_t seed_;
  bool shuffle_;
  SamplerState state_;
  std::vector<int64_t> order_;
};

}  // namespace graft::train
