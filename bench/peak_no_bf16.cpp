// For processors without products of bf16.
#include "graft/bench/peak.h"

namespace graft::bench {

float bf16_loop(int64_t) {
  return 0;
}

double bf16_loop_flops(int64_t) {
  return 0;
}

}  // namespace graft::bench
