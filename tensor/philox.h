// Philox 4x32-10: random numbers as a pure function of a key and a counter.
//
// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The
// same code runs on CPU and GPU and gives the same numbers there.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define GRAFT_HD __host__ __device__
#else
#define GRAFT_HD
#endif

namespace graft {

/// Four random words.
struct PhiloxBlock {
  uint32_t words[4];
};

/// Ten rounds of Philox 4x32 on a 128-bit counter under a 64-bit key.
GRAFT_HD inline PhiloxBlock philox(uint64_t key, PhiloxBlock counter) {
  uint32_t key0 = static_cast<uint32_t>(key);
  uint32_t key1 = static_cast<uint32_t>(key >> 32);
  uint32_t* c = counter.words;
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53u} * c[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57u} * c[2];
    const uint32_t next0 = static_cast<uint32_t>(product1 >> 32) ^ c[1] ^ key0;
    const uint32_t next2 = static_cast<uint32_t>(product0 >> 32) ^ c[3] ^ key1;
    c[0] = next0;
    c[1] = static_cast<uint32_t>(product1);
    c[2] = next2;
    c[3] = static_cast<uint32_t>(product0);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

/// A word as a number in [0, 1) with 24 random bits.
GRAFT_HD inline float unit_interval(uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24f;
}

}  // namespace graft
