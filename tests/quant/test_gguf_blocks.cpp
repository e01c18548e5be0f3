#include <cstring>
#include <fstream>
#include <iterator>

#include "graft/io/gguf.h"
#include "graft/io/safetensors.h"
#include "graft/quant/gguf_blocks.h"
#include "graft/tensor/parallel.h"
#include "graft/tests/support/test.h"

namespace graft::quant {
namespace {

using test::check_contains;
using test::message_of;

/// A file of quant/gguf_reference: blocks and the bf16 that the gguf package makes of them.
struct Reference {
  uint32_t type = 0;
  std::string blocks;
  std::vector<uint16_t> expected;
};

Reference reference(const std::string& name) {
  std::ifstream in(test::data("quant/gguf_reference/" + name), std::ios::binary);
  uint32_t head[4];  // type, elements, bytes of the blocks, bytes of the numbers
  in.read(reinterpret_cast<char*>(head), sizeof(head));
  Reference result{head[0], std::string(head[2], '\0'), std::vector<uint16_t>(head[1])};
  REQUIRE(head[3] == 2 * head[1]);
  in.read(result.blocks.data(), head[2]);
  in.read(reinterpret_cast<char*>(result.expected.data()), head[3]);
  REQUIRE(in.good());
  return result;
}

Tensor decode(const Reference& reference, const Shape& shape) {
  return decode_blocks(reference.type, std::as_bytes(std::span(reference.blocks)), shape);
}

}  // namespace

TEST_CASE("decode_blocks: blocks of a real model give the gguf package's numbers") {
  for (const char* name : {"smollm2_q4_0.bin", "smollm2_q4_1.bin", "smollm2_q8_0.bin",
                           "smollm2_q4_k.bin", "smollm2_q6_k.bin"}) {
    CAPTURE(name);
    const Reference golden = reference(name);
    const auto count = static_cast<int64_t>(golden.expected.size());
    const Tensor rounded = decode(golden, {count}).to(DType::bf16);
    CHECK(std::memcmp(rounded.bytes().data(), golden.expected.data(), rounded.bytes().size()) == 0);
  }
}

TEST_CASE("decode_blocks: every decodable type gives the gguf package's f32, bit for bit") {
  const io::GgufFile file(test::golden("small.gguf"));
  const io::SafetensorsFile expected(test::golden("small_gguf.safetensors"));
  CHECK(expected.names().size() == 13);
  for (const std::string& name : expected.names()) {
    CAPTURE(name);
    const io::GgufTensor& tensor = file.tensor(name);
    CHECK(ggml_type_name(tensor.type) + ".weight" == name);
    CHECK(test::same_bits(decode_blocks(tensor.type, tensor.bytes, tensor.shape),
                          expected.load(name)));
  }
}

TEST_CASE("decode_blocks: the bits do not depend on the number of threads, nor on alignment") {
  const Reference golden = reference("smollm2_q8_0.bin");
  const Shape shape{static_cast<int64_t>(golden.expected.size()) / 64, 64};
  const int threads = thread_count();
  set_thread_count(1);
  const Tensor one = decode(golden, shape);
  set_thread_count(3);
  const Tensor three = decode(golden, shape);
  set_thread_count(threads);
  CHECK(test::same_bits(one, three));
  const std::string moved = " " + golden.blocks;
  CHECK(test::same_bits(
      decode_blocks(golden.type, std::as_bytes(std::span(moved)).subspan(1), shape), one));
}

TEST_CASE("decode_blocks: other types are refused by name") {
  const io::GgufFile file(test::golden("small.gguf"));
  const io::GgufTensor& tensor = file.tensor("undecodable");
  const std::string message =
      message_of<DTypeError>([&] { decode_blocks(tensor.type, tensor.bytes, tensor.shape); });
  check_contains(message,
                 "ggml type IQ4_XS given, one of F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, "
                 "Q2_K, Q3_K, Q4_K, Q5_K, Q6_K expected");
  check_contains(message_of<DTypeError>([] { block_traits(15); }), "Q8_K given");
  check_contains(message_of<DTypeError>([] { block_traits(77); }), "type 77 given");
}

TEST_CASE("decode_blocks: the bytes must be exactly those of the shape") {
  const std::string blocks(36, '\0');
  const auto refusal = [&](const Shape& shape) {
    return message_of<ShapeError>(
        [&] { decode_blocks(2, std::as_bytes(std::span(blocks)), shape); });
  };
  CHECK(decode_blocks(2, std::as_bytes(std::span(blocks)), {2, 32}).shape() == Shape{2, 32});
  check_contains(refusal({3, 32}), "36 bytes given, Q4_0 of shape");
  check_contains(refusal({1, 32}), "has 1 blocks of 18");
  check_contains(refusal({4, 16}), "rows of 16 given, Q4_0 has blocks of 32");
  check_contains(refusal({}), "rows of 1 given");
  CHECK(decode_blocks(2, {}, {0, 32}).numel() == 0);
}

TEST_CASE("block_traits: sizes agree with what the container reads by") {
  for (const GgmlType type :
       {GgmlType::f32, GgmlType::f16, GgmlType::bf16, GgmlType::q4_0, GgmlType::q4_1,
        GgmlType::q5_0, GgmlType::q5_1, GgmlType::q8_0, GgmlType::q2_k, GgmlType::q3_k,
        GgmlType::q4_k, GgmlType::q5_k, GgmlType::q6_k}) {
    const auto number = static_cast<uint32_t>(type);
    CHECK(block_traits(number).elements == io::ggml_block(number).elements);
    CHECK(block_traits(number).bytes == io::ggml_block(number).bytes);
  }
  for (uint32_t type = 0; type < 64; ++type)  // a type that has a size has a name, and the reverse
    CHECK((io::ggml_block(type).elements > 0) == !ggml_type_name(type).starts_with("type "));
}

}  // namespace graft::quant
