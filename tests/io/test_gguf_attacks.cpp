// GGUF files made to mislead a reader, after the vulnerabilities that other readers had.
#include "graft/io/gguf.h"
#include "graft/tests/io/gguf_bytes.h"
#include "graft/tests/support/test.h"

namespace graft::io {
namespace {

using test::bytes_of;
using test::check_contains;
using test::gguf_tensor;
using test::gguf_text;
using test::gguf_value;
using test::GgufBytes;
using test::message_of;
using test::raw;

std::string refusal(std::string_view bytes) {
  const test::MemoryFile file(bytes);
  const std::string message = message_of<FormatError>([&] { GgufFile(file.path()); });
  check_contains(message, file.path().string() + ": at byte ");
  return message;
}

std::string refusal(const GgufBytes& file) {
  return refusal(file.bytes());
}

/// Refusal of a file of one metadata value.
std::string value_refusal(std::string_view value) {
  return refusal({.values = {std::string(value)}});
}

/// Refusal of a file of these tensors.
std::string tensor_refusal(const std::vector<std::string>& tensors, size_t data_bytes) {
  return refusal({.tensors = tensors, .data = std::string(data_bytes, '\1')});
}

constexpr uint64_t top = ~uint64_t{0};
constexpr uint64_t half = uint64_t{1} << 63;

}  // namespace

TEST_CASE("gguf attack: what is no GGUF file of version 2 or 3") {
  check_contains(refusal(""), "file is cut off: the magic number takes 4 bytes, 0 are there");
  check_contains(refusal("GGU"), "file is cut off");
  check_contains(refusal("GGML" + std::string(100, '\0')), "at byte 0: does not begin with 'GGUF'");
  check_contains(refusal(GgufBytes{.version = 1}), "has version 1, versions 2 and 3 are read");
  check_contains(refusal(GgufBytes{.version = 0}), "has version 0");
  check_contains(refusal(GgufBytes{.version = 4}), "has version 4");
  check_contains(refusal(GgufBytes{.version = 0x03000000}), "big-endian");
}

TEST_CASE("gguf attack: counts that the file cannot hold are refused before memory is taken") {
  for (const uint64_t count : {uint64_t{2}, uint64_t{1} << 32, half, top}) {
    check_contains(refusal("GGUF" + raw(3u) + raw(count) + raw(uint64_t{0})), "file cannot hold");
    check_contains(refusal("GGUF" + raw(3u) + raw(uint64_t{0}) + raw(count)), "metadata values");
    check_contains(value_refusal(gguf_value("a", 9, raw(4u) + raw(count))), "array elements");
    check_contains(value_refusal(gguf_value("a", 9, raw(8u) + raw(count))), "array elements");
  }
}

TEST_CASE("gguf attack: texts that are longer than the file") {
  for (const uint64_t length : {uint64_t{100}, half, top, top - 7}) {
    check_contains(value_refusal(raw(length) + std::string(20, 'k')), "a key takes");
    check_contains(value_refusal(gguf_value("a", 8, raw(length) + "xx")), "a text takes");
    check_contains(value_refusal(gguf_value("a", 9, raw(8u) + raw(uint64_t{1}) + raw(length))),
                   "a text takes");
    check_contains(tensor_refusal({raw(length) + std::string(40, 'n')}, 0),
                   "a tensor's name takes");
  }
}

TEST_CASE("gguf attack: keys that are empty or there twice") {
  check_contains(value_refusal(gguf_value("", 2, "xx")), "a key is empty");
  check_contains(refusal({.values = {gguf_value("a", 0, "x"), gguf_value("a", 0, "y")}}),
                 "key 'a' is there twice");
}

TEST_CASE("gguf attack: value types that are none, arrays of arrays, odd truth values") {
  check_contains(value_refusal(gguf_value("a", 13, std::string(8, 'x'))), "value type 13 is none");
  check_contains(value_refusal(gguf_value("a", ~0u, std::string(8, 'x'))), "is none of GGUF's");
  check_contains(value_refusal(gguf_value("a", 9, raw(9u) + raw(uint64_t{1}))), "arrays of arrays");
  check_contains(value_refusal(gguf_value("a", 9, raw(13u) + raw(uint64_t{1}))), "value type 13");
  check_contains(value_refusal(gguf_value("a", 7, "\2")), "neither 0 nor 1");
  check_contains(value_refusal(gguf_value("a", 9, raw(7u) + raw(uint64_t{3}) + "\1\1\3")),
                 "neither 0 nor 1");
}

TEST_CASE("gguf attack: alignments that are no power of two of type u32") {
  const auto with = [](uint32_t type, const std::string& value) {
    return value_refusal(gguf_value("general.alignment", type, value));
  };
  for (const uint32_t alignment : {0u, 3u, 33u, 0xffffffffu})
    check_contains(with(4, raw(alignment)), "general.alignment is not a power of two");
  check_contains(with(10, raw(uint64_t{32})), "of type u32");
  check_contains(with(8, gguf_text("32")), "of type u32");
  check_contains(with(9, raw(4u) + raw(uint64_t{1}) + raw(32u)), "of type u32");
}

TEST_CASE("gguf attack: ranks and sizes that no tensor has") {
  check_contains(tensor_refusal({gguf_tensor("x", {1, 1, 1, 1, 1}, 0, 0)}, 64),
                 "tensor 'x' has 5 dimensions, at most 4 are allowed");
  check_contains(tensor_refusal({gguf_text("x") + raw(~0u) + std::string(64, '\0')}, 0),
                 "has 4294967295 dimensions");
  for (const std::vector<uint64_t>& sizes : {std::vector<uint64_t>{top},
                                             {half},
                                             {half, 2},
                                             {uint64_t{1} << 32, uint64_t{1} << 32},
                                             {half - 1, half - 1},
                                             {top, 0},
                                             {half - 1, half - 1, 0},
                                             {0, half - 1, half - 1},
                                             {uint64_t{1} << 31, uint64_t{1} << 31, 4}})
    check_contains(tensor_refusal({gguf_tensor("x", sizes, 0, 0)}, 64), "larger than 64 bits");
  // The count fits, the bytes do not.
  check_contains(tensor_refusal({gguf_tensor("x", {uint64_t{1} << 62}, 0, 0)}, 64),
                 "larger than 64 bits");
  check_contains(tensor_refusal({gguf_tensor("x", {uint64_t{1} << 60}, 0, 0)}, 64), "cut off");
}

TEST_CASE("gguf attack: types that are none, rows that are no whole blocks, names") {
  check_contains(tensor_refusal({gguf_tensor("x", {32}, 77, 0)}, 64), "has type 77, which is none");
  check_contains(tensor_refusal({gguf_tensor("x", {32}, 4, 0)}, 64), "has type 4, which is none");
  check_contains(tensor_refusal({gguf_tensor("x", {33}, 2, 0)}, 64),
                 "rows of 33, not whole blocks");
  check_contains(tensor_refusal({gguf_tensor("x", {16, 2}, 2, 0)}, 64), "rows of 16, not whole");
  check_contains(tensor_refusal({gguf_tensor("x", {}, 2, 0)}, 64), "rows of 1, not whole blocks");
  check_contains(tensor_refusal({gguf_tensor("", {1}, 0, 0)}, 64), "a tensor has no name");
  check_contains(tensor_refusal({gguf_tensor("x", {8}, 0, 0), gguf_tensor("x", {8}, 0, 32)}, 64),
                 "tensor 'x' is there twice");
}

TEST_CASE("gguf attack: tensors that do not follow each other, or go beyond the file") {
  const auto two = [](uint64_t first, uint64_t second, size_t data_bytes) {
    return tensor_refusal({gguf_tensor("x", {8}, 0, first), gguf_tensor("y", {8}, 0, second)},
                          data_bytes);
  };
  check_contains(two(0, 0, 64), "tensor 'y' begins at byte 0 of the data");
  check_contains(two(0, 16, 64), "tensor 'y' begins at byte 16");
  check_contains(two(0, 64, 96), "tensor 'y' begins at byte 64");
  check_contains(two(32, 64, 96), "tensor 'x' begins at byte 32");
  check_contains(two(0, top, 64), "tensor 'y' begins at byte 18446744073709551615");
  check_contains(two(0, top - 95, 64), "tensor 'y' begins at byte");  // wraps to a valid place
  check_contains(two(0, 32, 63), "file is cut off: tensor 'y' of 32 bytes");
  check_contains(two(0, 32, 10), "file is cut off: tensor 'x' of 32 bytes");
  check_contains(two(0, 32, 0), "file is cut off");
  check_contains(two(0, 32, 65), "1 bytes behind the last tensor");
  // A sum of sizes that wraps to what the file has.
  const uint64_t quarter = uint64_t{1} << 60;
  std::vector<std::string> wrapping;
  for (uint64_t i = 0; i < 4; ++i)
    wrapping.push_back(
        gguf_tensor(std::string(1, static_cast<char>('a' + i)), {quarter}, 0, 4 * quarter * i));
  check_contains(tensor_refusal(wrapping, 64), "file is cut off: tensor 'a'");
}

TEST_CASE("gguf attack: bytes behind the metadata of a file without tensors") {
  CHECK_NOTHROW(GgufFile(test::MemoryFile(GgufBytes{}.bytes() + std::string(8, '\0')).path()));
  check_contains(refusal(GgufBytes{}.bytes() + std::string(9, '\0')),
                 "9 bytes behind the last tensor");
}

TEST_CASE("gguf attack: a file that is cut off anywhere is refused") {
  const std::string whole = bytes_of(test::golden("small.gguf"));
  // The last tensor has 136 bytes; the 24 behind it are padding, which may be missing.
  for (size_t length = 0; length < whole.size() - 24; ++length) {
    CAPTURE(length);
    check_contains(refusal(std::string_view(whole).substr(0, length)), "");
  }
  refusal(whole + '\0');
}

TEST_CASE("gguf attack: any flipped bit of the header is refused or can be read to the end") {
  const std::string whole = bytes_of(test::golden("small.gguf"));
  const GgufFile original(test::golden("small.gguf"));
  const auto header =
      static_cast<size_t>(original.tensors()[0].bytes.data() - original.file()->bytes().data());
  int refused = 0;
  for (size_t bit = 0; bit < 8 * header; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const test::MemoryFile memory(flipped);
    CAPTURE(bit);
    try {
      const GgufFile file(memory.path());
      for (const std::string& key : file.keys())
        if (file.value(key).element == GgufType::text && file.value(key).type == GgufType::array)
          file.texts(key);
      for (const GgufTensor& tensor : file.tensors())
        CHECK(tensor.bytes.data() + tensor.bytes.size() <=
              file.file()->bytes().data() + file.file()->bytes().size());
      CHECK(file.tensors().size() == original.tensors().size());
      CHECK(file.keys().size() == original.keys().size());
    } catch (const FormatError& error) {
      check_contains(error.what(), ": at byte ");
      ++refused;
    }
  }
  CHECK(refused > 3000);  // of 11,000; the others are in keys, names, values and padding
}

TEST_CASE("gguf attack: a million keys take no quadratic time") {
  GgufBytes file;
  for (int i = 0; i < 300'000; ++i)  // squared this would be minutes
    file.values.push_back(gguf_value(std::to_string(i), 0, "x"));
  CHECK(GgufFile(test::MemoryFile(file.bytes()).path()).keys().size() == 300'000);
}

}  // namespace graft::io
