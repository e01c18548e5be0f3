#include <string>
#include <vector>

#include "graft/io/gguf.h"
#include "graft/io/gguf_write.h"
#include "graft/tests/io/bytes.h"
#include "graft/tests/support/test.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

void add_array(io::GgufValues& values, const io::GgufFile& file, const std::string& key) {
  switch (file.value(key).element) {
    case io::GgufType::text:
      return values.add_texts(key, file.texts(key));
    case io::GgufType::boolean:
      return values.add_booleans(key, file.booleans(key));
    case io::GgufType::f32: {
      std::vector<float> numbers;
      for (const double number : file.numbers(key))
        numbers.push_back(static_cast<float>(number));
      return values.add_f32s(key, numbers);
    }
    case io::GgufType::i32: {
      std::vector<int32_t> numbers;
      for (const int64_t number : file.integers(key))
        numbers.push_back(static_cast<int32_t>(number));
      return values.add_i32s(key, numbers);
    }
    default:
      FAIL("a kind of array that is not written: ", key);
  }
}

void add_value(io::GgufValues& values, const io::GgufFile& file, const std::string& key) {
  switch (file.value(key).type) {
    case io::GgufType::u32:
      return values.add_u32(key, static_cast<uint32_t>(file.integer(key)));
    case io::GgufType::f32:
      return values.add_f32(key, static_cast<float>(file.number(key)));
    case io::GgufType::boolean:
      return values.add_boolean(key, file.boolean(key));
    case io::GgufType::text:
      return values.add_text(key, file.text(key));
    default:
      add_array(values, file, key);
  }
}

/// Writes what `file` holds.
void write_again(const io::GgufFile& file, const fs::path& path) {
  io::GgufValues values;
  for (const std::string& key : file.keys())
    add_value(values, file, key);
  std::vector<io::GgufTensorOut> tensors;
  for (const io::GgufTensor& tensor : file.tensors())
    tensors.push_back({tensor.name, tensor.type, tensor.shape,
                       [&tensor](io::FileWriter& out) { out.write(tensor.bytes); }});
  io::write_file_atomically(path,
                            [&](io::FileWriter& out) { io::write_gguf(out, values, tensors); });
}

io::GgufTensorOut f32_tensor(const std::string& name, Shape shape, size_t nbytes) {
  return {name, 0, shape, [nbytes](io::FileWriter& out) { out.write(std::string(nbytes, '\1')); }};
}

void write(const fs::path& path, const std::vector<io::GgufTensorOut>& tensors) {
  io::write_file_atomically(
      path, [&](io::FileWriter& out) { io::write_gguf(out, io::GgufValues(), tensors); });
}

}  // namespace

TEST_CASE("write_gguf: what the gguf package wrote is written again byte by byte") {
  const test::TemporaryFolder scratch;
  int files = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(test::golden("gguf_models"))) {
    if (entry.path().filename().string().find("-of-") != std::string::npos)
      continue;  // parts have keys of u16, which nothing else needs
    CAPTURE(entry.path().filename().string());
    write_again(io::GgufFile(entry.path()), scratch / "again.gguf");
    CHECK(test::bytes_of(scratch / "again.gguf") == test::bytes_of(entry.path()));
    ++files;
  }
  CHECK(files >= 7);
}

TEST_CASE("write_gguf: tensors that cannot be in a file are refused, and no file is left") {
  const test::TemporaryFolder scratch;
  const fs::path path = scratch / "x.gguf";
  const auto refused = [&](const std::vector<io::GgufTensorOut>& tensors, const char* expected) {
    test::check_contains(test::message_of<ConfigError>([&] { write(path, tensors); }), expected);
    CHECK(!fs::exists(path));
  };
  refused({f32_tensor("a", {2}, 8), f32_tensor("a", {2}, 8)}, "two tensors are called 'a'");
  refused({f32_tensor("", {2}, 8)}, "one has no name");
  refused({f32_tensor("a", {1, 1, 1, 1, 2}, 8)}, "at most 4 dimensions");
  refused({{"a", 2, {3, 40}, {}}}, "rows of 40, whole blocks of 32 expected");
  refused({{"a", 4, {32}, {}}}, "type 4, which is none of ggml's");
  const auto too_long = [&] { write(path, {f32_tensor("a", {2}, 12)}); };
  test::check_contains(test::message_of<Error>(too_long), "4 bytes longer");
  CHECK(!fs::exists(path));
}

TEST_CASE("write_gguf: a key can be added once") {
  io::GgufValues values;
  values.add_u32("a", 1);
  const auto twice = [&] { values.add_text("a", "b"); };
  test::check_contains(test::message_of<ConfigError>(twice), "the key 'a'");
  CHECK(values.count() == 1);
  CHECK(values.has("a"));
  CHECK(!values.has("b"));
}

}  // namespace graft
