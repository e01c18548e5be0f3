// The blocks of GGUF tensors: what ggml's types are called, and how they become numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "graft/tensor/tensor.h"

namespace graft::quant {

/// The ggml types that can be decoded, with ggml's numbers.
enum class GgmlType : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  bf16 = 30
};

/// ggml's name of a type, e.g. "Q4_K"; "type 77" where it is not one of ggml's.
std::string ggml_type_name(uint32_t type);

/// How a decodable type is stored: rows of whole blocks.
struct BlockTraits {
  int64_t elements = 0;  ///< numbers in one block
  int64_t bytes = 0;     ///< bytes of one block
};

/// Throws DTypeError, naming the type and those that can be decoded, for all others.
BlockTraits block_traits(uint32_t type);

/// The numbers of a tensor of `shape` as f32, from the `bytes` of its blocks; on several threads.
/// Throws DTypeError as block_traits does, ShapeError where the rows are not whole blocks or
/// `bytes` is not exactly the tensor.
Tensor decode_blocks(uint32_t type, std::span<const std::byte> bytes, const Shape& shape);

}  // namespace graft::quant
