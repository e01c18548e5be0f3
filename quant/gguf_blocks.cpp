#include "graft/quant/gguf_blocks.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "graft/quant/gguf_block_types.h"
#include "graft/tensor/parallel.h"

namespace graft::quant {
namespace {

static_assert(std::endian::native == std::endian::little, "blocks are little-endian");

// Numbers of one work item of a thread: some tens of microseconds.
constexpr int64_t grain_elements = 1 << 15;

void decode(const float& block, float* y) {
  *y = block;
}
void decode(const f16& block, float* y) {
  *y = static_cast<float>(block);
}
void decode(const bf16& block, float* y) {
  *y = static_cast<float>(block);
}

/// `count` blocks at `bytes`, which need not be aligned, as numbers at `y`.
template <class Block, int elements>
void decode_run(const std::byte* bytes, int64_t count, float* y) {
  for (int64_t i = 0; i < count; ++i) {
    Block block;
    // fits: the caller has as many bytes and numbers
    std::memcpy(&block, bytes + i * static_cast<int64_t>(sizeof(Block)), sizeof(Block));
    decode(block, y + i * elements);  // fits: as above
  }
}

struct Format {
  GgmlType type;
  BlockTraits traits;
  void (*decode_run)(const std::byte* bytes, int64_t count, float* y);
};

template <class Block, int elements>
constexpr Format format_of(GgmlType type) {
  return {type, {elements, sizeof(Block)}, decode_run<Block, elements>};
}

template <class Block>
constexpr Format format_of(GgmlType type) {
  return format_of<Block, Block::elements>(type);
}

constexpr std::array formats = {
    format_of<float, 1>(GgmlType::f32), format_of<f16, 1>(GgmlType::f16),
    format_of<bf16, 1>(GgmlType::bf16), format_of<Q4_0>(GgmlType::q4_0),
    format_of<Q4_1>(GgmlType::q4_1),    format_of<Q5_0>(GgmlType::q5_0),
    format_of<Q5_1>(GgmlType::q5_1),    format_of<Q8_0>(GgmlType::q8_0),
    format_of<Q2_K>(GgmlType::q2_k),    format_of<Q3_K>(GgmlType::q3_k),
    format_of<Q4_K>(GgmlType::q4_k),    format_of<Q5_K>(GgmlType::q5_k),
    format_of<Q6_K>(GgmlType::q6_k)};

const Format& format_of(uint32_t type) {
  const auto* found = std::ranges::find(formats, static_cast<GgmlType>(type), &Format::type);
  if (found != formats.end())
    return *found;
  std::string decodable;
  for (const Format& format : formats)
    decodable +=
        concat(decodable.empty() ? "" : ", ", ggml_type_name(static_cast<uint32_t>(format.type)));
  throw DTypeError(concat("decode_blocks: ggml type ", ggml_type_name(type), " given, one of ",
                          decodable, " expected"));
}

}  // namespace

std::string ggml_type_name(uint32_t type) {
  constexpr std::string_view names[] = {
      "F32",     "F16",   "Q4_0",   "Q4_1",  "",      "",       "Q5_0", "Q5_1",    "Q8_0",
      "Q8_1",    "Q2_K",  "Q3_K",   "Q4_K",  "Q5_K",  "Q6_K",   "Q8_K", "IQ2_XXS", "IQ2_XS",
      "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8",   "I16",     "I32",
      "I64",     "F64",   "IQ1_M",  "BF16",  "",      "",       "",     "TQ1_0",   "TQ2_0",
      "",        "",      "",       "MXFP4", "NVFP4", "Q1_0"};
  if (type < std::size(names) && !names[type].empty())
    return std::string(names[type]);
  return concat("type ", type);
}

BlockTraits block_traits(uint32_t type) {
  return format_of(type).traits;
}

Tensor decode_blocks(uint32_t type, std::span<const std::byte> bytes, const Shape& shape) {
  const Format& format = format_of(type);
  const auto [elements, block_bytes] = format.traits;
  const int64_t row = shape.rank() == 0 ? 1 : shape[-1];
  GRAFT_CHECK(row % elements == 0, ShapeError, "decode_blocks: rows of ", row, " given, ",
              ggml_type_name(type), " has blocks of ", elements);
  const int64_t blocks = shape.numel() / elements;
  GRAFT_CHECK(static_cast<int64_t>(bytes.size()) / block_bytes == blocks &&
                  static_cast<int64_t>(bytes.size()) % block_bytes == 0,
              ShapeError, "decode_blocks: ", bytes.size(), " bytes given, ", ggml_type_name(type),
              " of shape ", shape, " has ", blocks, " blocks of ", block_bytes);
  Tensor result = Tensor::empty(shape, DType::f32);
  if (blocks == 0)
    return result;
  float* y = result.data<float>();
  parallel_for(blocks, grain_elements / elements, [&](int64_t begin, int64_t end) {
    // fits: blocks of the bytes that were compared with the shape
    format.decode_run(bytes.data() + begin * block_bytes, end - begin, y + begin * elements);
  });
  return result;
}

}  // namespace graft::quant
