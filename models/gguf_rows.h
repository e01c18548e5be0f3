// The order of rows in GGUF files: some architectures hold row i of the first half of a head and
// row i of the second next to each other, as llama.cpp rotates them.
#pragma once

#include <cstdint>
#include <string_view>

#include "graft/models/decoder_config.h"
#include "graft/tensor/tensor.h"

namespace graft::models {

/// The heads whose rows a model's files hold interleaved.
class GgufHeads {
 public:
  explicit GgufHeads(const DecoderConfig& config);
  /// How many heads the tensor of this Hugging Face name has whose rows are interleaved; 0 where
  /// the rows stand as they are.
  int64_t interleaved_in(std::string_view name) const;

 private:
  int64_t q_heads_, k_heads_;
};

/// The rows of x (heads · D, …), D even, interleaved as in a file, and put back; in x's dtype.
Tensor interleaved(const Tensor& x, int64_t heads);
Tensor deinterleaved(const Tensor& x, int64_t heads);

}  // namespace graft::models
