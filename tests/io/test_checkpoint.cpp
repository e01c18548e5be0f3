#include "graft/io/safetensors.h"
#include "graft/io/tensor_source.h"
#include "graft/tests/io/bytes.h"
#include "graft/tests/support/test.h"

namespace graft::io {
namespace {

using test::check_contains;
using test::message_of;
using test::put_bytes;

constexpr const char* index_name = "model.safetensors.index.json";

/// A checkpoint in two shards: 1.safetensors has a and b, 2.safetensors has c.
void put_shards(const std::filesystem::path& folder) {
  const std::vector<NamedTensor> first = {{"a", Tensor::full({2}, 1)}, {"b", Tensor::full({3}, 2)}};
  const std::vector<NamedTensor> second = {{"c", Tensor::full({4}, 3)}};
  write_safetensors(folder / "1.safetensors", first);
  write_safetensors(folder / "2.safetensors", second);
}

constexpr const char* good_map =
    R"({"a": "1.safetensors", "b": "1.safetensors", "c": "2.safetensors"})";

std::string index_with(std::string_view map) {
  return concat(R"({"metadata": {"total_size": 36, "more": [{"x": null}]}, "weight_map": )", map,
                "}");
}

/// The message that opening the two shards with this index ends in.
std::string refusal(std::string_view index) {
  const test::TemporaryFolder folder;
  put_shards(folder.path());
  put_bytes(folder / index_name, index);
  return message_of<FormatError>([&] { open_checkpoint(folder.path()); });
}

}  // namespace

TEST_CASE("open_checkpoint: a folder with one file") {
  const test::TemporaryFolder folder;
  const std::vector<NamedTensor> tensors = {{"x", Tensor::full({2}, 5)}};
  write_safetensors(folder / "model.safetensors", tensors);
  put_bytes(folder / "pytorch_model.bin", "never looked at");
  for (const auto& path : {folder.path(), folder / "model.safetensors"}) {
    const auto source = open_checkpoint(path);
    CHECK(source->names() == std::vector<std::string>{"x"});
    CHECK(test::same_bits(source->load("x"), tensors[0].tensor));
  }
}

TEST_CASE("open_checkpoint: a folder with shards gives each tensor from its shard") {
  const test::TemporaryFolder folder;
  put_shards(folder.path());
  put_bytes(folder / index_name, index_with(good_map));
  for (const Access access : {Access::map, Access::read}) {
    const auto source = open_checkpoint(folder.path(), access);
    CHECK(source->names() == std::vector<std::string>{"a", "b", "c"});
    CHECK(source->contains("b"));
    CHECK(!source->contains("d"));
    CHECK(source->info("c").shape == Shape{4});
    CHECK(source->load("a").to_vector() == std::vector<double>{1, 1});
    CHECK(source->load("b").to_vector() == std::vector<double>{2, 2, 2});
    CHECK(source->load("c").to_vector() == std::vector<double>{3, 3, 3, 3});
    CHECK(source->file_of("c") == (folder / "2.safetensors").string());
    source->drop_pages("c");
    check_contains(message_of<FormatError>([&] { source->load("bb"); }),
                   "there is no tensor 'bb' (did you mean 'b'?)");
  }
}

TEST_CASE("open_checkpoint: reads the shards that transformers wrote") {
  const auto source = open_checkpoint(test::golden("models/sharded"));
  CHECK(source->names().size() > 10);
  for (const std::string& name : source->names())
    CHECK(source->load(name).shape() == source->info(name).shape);
}

TEST_CASE("open_checkpoint: links are followed, as the Hugging Face cache needs it") {
  const test::TemporaryFolder blobs;
  const test::TemporaryFolder folder;
  put_shards(blobs.path());
  put_bytes(blobs / "index", index_with(good_map));
  std::filesystem::create_symlink(blobs / "1.safetensors", folder / "1.safetensors");
  std::filesystem::create_symlink(blobs / "2.safetensors", folder / "2.safetensors");
  std::filesystem::create_symlink(blobs / "index", folder / index_name);
  CHECK(open_checkpoint(folder.path())->load("c").numel() == 4);
}

TEST_CASE("shard index: names that leave the folder or are no safetensors file are refused") {
  for (const char* name :
       {"../1.safetensors", "/etc/passwd", "/tmp/1.safetensors", "sub/1.safetensors", "..", ".", "",
        "a\\\\1.safetensors", "1.safetensors\\u0000.safetensors", "1.safetensors/", "1.bin",
        "1.safetensors.pt", "model", "./1.safetensors", "~/1.safetensors"}) {
    CAPTURE(name);
    const std::string message = refusal(index_with(concat(R"({"a": ")", name, R"("})")));
    check_contains(message, "weight_map: tensor 'a' is in '");
    check_contains(message, "expected the plain name of a .safetensors file in the same folder");
    check_contains(message, concat(index_name, ": at byte "));
  }
  check_contains(refusal(index_with(R"({"a": "pytorch_model-1.bin"})")), "safetensors.torch");
}

TEST_CASE("shard index: the shards hold what it says and nothing else") {
  check_contains(refusal(index_with(R"({"a": "1.safetensors", "c": "2.safetensors"})")),
                 "1.safetensors: holds 1 tensors that model.safetensors.index.json does not place "
                 "there: b");
  check_contains(
      refusal(index_with(
          R"({"a": "1.safetensors", "b": "1.safetensors", "c": "2.safetensors", "d": "1.safetensors"})")),
      "weight_map: tensor 'd' is not in 1.safetensors");
  check_contains(
      refusal(index_with(R"({"a": "1.safetensors", "b": "2.safetensors", "c": "2.safetensors"})")),
      "weight_map: tensor 'b' is not in 2.safetensors");
}

TEST_CASE("shard index: a tensor in two shards is refused") {
  const test::TemporaryFolder folder;
  put_shards(folder.path());
  const std::vector<NamedTensor> second = {{"a", Tensor::full({2}, 9)},
                                           {"c", Tensor::full({4}, 3)}};
  write_safetensors(folder / "2.safetensors", second);
  put_bytes(folder / index_name, index_with(good_map));
  const std::string message = message_of<FormatError>([&] { open_checkpoint(folder.path()); });
  check_contains(message, "2.safetensors: holds 1 tensors");
  check_contains(message, "does not place there: a");
}

TEST_CASE("shard index: a shard that is missing or broken is an error of that file") {
  const test::TemporaryFolder folder;
  put_shards(folder.path());
  put_bytes(folder / index_name, index_with(good_map));
  put_bytes(folder / "2.safetensors", "broken");
  check_contains(message_of<FormatError>([&] { open_checkpoint(folder.path()); }),
                 "2.safetensors: at byte 0: has 6 bytes");
  std::filesystem::remove(folder / "2.safetensors");
  check_contains(message_of<IoError>([&] { open_checkpoint(folder.path()); }),
                 "2.safetensors: No such file");
}

TEST_CASE("shard index: texts that are no index are refused") {
  check_contains(refusal("{}"), "has no object \"weight_map\"");
  check_contains(refusal("[]"), "is a list, expected an object");
  check_contains(refusal("7"), "is a number, expected an object");
  check_contains(refusal("\"weight_map\""), "is a text, expected an object");
  check_contains(refusal(R"({"weight_map": []})"), "'weight_map' is a list, expected an object");
  check_contains(refusal(R"({"weight_map": null})"), "is null, expected an object");
  check_contains(refusal(R"({"weight_map": "a"})"), "is a text, expected an object");
  check_contains(refusal(R"({"weight_map": {"a": 1}})"), "'a' is a number, expected a file name");
  check_contains(refusal(R"({"weight_map": {"a": ["1.safetensors"]}})"), "'a' is a list");
  check_contains(refusal(R"({"weight_map": {"a": {"b": "1.safetensors"}}})"), "'a' is an object");
  check_contains(refusal(R"({"metadata": {"weight_map": {"a": "1.safetensors"}}})"),
                 "has no object");
  check_contains(refusal(R"({"weight_map": {"a": "1.safetensors", "a": "2.safetensors"}})"),
                 "key 'a' is there twice");
  check_contains(refusal(std::string(1000, '[')), "is a list");
  check_contains(refusal(R"({"metadata":)" + std::string(1000, '[')), "more than 16 levels");
  check_contains(refusal(""), "not valid JSON");
}

TEST_CASE("shard index: cut off anywhere it is refused") {
  const test::TemporaryFolder folder;
  put_shards(folder.path());
  const std::string whole = index_with(good_map);
  for (size_t length = 0; length < whole.size(); ++length) {
    CAPTURE(length);
    put_bytes(folder / index_name, std::string_view(whole).substr(0, length));
    check_contains(message_of<FormatError>([&] { open_checkpoint(folder.path()); }), index_name);
  }
}

TEST_CASE("shard index: every flipped bit is refused or changes nothing that is read") {
  const test::TemporaryFolder folder;
  put_shards(folder.path());
  const std::string whole = index_with(good_map);
  int refused = 0;
  for (size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    put_bytes(folder / index_name, flipped);
    CAPTURE(flipped);
    try {
      const auto source = open_checkpoint(folder.path());
      CHECK(source->names() == std::vector<std::string>{"a", "b", "c"});
    } catch (const Error&) {  // a FormatError, or an IoError where the name is one of no file
      ++refused;
    }
  }
  CHECK(refused > 600);  // of 1,100; the others are in the metadata
}

TEST_CASE("open_checkpoint: pickles are refused by name and by folder, with the way out") {
  const test::TemporaryFolder folder;
  put_bytes(folder / "pytorch_model-00001-of-00002.bin", "PK");
  put_bytes(folder / "pytorch_model.bin.index.json", "{}");
  put_bytes(folder / "config.json", "{}");
  const std::string message = message_of<FormatError>([&] { open_checkpoint(folder.path()); });
  check_contains(message, "has neither model.safetensors nor model.safetensors.index.json");
  check_contains(message,
                 "pytorch_model-00001-of-00002.bin, pytorch_model.bin.index.json: each is a "
                 "pickle");
  check_contains(message, "safetensors.torch");
  for (const char* name : {"a.bin", "a.pt", "a.pth", "a.ckpt", "a.pkl"})
    check_contains(message_of<FormatError>([&] { open_checkpoint(folder / name); }), "pickle");
}

TEST_CASE("open_checkpoint: a folder without a checkpoint says what it holds instead") {
  const test::TemporaryFolder folder;
  check_contains(message_of<FormatError>([&] { open_checkpoint(folder.path()); }), "has neither");
  put_bytes(folder / "adapter_model.safetensors", "");
  check_contains(message_of<FormatError>([&] { open_checkpoint(folder.path()); }),
                 "there are adapter_model.safetensors: name one to read it alone");
  check_contains(message_of<IoError>([&] { open_checkpoint(folder / "none"); }), "No such file");
}

}  // namespace graft::io
