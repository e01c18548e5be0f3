#include <algorithm>

#include "graft/io/gguf.h"
#include "graft/io/safetensors.h"
#include "graft/tests/io/gguf_bytes.h"
#include "graft/tests/support/test.h"

namespace graft::io {
namespace {

using test::check_contains;
using test::message_of;

GgufFile small() {
  return GgufFile(test::golden("small.gguf"));
}

}  // namespace

TEST_CASE("gguf: metadata of every type, as the gguf package wrote it") {
  const GgufFile file = small();
  CHECK(file.version() == 3);
  CHECK(file.text("general.architecture") == "llama");
  CHECK(file.integer("test.u8") == 200);
  CHECK(file.integer("test.i8") == -100);
  CHECK(file.integer("test.u16") == 60000);
  CHECK(file.integer("test.i16") == -30000);
  CHECK(file.integer("test.u32") == 4000000000);
  CHECK(file.integer("test.i32") == -2000000000);
  CHECK(file.integer("test.i64") == std::numeric_limits<int64_t>::min());
  CHECK(file.number("test.u64") == 0x1p64);
  CHECK(file.number("test.f32") == double{0.1f});
  CHECK(file.number("test.f64") == 0.1);
  CHECK(file.number("test.u8") == 200);
  CHECK(file.boolean("test.true"));
  CHECK(!file.boolean("test.false"));
  CHECK(file.text("test.text") == std::string("größe\0 and more", 17));
  CHECK(file.integers("test.integers") == std::vector<int64_t>{1, -2, 3});
  CHECK(file.numbers("test.integers") == std::vector<double>{1, -2, 3});
  CHECK(file.numbers("test.floats") == std::vector<double>{0.5, -1.5});
  CHECK(file.booleans("test.booleans") == std::vector<bool>{true, false, true});
  CHECK(file.texts("test.texts") == std::vector<std::string>{"a", "", "<0x0A>", "▁the"});
  CHECK(file.text_views("test.texts")[3] == "▁the");
  CHECK(std::ranges::count(file.keys(), "test.u8") == 1);
}

TEST_CASE("gguf: fallbacks stand in for missing keys only") {
  const GgufFile file = small();
  CHECK(file.has("test.u8"));
  CHECK(!file.has("test.u9"));
  CHECK(file.integer_or("none", 5) == 5);
  CHECK(file.integer_or("test.u8", 5) == 200);
  CHECK(file.number_or("none", 0.5) == 0.5);
  CHECK(file.boolean_or("none", true));
  CHECK(!file.boolean_or("test.false", true));
  CHECK(file.text_or("none", "x") == "x");
  CHECK_THROWS_AS(file.integer_or("test.text", 5), FormatError);
}

TEST_CASE("gguf: a value of another kind, or none, is an error that names the key") {
  const GgufFile file = small();
  const auto refusal = [&](const std::function<void()>& read) {
    return message_of<FormatError>(read);
  };
  check_contains(refusal([&] { file.integer("test.u9"); }),
                 "small.gguf: metadata 'test.u9' is missing, expected an integer (did you mean "
                 "'test.u8'?)");
  check_contains(refusal([&] { file.integer("test.u64"); }),
                 "metadata 'test.u64' is 1.84467e+19, expected an integer");
  check_contains(refusal([&] { file.integer("test.i8", {.min = 0}); }),
                 "metadata 'test.i8' is -100, expected an integer of at least 0");
  check_contains(refusal([&] { file.integer("test.f64"); }), "is 0.1, expected an integer");
  check_contains(refusal([&] { file.integer("test.integers"); }), "is an array of 3 numbers");
  check_contains(refusal([&] { file.integers("test.u8"); }), "is 200, expected an array");
  check_contains(refusal([&] { file.integers("test.texts"); }), "is an array of 4 texts");
  check_contains(refusal([&] { file.integers("test.integers", {.min = 0}); }),
                 "expected an array, each element an integer of at least 0");
  check_contains(refusal([&] { file.numbers("test.booleans"); }),
                 "is an array of 3 truth values, expected an array of numbers");
  check_contains(refusal([&] { file.number("test.true"); }), "is a truth value, expected a number");
  check_contains(refusal([&] { file.boolean("test.u8"); }), "is 200, expected true or false");
  check_contains(refusal([&] { file.booleans("test.texts"); }), "expected an array of truth");
  check_contains(refusal([&] { file.text("test.u8"); }), "is 200, expected a text");
  check_contains(refusal([&] { file.texts("test.text"); }),
                 "is a text, expected an array of texts");
  check_contains(refusal([&] { file.texts("test.floats"); }), "is an array of 2 numbers");
  check_contains(refusal([&] { file.value("none"); }), "expected a value");
  check_contains(refusal([&] { file.text("test.i8"); }), "small.gguf: at byte ");
}

TEST_CASE("gguf: tensors come with their shape outermost first and their bytes") {
  const GgufFile file = small();
  CHECK(file.tensors().size() == 14);
  const SafetensorsFile expected(test::golden("small_gguf.safetensors"));
  const GgufTensor& f32 = file.tensor("F32.weight");
  CHECK(f32.type == 0);
  CHECK(f32.shape == Shape{3, 64});
  CHECK(std::ranges::equal(f32.bytes, expected.load("F32.weight").bytes()));
  CHECK(file.tensor("Q4_1.weight").bytes.size() == 3 * 64 / 32 * 20);
  CHECK(file.tensor("undecodable").shape == Shape{1, 256});
  CHECK(file.contains("F32.weight"));
  check_contains(message_of<FormatError>([&] { file.tensor("F23.weight"); }),
                 "there is no tensor 'F23.weight' (did you mean 'F32.weight'?)");
}

TEST_CASE("gguf: the mapping keeps a tensor's bytes alive without the file object") {
  std::shared_ptr<const MappedFile> mapping;
  std::span<const std::byte> bytes;
  std::string_view text;
  {
    const GgufFile file = small();
    mapping = file.file();
    bytes = file.tensor("F16.weight").bytes;
    text = file.text_views("test.texts")[2];
  }
  CHECK(bytes.data() > mapping->bytes().data());
  CHECK(text == "<0x0A>");
}

TEST_CASE("gguf: version 2, other alignments and data that is not padded are read") {
  const std::string eight(8, '\1');
  CHECK(GgufFile(test::MemoryFile(test::GgufBytes{.version = 2}.bytes()).path()).version() == 2);
  test::GgufBytes file{.tensors = {test::gguf_tensor("x", {2}, 0, 0)}, .data = eight};
  CHECK(GgufFile(test::MemoryFile(file.bytes()).path()).tensor("x").bytes.size() == 8);
  file.data.resize(32);
  CHECK(GgufFile(test::MemoryFile(file.bytes()).path()).tensor("x").bytes.size() == 8);

  const test::GgufBytes empty{.values = {test::gguf_value("t", 8, test::gguf_text(""))}};
  CHECK(GgufFile(test::MemoryFile(empty.bytes()).path()).text("t").empty());

  // Alignment 1: the second tensor follows the first at once.
  test::GgufBytes packed{
      .values = {test::gguf_value("general.alignment", 4, test::raw(1u))},
      .tensors = {test::gguf_tensor("x", {3}, 24, 0), test::gguf_tensor("y", {1, 1, 2}, 24, 3),
                  test::gguf_tensor("z", {}, 0, 5)}};
  const test::MemoryFile memory(packed.bytes() + "abcde" + test::raw(1.5f));
  const GgufFile read(memory.path());
  CHECK(read.tensor("y").shape == Shape{2, 1, 1});
  CHECK(read.tensor("y").bytes[0] == std::byte{'d'});
  CHECK(read.tensor("z").shape == Shape{});
}

TEST_CASE("gguf: real vocabularies are read") {
  int files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(test::data("tokenizers/llama.cpp-models"))) {
    if (entry.path().extension() != ".gguf")
      continue;
    CAPTURE(entry.path().string());
    const GgufFile file(entry.path());
    const auto tokens = file.texts("tokenizer.ggml.tokens");
    CHECK(tokens.size() > 30'000);
    CHECK(file.integers("tokenizer.ggml.token_type").size() == tokens.size());
    CHECK(file.integer_or("tokenizer.ggml.bos_token_id", 0, {.min = 0}) <
          static_cast<int64_t>(tokens.size()));
    ++files;
  }
  CHECK(files >= 5);
}

TEST_CASE("ggml_block: types that ggml has not have no size") {
  for (const uint32_t type : {4u, 5u, 31u, 36u, 38u, 42u, 0xffffffffu})
    CHECK(ggml_block(type).elements == 0);
  CHECK(ggml_block(14).bytes == 210);
}

}  // namespace graft::io
