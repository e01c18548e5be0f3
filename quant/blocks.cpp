#include "graft/quant/blocks.h"

#include <bit>
#include <cmath>
#include <cstddef>
#include <vector>

namespace graft::quant {

int64_t block_count(int64_t elements, int64_t blocksize) {
  return elements / blocksize + (elements % blocksize == 0 ? 0 : 1);
}

void check_blocksize(const char* operation, int64_t blocksize) {
  GRAFT_CHECK(
      blocksize >= 32 && blocksize <= 4096 && std::has_single_bit(static_cast<uint64_t>(blocksize)),
      ConfigError, operation, ": block size ", blocksize,
      " given; 32, 64, 128, 256, 512, 1024, 2048 or 4096 expected");
}

void check_scales(const char* operation, const Tensor& x, const Tensor& absmax, int64_t blocksize) {
  for (int64_t block = 0; const float scale : absmax.span<float>()) {
    if (!std::isfinite(scale)) {
      const int64_t begin = block * blocksize;
      const int64_t end = std::min(x.numel(), begin + blocksize);
      const std::vector<double> values = x.view({-1}).slice(0, begin, end).to_vector();
      size_t i = 0;
      while (std::isfinite(values[i]))
        ++i;
      throw NonFiniteError(concat(operation, ": number ", begin + static_cast<int64_t>(i), " of ",
                                  x.shape(), " is ", values[i]));
    }
    ++block;
  }
}

}  // namespace graft::quant
