// Safetensors files made to mislead a reader, those of the reference's own tests among them.
#include <chrono>

#include "graft/io/safetensors.h"
#include "graft/tests/io/bytes.h"
#include "graft/tests/support/test.h"

namespace graft::io {
namespace {

using test::bytes_of;
using test::check_contains;
using test::message_of;
using test::put_bytes;
using test::safetensors_bytes;

/// The message that opening a file of these bytes ends in: the same whether mapped or read, with
/// the file's name and a byte offset.
std::string refusal(std::string_view bytes) {
  const test::MemoryFile file(bytes);
  const auto open = [&](Access access) {
    return message_of<FormatError>([&] { SafetensorsFile(file.path(), access); });
  };
  const std::string message = open(Access::map);
  CHECK(open(Access::read) == message);
  check_contains(message, file.path().string() + ": at byte ");
  return message;
}

std::string refusal(std::string_view header, size_t data_bytes) {
  return refusal(safetensors_bytes(header, std::string(data_bytes, '\0')));
}

/// {"x": {"dtype": …, "shape": …, "data_offsets": …}}
std::string entry(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return concat(R"({"x":{"dtype":")", dtype, R"(","shape":)", shape, R"(,"data_offsets":)", offsets,
                "}}");
}

/// Several F32 tensors of shape [1] named 0, 1, … at the given ranges.
std::string entries(std::initializer_list<std::string_view> ranges) {
  std::string text = "{";
  int i = 0;
  for (const std::string_view range : ranges) {
    text += concat(i > 0 ? "," : "", "\"", i, R"(":{"dtype":"F32","shape":[1],"data_offsets":)",
                   range, "}");
    ++i;
  }
  return text + "}";
}

/// What a file says, names and metadata aside: dtype, shape (of tensors that have elements) and
/// range of each tensor.
std::string meaning(const SafetensorsFile& file) {
  std::string text;
  for (const SafetensorsEntry& entry : file.entries()) {
    const Shape shape = entry.shape.numel() == 0 ? Shape{0} : entry.shape;
    text += concat(entry.dtype, shape, "[", entry.begin, ",", entry.end, ") ");
  }
  return text;
}

}  // namespace

TEST_CASE("safetensors attack: no room for the header") {
  check_contains(refusal(""), "has 0 bytes, a safetensors file at least 8");
  check_contains(refusal("\1\0\0\0\0\0\0"), "has 1 bytes");
  check_contains(refusal(test::raw(uint64_t{1})), "file is cut off");
  check_contains(refusal(test::raw(uint64_t{100}) + "{}"), "has 100 bytes, 2 are there");
  check_contains(refusal(test::raw(uint64_t{0})), "does not begin with '{'");
  check_contains(refusal(test::raw(~uint64_t{0})), "header of 18446744073709551615 bytes");
  check_contains(refusal(test::raw(~uint64_t{0} - 7)), "at most 100000000 are read");
  check_contains(refusal(test::raw(uint64_t{100'000'001}) + "{}"), "at most 100000000 are read");
  check_contains(refusal(test::raw(uint64_t{100'000'000}) + "{}"), "file is cut off");
}

TEST_CASE("safetensors attack: headers that are no JSON object of tensors") {
  check_contains(refusal("{", 0), "not valid JSON");
  check_contains(refusal("[]", 0), "does not begin with '{'");
  check_contains(refusal("null", 0), "does not begin with '{'");
  check_contains(refusal("\xef\xbb\xbf{}", 0), "does not begin with '{'");
  check_contains(refusal("{}x", 0), "not valid JSON");
  check_contains(refusal(std::string("{}\0", 3), 0), "not valid JSON");
  check_contains(refusal("{\"\xff\":1}", 0), "not valid JSON");
  check_contains(refusal("{}{}", 0), "not valid JSON");
  check_contains(refusal(R"({"x":1})", 0), "'x' is 1, expected an object");
  check_contains(refusal(R"({"x":null})", 0), "'x' is null");
  check_contains(refusal(R"({"x":[]})", 0), "'x' is a list");
  check_contains(refusal(R"({"x":"y"})", 0), "'x' is a text");
  check_contains(refusal(R"({"x":{}})", 0), "tensor 'x' lacks dtype, shape or two data_offsets");
  check_contains(refusal(R"({"__metadata__":{"a":1}})", 0), "metadata 'a' is 1, expected a text");
  check_contains(refusal(R"({"__metadata__":{"a":{}}})", 0), "metadata 'a' is an object");
  check_contains(refusal(R"({"__metadata__":null})", 0), "'__metadata__' is null");
  check_contains(refusal(std::string(1'000'000, '{'), 0), "not valid JSON");
  check_contains(refusal("{\"x\":" + std::string(100'000, '['), 0), "'x' is a list");
  check_contains(refusal(entry("F32", "[[1]]", "[0,4]"), 4), "more than 3 levels deep");
}

TEST_CASE("safetensors attack: names that are there twice") {
  check_contains(refusal(entries({"[0,4]"}).insert(1, R"("0":{"dtype":"F32","shape":[1],)"
                                                      R"("data_offsets":[0,4]},)"),
                         4),
                 "key '0' is there twice");
  check_contains(refusal(R"({"x":{"dtype":"F32","dtype":"U8"}})", 0), "key 'dtype' is there twice");
  check_contains(refusal(R"({"__metadata__":{"a":"1","a":"2"}})", 0), "key 'a' is there twice");
  check_contains(refusal(R"({"__metadata__":{},"__metadata__":{}})", 0), "is there twice");
  const std::string x = R"({"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  check_contains(refusal(concat(R"({"x":)", x, R"(,"\u0078":)", x, "}"), 0), "'x' is there twice");
}

TEST_CASE("safetensors attack: fields that are missing, unknown or of another kind") {
  check_contains(refusal(entry("F33", "[1]", "[0,4]"), 4), "dtype 'F33' is none of the format");
  check_contains(refusal(entry("f32", "[1]", "[0,4]"), 4), "is none of the format");
  check_contains(refusal(entry("F32", "1", "[0,4]"), 4), "tensor 'x' has 1 in shape");
  check_contains(refusal(entry("F32", "[-1]", "[0,4]"), 4), "tensor 'x' has -1 in shape");
  check_contains(refusal(entry("F32", "[1.0]", "[0,4]"), 4), "in shape");
  check_contains(refusal(entry("F32", "[\"1\"]", "[0,4]"), 4), "has a text in shape");
  check_contains(refusal(entry("F32", "[null]", "[0,4]"), 4), "has null in shape");
  check_contains(refusal(entry("F32", "[true]", "[0,4]"), 4), "has true or false in shape");
  check_contains(refusal(entry("F32", "[{}]", "[0,4]"), 4), "more than 3 levels");
  check_contains(refusal(entry("F32", "[18446744073709551616]", "[0,4]"), 4), "in shape");
  check_contains(refusal(entry("F32", "[1,1,1,1,1,1,1]", "[0,4]"), 4), "more than 6 dimensions");
  check_contains(refusal(entry("F32", "[1]", "[0]"), 4), "lacks");
  check_contains(refusal(entry("F32", "[1]", "[0,4,4]"), 4), "in data_offsets");
  check_contains(refusal(entry("F32", "[1]", "[0,-4]"), 4), "has -4 in data_offsets");
  check_contains(refusal(entry("F32", "[1]", "{\"0\":4}"), 4), "has an object in data_offsets");
  check_contains(refusal(R"({"x":{"dtype":"F32","shape":[1]}})", 4), "lacks");
  check_contains(refusal(R"({"x":{"dtype":3}})", 4), "has 3 in dtype");
  check_contains(refusal(R"({"x":{"dtype":["F32"]}})", 4), "has a list in dtype");
  check_contains(refusal(R"({"x":{"stride":[1]}})", 4), "has the unknown field 'stride'");
}

TEST_CASE("safetensors attack: ranges that do not cover the data exactly") {
  check_contains(refusal(entries({"[0,4]", "[0,4]"}), 4), "overlaps the one before");
  check_contains(refusal(entries({"[0,4]", "[2,6]"}), 6), "overlaps the one before");
  check_contains(refusal(entries({"[0,4]", "[5,9]"}), 9), "leaves a hole before it");
  check_contains(refusal(entries({"[4,8]"}), 8), "leaves a hole before it");
  check_contains(refusal(entries({"[4,0]"}), 4), "has data_offsets [4, 0]");
  check_contains(refusal(entries({"[18446744073709551612,0]"}), 4),  // whose difference is 4
                 "has data_offsets [18446744073709551612, 0]");
  check_contains(refusal(entries({"[0,4]"}), 5), "1 bytes behind the last tensor");
  check_contains(refusal(entries({"[0,4]"}), 2), "file is cut off: tensor '0' ends at byte 4");
  check_contains(refusal("{}", 1), "1 bytes behind the last tensor");
  check_contains(refusal(entries({"[0,3]"}), 4), "3 bytes, its shape and dtype take 4");
  check_contains(refusal(entry("F32", "[0]", "[0,4]"), 4), "4 bytes, its shape and dtype take 0");
  check_contains(refusal(entry("F32", "[]", "[0,0]"), 0), "take 4");
  check_contains(refusal(entry("U8", "[0]", "[18446744073709551615,18446744073709551615]"), 0),
                 "has data_offsets");
  check_contains(refusal(entry("U8", "[0]", "[9223372036854775807,9223372036854775807]"), 0),
                 "leaves a hole");
}

TEST_CASE("safetensors attack: products that overflow") {
  for (const char* shape :
       {"[2,18446744073709551614]", "[2,9223372036854775807]", "[4294967296,4294967296]",
        "[9223372036854775808]", "[3037000500,3037000500]", "[65536,65536,65536,65536]",
        "[9223372036854775807,9223372036854775807,0]",
        "[0,9223372036854775807,9223372036854775807]"})
    check_contains(refusal(entry("F32", shape, "[0,4]"), 4), "larger than 64 bits can count");
  check_contains(refusal(entry("F64", "[4611686018427387904]", "[0,0]"), 0), "larger than 64 bits");
}

TEST_CASE("safetensors attack: bits that end inside a byte") {
  check_contains(refusal(entry("F4", "[3]", "[0,1]"), 1), "of 12 bits does not end at a byte");
  check_contains(refusal(entry("F6_E2M3", "[1]", "[0,0]"), 0), "of 6 bits");
}

TEST_CASE("safetensors attack: a truth value that is neither 0 nor 1") {
  const test::TemporaryFolder folder;
  const std::string header = entry("BOOL", "[3]", "[0,3]");
  put_bytes(folder / "f", safetensors_bytes(header, std::string("\0\1\2", 3)));
  for (const Access access : {Access::map, Access::read}) {
    const SafetensorsFile file(folder / "f", access);
    const std::string message = message_of<FormatError>([&] { file.load("x"); });
    check_contains(message, "tensor 'x' of BOOL holds 2, expected 0 or 1");
    CHECK(test::offset_in(message) == static_cast<int64_t>(8 + header.size() + 2));
  }
}

TEST_CASE("safetensors attack: pickles are refused with the way out, whatever they are called") {
  for (const std::string& start :
       {std::string("PK\3\4\0\0\10\10\0\0", 10), std::string("\x80\2}q\0(X\1\0\0\0", 11)}) {
    const std::string message = refusal(start + std::string(100, 'x'));
    check_contains(message, "is a pickle (PyTorch) file");
    check_contains(message, "safetensors.torch");
  }
}

TEST_CASE("safetensors attack: terminal escapes of names do not reach the message") {
  const std::string message = refusal("{\"\\u001b[2J" + std::string(1'000'000, 'n') + "\":1}", 0);
  CHECK(message.find('\x1b') == std::string::npos);
  CHECK(message.size() < 600);
}

TEST_CASE("safetensors: empty tensors may share an offset, an empty file is one without tensors") {
  const test::TemporaryFolder folder;
  put_bytes(folder / "f",
            safetensors_bytes(R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},)"
                              R"("b":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                              R"("c":{"dtype":"F64","shape":[3,0],"data_offsets":[4,4]}})",
                              test::raw(2.5f)));
  const SafetensorsFile file(folder / "f");
  CHECK(file.load("a").shape() == Shape{0});
  CHECK(file.load("b").item() == 2.5);
  CHECK(file.load("c").shape() == Shape{3, 0});
  put_bytes(folder / "g", safetensors_bytes("{}"));
  CHECK(SafetensorsFile(folder / "g").names().empty());
}

TEST_CASE("safetensors attack: a file that is cut off anywhere or goes on is refused") {
  const std::string whole = bytes_of(test::golden("safetensors/all_dtypes.safetensors"));
  for (size_t length = 0; length < whole.size(); ++length) {
    CAPTURE(length);
    refusal(std::string_view(whole).substr(0, length));
  }
  refusal(whole + '\0');
  refusal(whole + whole);
}

TEST_CASE("safetensors attack: a flipped bit of the header is refused or changes no range") {
  const std::filesystem::path path = test::golden("safetensors/all_dtypes.safetensors");
  const std::string whole = bytes_of(path);
  const std::string expected = meaning(SafetensorsFile(path));
  const size_t header_end = 8 + static_cast<size_t>(whole[0]) + 256 * static_cast<size_t>(whole[1]);
  REQUIRE(header_end < whole.size());
  int refused = 0;
  for (size_t bit = 0; bit < 8 * header_end; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const test::MemoryFile memory(flipped);
    try {
      const SafetensorsFile file(memory.path());
      for (const std::string& name : file.names())
        file.load(name);
      CAPTURE(bit);
      CHECK(meaning(file) == expected);
    } catch (const FormatError& error) {
      check_contains(error.what(), ": at byte ");
      ++refused;
    }
  }
  CHECK(refused > 4500);  // of 7,900; the others are in names, the metadata and the padding
}

TEST_CASE("safetensors attack: a hundred thousand tensors over the same bytes") {
  std::string header = "{";
  for (int i = 0; i < 100'000; ++i)
    header += concat(i > 0 ? "," : "", "\"", i,
                     R"(":{"dtype":"F32","shape":[200,200],"data_offsets":[0,160000]})");
  check_contains(refusal(header + "}", 160'000), "overlaps the one before");
}

TEST_CASE("safetensors: two hundred thousand tensors are opened, each is found") {
  const test::TemporaryFolder folder;
  std::string header = "{";
  for (int i = 0; i < 200'000; ++i)
    header += concat(i > 0 ? "," : "", "\"", i, R"(":{"dtype":"U8","shape":[1],"data_offsets":[)",
                     i, ",", i + 1, "]}");
  put_bytes(folder / "f", safetensors_bytes(header + "}", std::string(200'000, 7)));
  const SafetensorsFile file(folder / "f");
  CHECK(file.load("199999").item() == 7);
  CHECK(!file.contains("200000"));
}

}  // namespace graft::io
