// Models in several GGUF files, as gguf-split makes them, right or wrong.
#include <cstdio>
#include <filesystem>
#include <functional>

#include "graft/io/gguf_model.h"
#include "graft/tests/io/gguf_bytes.h"
#include "graft/tests/support/test.h"

namespace graft::io {
namespace {

using test::check_contains;
using test::gguf_tensor;
using test::gguf_text;
using test::gguf_value;
using test::GgufBytes;
using test::message_of;
using test::raw;

/// One part of a model: what it says of itself, and its tensors, of eight numbers each.
struct Part {
  uint16_t number = 0, count = 3;
  int32_t total = 4;
  std::vector<std::string> tensors = {};
  std::string architecture = {};

  std::string bytes() const {
    GgufBytes file{.values = {gguf_value("split.no", 2, raw(number)),
                              gguf_value("split.count", 2, raw(count)),
                              gguf_value("split.tensors.count", 5, raw(total))}};
    if (!architecture.empty())
      file.values.push_back(gguf_value("general.architecture", 8, gguf_text(architecture)));
    for (const std::string& name : tensors) {
      file.tensors.push_back(gguf_tensor(name, {8}, 0, file.data.size()));
      file.data += std::string(32, name[0]);
    }
    return file.bytes();
  }
};

/// Three parts with the tensors a, b, c, d; the test changes them before they are written.
struct Model {
  test::TemporaryFolder folder;
  std::vector<Part> parts{{.number = 0, .tensors = {"a"}, .architecture = "llama"},
                          {.number = 1, .tensors = {"b", "c"}},
                          {.number = 2, .tensors = {"d"}}};

  static std::string name(size_t number) {
    return "model-0000" + std::to_string(number + 1) + "-of-00003.gguf";
  }
  std::filesystem::path path(size_t number) const { return folder / name(number); }
  const Model& write() const {
    for (size_t i = 0; i < parts.size(); ++i)
      test::put_bytes(path(i), parts[i].bytes());
    return *this;
  }
  std::string refusal(size_t given = 0) const {
    return message_of<FormatError>([&] { GgufModel(path(given)); });
  }
};

}  // namespace

TEST_CASE("gguf model: a file that was not split is the whole model") {
  const GgufModel model(test::golden("small.gguf"));
  CHECK(model.files().size() == 1);
  CHECK(model.metadata().text("test.text").starts_with("größe"));
  CHECK(model.tensors().size() == model.metadata().tensors().size());
  CHECK(model.contains("F32.weight"));
  CHECK(model.tensor("F32.weight").file == &model.metadata());
  check_contains(message_of<FormatError>([&] { model.tensor("F23.weight"); }),
                 "there is no tensor 'F23.weight' (did you mean 'F32.weight'?)");
  // A count of 1 is no split, whatever the name.
  const GgufBytes alone{.values = {gguf_value("split.count", 2, raw(uint16_t{1}))}};
  CHECK(GgufModel(test::MemoryFile(alone.bytes()).path()).files().size() == 1);
}

TEST_CASE("gguf model: the parts are read as one, whichever is given") {
  const Model files;
  files.write();
  for (size_t given = 0; given < 3; ++given) {
    const GgufModel model(files.path(given));
    CHECK(model.files().size() == 3);
    CHECK(model.path() == files.path(0).string());
    CHECK(model.metadata().text("general.architecture") == "llama");
    std::string names;
    for (const GgufPlace& place : model.tensors())
      names += place.tensor->name;
    CHECK(names == "abcd");
    CHECK(model.tensor("c").file->path() == files.path(1).string());
    CHECK(model.tensor("c").tensor->bytes[0] == std::byte{'c'});
  }
}

TEST_CASE("gguf model: parts that the gguf package wrote are read as one") {
  const GgufModel model(test::golden("gguf_models/llama3_other-00002-of-00003.gguf"));
  CHECK(model.files().size() == 3);
  CHECK(model.tensors().size() == 21);
  CHECK(model.metadata().text("general.architecture") == "llama");
}

TEST_CASE("gguf model attack: a part that is missing or has another name") {
  Model files;
  files.write();
  std::filesystem::remove(files.path(1));
  check_contains(files.refusal(), Model::name(1) + ": is missing: part 2 of 3 of the model of ");
  check_contains(files.refusal(2), Model::name(1) + ": is missing");
  std::filesystem::rename(files.path(0), files.folder / "renamed.gguf");
  check_contains(message_of<FormatError>([&] { GgufModel(files.folder / "renamed.gguf"); }),
                 "renamed.gguf: is part 1 of 3 of a model, but its name does not end in "
                 "-00001-of-00003.gguf, by which the other parts are found");
}

TEST_CASE("gguf model attack: parts that are others than their names say") {
  Model swapped;
  std::swap(swapped.parts[1], swapped.parts[2]);
  check_contains(swapped.write().refusal(),
                 Model::name(1) + ": is part 3 of 3 by its metadata, part 2 of 3 by its name");
  Model count;
  count.parts[2].count = 4;
  check_contains(count.write().refusal(), Model::name(2) + ": is part 3 of 4 by its metadata");
  Model whole;
  whole.parts[1].count = 1;
  check_contains(whole.write().refusal(), Model::name(1) + ": is part 1 of 1 by its metadata");
}

TEST_CASE("gguf model attack: parts of other models") {
  Model total;
  total.parts[1].total = 5;
  check_contains(total.write().refusal(),
                 Model::name(1) + ": is a part of another model: it is one of 5 tensors, ");
  Model architecture;
  architecture.parts[1].architecture = "qwen2";
  check_contains(architecture.write().refusal(),
                 Model::name(1) + ": is a part of another model: general.architecture is qwen2");
  Model twice;
  twice.parts[2].tensors = {"a"};
  const std::string message = twice.write().refusal();
  check_contains(message, Model::name(2) + ": tensor 'a' is there, and in ");
  check_contains(message, Model::name(0) + " too");
  for (const size_t tensors : {size_t{1}, size_t{3}}) {
    Model other;
    other.parts[1].tensors = std::vector<std::string>{"b", "c", "e"};
    other.parts[1].tensors.resize(tensors);
    check_contains(other.write().refusal(), "split.tensors.count is 4, but the 3 parts hold ");
  }
}

TEST_CASE("gguf model attack: counts and numbers that no part has") {
  const auto refusal = [](uint32_t type, const std::string& count, const std::string& number) {
    const GgufBytes file{
        .values = {gguf_value("split.count", type, count), gguf_value("split.no", type, number)}};
    const test::MemoryFile memory(file.bytes());
    return message_of<FormatError>([&] { GgufModel(memory.path()); });
  };
  check_contains(refusal(4, raw(0u), raw(0u)), "'split.count' is 0, expected an integer from 1");
  check_contains(refusal(4, raw(~0u), raw(0u)), "'split.count' is 4294967295");
  check_contains(refusal(4, raw(3u), raw(3u)), "'split.no' is 3, expected an integer from 0 to 2");
  check_contains(refusal(5, raw(3), raw(-1)), "'split.no' is -1");
  check_contains(refusal(6, raw(3.0f), raw(0.0f)), "'split.count' is 3, expected an integer");
  const GgufBytes no_number{.values = {gguf_value("split.count", 4, raw(3u))}};
  const test::MemoryFile memory(no_number.bytes());
  check_contains(message_of<FormatError>([&] { GgufModel(memory.path()); }),
                 "'split.no' is missing");
}

TEST_CASE("gguf model attack: a part cut off at any byte is refused, and named") {
  const Model files;
  files.write();
  const std::string whole = files.parts[1].bytes();
  for (size_t size = 0; size < whole.size(); ++size) {
    test::put_bytes(files.path(1), whole.substr(0, size));
    CAPTURE(size);
    check_contains(files.refusal(), Model::name(1));
  }
}

}  // namespace graft::io
