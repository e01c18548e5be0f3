#include <cmath>
#include <limits>

#include "graft/io/safetensors.h"
#include "graft/quant/gguf_encode.h"
#include "graft/tensor/parallel.h"
#include "graft/tests/support/test.h"

namespace graft::quant {
namespace {

using test::check_contains;
using test::message_of;

constexpr GgmlType written_types[] = {GgmlType::f32, GgmlType::f16, GgmlType::bf16, GgmlType::q8_0,
                                      GgmlType::q4_0};

std::string name_of(GgmlType type) {
  return ggml_type_name(static_cast<uint32_t>(type));
}

}  // namespace

TEST_CASE("encode_blocks: every type gives the gguf package's bytes") {
  const io::SafetensorsFile golden(test::golden("gguf_blocks.safetensors"));
  const Tensor x = golden.load("x");
  for (const GgmlType type : written_types) {
    CAPTURE(name_of(type));
    CHECK(is_encodable(type));
    CHECK(test::same_bits(encode_blocks(type, x), golden.load(name_of(type))));
  }
}

TEST_CASE("encode_blocks: what is decoded again is within half a step") {
  const Tensor x = test::random_tensor({7, 96}, 3);
  for (const GgmlType type : written_types) {
    CAPTURE(name_of(type));
    const Tensor blocks = encode_blocks(type, x);
    const Tensor again = decode_blocks(static_cast<uint32_t>(type), blocks.bytes(), x.shape());
    // The largest of all is below 4; steps of Q8_0 are 1/127 of that, of Q4_0 1/8 and at the far
    // end, which has no code, a whole one.
    const double allowed = type == GgmlType::f32    ? 0
                           : type == GgmlType::f16  ? 4 * 0x1p-11
                           : type == GgmlType::bf16 ? 4 * 0x1p-8
                           : type == GgmlType::q8_0 ? 4 / 127.0
                                                    : 4 / 8.0;
    CHECK(test::max_difference(again, x) <= allowed);
    // Blocks of blocks are the same blocks, but for Q4_0's, whose largest may be another one.
    if (type != GgmlType::q4_0)
      CHECK(test::same_bits(encode_blocks(type, again), blocks));
  }
}

TEST_CASE("encode_blocks: the bits do not depend on the number of threads, nor on the layout") {
  const Tensor x = test::random_tensor({64, 1000}, 4);
  const Tensor turned = x.transpose(0, 1);
  const int threads = thread_count();
  for (const GgmlType type : {GgmlType::bf16, GgmlType::q8_0, GgmlType::q4_0}) {
    CAPTURE(name_of(type));
    set_thread_count(1);
    const Tensor expected = encode_blocks(type, turned.contiguous());
    set_thread_count(3);
    CHECK(test::same_bits(encode_blocks(type, turned), expected));
  }
  set_thread_count(threads);
}

TEST_CASE("encode_blocks: what cannot be written is refused") {
  const auto refusal = [](GgmlType type, const Tensor& x) {
    return message_of<Error>([&] { encode_blocks(type, x); });
  };
  const Tensor x = Tensor::zeros({2, 32});
  check_contains(refusal(GgmlType::q4_k, x), "ggml type Q4_K given, one of F32, F16");
  CHECK(!is_encodable(GgmlType::q4_k));
  check_contains(refusal(GgmlType::q8_0, Tensor::zeros({32, 40})), "rows of 40 given, Q8_0");
  const auto with = [](float value) {
    Tensor x = Tensor::zeros({1, 32});
    x.data<float>()[5] = value;
    return x;
  };
  check_contains(refusal(GgmlType::f16, with(-65520)), "-65520 given, F16 reaches 65504");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const GgmlType type : {GgmlType::f16, GgmlType::q8_0, GgmlType::q4_0})
    check_contains(refusal(type, with(nan)), "a number is NaN or infinite");
  CHECK(encode_blocks(GgmlType::f32, with(nan)).numel() == 128);
  CHECK(encode_blocks(GgmlType::q8_0, Tensor::zeros({0, 32})).numel() == 0);
}

}  // namespace graft::quant
