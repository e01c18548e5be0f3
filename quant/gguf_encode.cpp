#include "graft/quant/gguf_encode.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "graft/quant/gguf_block_types.h"
#include "graft/tensor/parallel.h"
#include "graft/tensor/reduce.h"

namespace graft::quant {
namespace {

// Numbers of one work item of a thread: some tens of microseconds.
constexpr int64_t grain_elements = 1 << 14;

void encode(const float* x, float& block) {
  block = *x;
}
void encode(const float* x, f16& block) {
  block = f16(*x);
}
void encode(const float* x, bf16& block) {
  block = bf16(*x);
}

float inverse_of(float scale) {
  return scale == 0 ? 0 : 1 / scale;
}

void encode(const float* x, Q8_0& block) {
  float largest = 0;
  for (int i = 0; i < Q8_0::elements; ++i)
    largest = std::max(largest, std::fabs(x[i]));
  const float scale = largest / 127;
  const float inverse = inverse_of(scale);
  block.scale = f16(scale).bits;
  for (int i = 0; i < Q8_0::elements; ++i)
    block.codes[i] = static_cast<int8_t>(std::round(x[i] * inverse));
}

void encode(const float* x, Q4_0& block) {
  constexpr int half_block = Q4_0::elements / 2;
  const float largest = *std::max_element(
      x, x + Q4_0::elements, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  const float scale = largest / -8;
  const float inverse = inverse_of(scale);
  block.scale = f16(scale).bits;
  const auto code = [&](int i) {
    return static_cast<uint8_t>(std::clamp(x[i] * inverse + 8.5f, 0.0f, 15.0f));
  };
  for (int i = 0; i < half_block; ++i)
    block.codes[i] = static_cast<uint8_t>(code(i) | code(i + half_block) << 4);
}

/// `count` blocks of the numbers at `x`, as bytes.
template <class Block, int elements>
void encode_run(const float* x, int64_t count, uint8_t* bytes) {
  for (int64_t i = 0; i < count; ++i) {
    Block block;
    encode(x + i * elements, block);
    std::memcpy(bytes + i * static_cast<int64_t>(sizeof(Block)), &block, sizeof(Block));
  }
}

struct Format {
  GgmlType type;
  void (*encode_run)(const float* x, int64_t count, uint8_t* bytes);
};

constexpr std::array formats = {Format{GgmlType::f32, encode_run<float, 1>},
                                Format{GgmlType::f16, encode_run<f16, 1>},
                                Format{GgmlType::bf16, encode_run<bf16, 1>},
                                Format{GgmlType::q8_0, encode_run<Q8_0, Q8_0::elements>},
                                Format{GgmlType::q4_0, encode_run<Q4_0, Q4_0::elements>}};

const Format& format_of(GgmlType type) {
  const auto* found = std::ranges::find(formats, type, &Format::type);
  GRAFT_CHECK(found != formats.end(), DTypeError, "encode_blocks: ggml type ",
              ggml_type_name(static_cast<uint32_t>(type)),
              " given, one of F32, F16, BF16, Q8_0, Q4_0 expected");
  return *found;
}

/// Throws NonFiniteError unless the type can hold the numbers.
void check_numbers(GgmlType type, const Tensor& x) {
  constexpr float largest_f16 = 65504;
  constexpr float rounded_beyond = 65520;  // halfway to the next number that f16 would have
  if (type == GgmlType::f32 || type == GgmlType::bf16)
    return;
  GRAFT_CHECK(ops::all_finite(x), NonFiniteError,
              "encode_blocks: a number is NaN or infinite, finite ones expected");
  const auto values = x.span<float>();
  const auto too_large =
      std::ranges::find_if(values, [](float value) { return std::fabs(value) >= rounded_beyond; });
  GRAFT_CHECK(type != GgmlType::f16 || too_large == values.end(), NonFiniteError,
              "encode_blocks: ", *too_large, " given, F16 reaches ", largest_f16,
              "; take F32 or BF16");
}

}  // namespace

bool is_encodable(GgmlType type) {
  return std::ranges::find(formats, type, &Format::type) != formats.end();
}

Tensor encode_blocks(GgmlType type, const Tensor& x) {
  const Format& format = format_of(type);
  const auto [elements, block_bytes] = block_traits(static_cast<uint32_t>(type));
  const int64_t row = x.rank() == 0 ? 1 : x.dim(-1);
  GRAFT_CHECK(row % elements == 0, ShapeError, "encode_blocks: rows of ", row, " given, ",
              ggml_type_name(static_cast<uint32_t>(type)), " has blocks of ", elements);
  const Tensor numbers = x.to(DType::f32).contiguous();
  check_numbers(type, numbers);
  const int64_t blocks = numbers.numel() / elements;
  Tensor result = Tensor::empty({blocks * block_bytes}, DType::u8);
  if (blocks == 0)
    return result;
  const float* from = numbers.data<float>();
  uint8_t* to = result.data<uint8_t>();
  parallel_for(blocks, grain_elements / elements, [&](int64_t begin, int64_t end) {
    format.encode_run(from + begin * elements, end - begin, to + begin * block_bytes);
  });
  return result;
}

}  // namespace graft::quant
