// The value types of GGUF metadata. For the file layer's own .cpp files.
#pragma once

#include <cstdint>

#include "graft/io/gguf.h"

namespace graft::io {

/// Bytes of one value of a type; 0 for texts and arrays, which have none in general.
constexpr uint64_t gguf_type_size(GgufType type) {
  constexpr uint64_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return sizes[static_cast<uint32_t>(type)];
}

}  // namespace graft::io
