#include <algorithm>

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

/// Elements 0, 1, 2 … in row-major order; every second one true where dtype is bool: the tensors of
/// tests/golden/make_safetensors.py.
Tensor counted(Shape shape, DType dtype) {
  std::vector<double> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<double>(dtype == DType::boolean ? i % 2 : i);
  return Tensor::from(values, shape).to(dtype);
}

std::vector<NamedTensor> all_dtypes() {
  return {{"f64", counted({3}, DType::f64)},
          {"f32", counted({2, 3}, DType::f32)},
          {"a.weight", counted({5}, DType::f32)},
          {"bf16", counted({3, 1, 2}, DType::bf16)},
          {"f16", counted({1}, DType::f16)},
          {"i64", counted({2}, DType::i64)},
          {"i32", counted({4}, DType::i32)},
          {"u8", counted({3}, DType::u8)},
          {"bool", counted({5}, DType::boolean)},
          {"scalar", counted({}, DType::f32)},
          {"empty", counted({0, 4}, DType::f32)},
          {"Empty", counted({2, 0}, DType::boolean)},
          {"quote \" backslash \\ tab \t bell \x07 slash / delete \x7f", counted({1}, DType::u8)},
          {"größe 模型", counted({2}, DType::u8)}};
}

const Access accesses[] = {Access::map, Access::read};

}  // namespace

TEST_CASE("write_safetensors: tensors that are made when they are written give the same bytes") {
  const test::TemporaryFolder folder;
  const std::vector<NamedTensor> tensors = all_dtypes();
  std::vector<LazyTensor> lazy;
  std::vector<std::string> order;
  for (const NamedTensor& named : tensors)
    lazy.push_back({named.name, {named.tensor.dtype(), named.tensor.shape()}, [&] {
                      order.push_back(named.name);
                      return named.tensor;
                    }});
  write_safetensors(folder / "f", lazy, {{"format", "pt"}});
  CHECK(bytes_of(folder / "f") == bytes_of(test::golden("safetensors/all_dtypes.safetensors")));
  const SafetensorsFile file(folder / "f");
  REQUIRE(order.size() == tensors.size());
  for (size_t i = 0; i < order.size(); ++i)
    CHECK(order[i] == file.entries()[i].name);
  // One that cannot be made, or is something else, leaves the old file.
  lazy.back().make = [] { return counted({3}, DType::u8); };
  check_contains(message_of<Error>([&] { write_safetensors(folder / "f", lazy); }),
                 "is u8 (3), but was to be u8 (2)");
  lazy.back().make = []() -> Tensor { throw NonFiniteError("broken"); };
  CHECK_THROWS_AS(write_safetensors(folder / "f", lazy), NonFiniteError);
  CHECK(bytes_of(folder / "f") == bytes_of(test::golden("safetensors/all_dtypes.safetensors")));
  CHECK(std::ranges::distance(std::filesystem::directory_iterator(folder.path())) == 1);
}

TEST_CASE("write_safetensors: writes the bytes of Python's library") {
  const test::TemporaryFolder folder;
  const auto written = [&](const std::vector<NamedTensor>& tensors,
                           const std::map<std::string, std::string>& metadata) {
    write_safetensors(folder / "f", tensors, metadata);
    return bytes_of(folder / "f");
  };
  CHECK(written(all_dtypes(), {{"format", "pt"}}) ==
        bytes_of(test::golden("safetensors/all_dtypes.safetensors")));
  CHECK(written({{"x", counted({2, 2}, DType::f32)}}, {}) ==
        bytes_of(test::golden("safetensors/no_metadata.safetensors")));
  CHECK(written({}, {{"key \"1\"", "line\nbreak, ü, \u2028"}}) ==
        bytes_of(test::golden("safetensors/only_metadata.safetensors")));
  CHECK(written({}, {}) == bytes_of(test::golden("safetensors/nothing.safetensors")));
}

TEST_CASE("write_safetensors: a transposed or sliced tensor is written row by row") {
  const test::TemporaryFolder folder;
  const Tensor x = counted({4, 6}, DType::f32);
  const std::vector<NamedTensor> tensors = {{"t", x.transpose(0, 1)}, {"s", x.slice(1, 2, 5)}};
  write_safetensors(folder / "f", tensors);
  const SafetensorsFile file(folder / "f");
  CHECK(test::same_bits(file.load("t"), tensors[0].tensor));
  CHECK(test::same_bits(file.load("s"), tensors[1].tensor));
}

TEST_CASE("write_safetensors: refuses what could not be read again") {
  const test::TemporaryFolder folder;
  const auto refusal = [&](const std::vector<NamedTensor>& tensors,
                           const std::map<std::string, std::string>& metadata = {}) {
    return message_of<ConfigError>([&] { write_safetensors(folder / "f", tensors, metadata); });
  };
  const Tensor x = Tensor::zeros({1});
  check_contains(refusal({{"a", x}, {"b", x}, {"a", x}}), "two tensors are called 'a'");
  check_contains(refusal({{"__metadata__", x}}), "'__metadata__'");
  check_contains(refusal({{"a\xff", x}}), "is not valid UTF-8");
  check_contains(refusal({}, {{"a", "\xff"}}), "is not valid UTF-8");
  check_contains(refusal({{"a", Tensor()}}), "tensor 'a' is undefined");
  check_contains(refusal({}, {{"a", std::string(100'000'000, 'x')}}), "at most 100000000");
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("safetensors: every dtype survives the way to the file and back") {
  const test::TemporaryFolder folder;
  const std::vector<NamedTensor> tensors = all_dtypes();
  write_safetensors(folder / "f", tensors, {{"b", "2"}, {"a", "1"}});
  for (const Access access : accesses) {
    const SafetensorsFile file(folder / "f", access);
    CHECK(file.names().size() == tensors.size());
    CHECK(std::ranges::is_sorted(file.names()));
    CHECK(file.metadata() == std::map<std::string, std::string>{{"a", "1"}, {"b", "2"}});
    for (const NamedTensor& named : tensors) {
      CAPTURE(named.name);
      CHECK(file.contains(named.name));
      CHECK(file.info(named.name).dtype == named.tensor.dtype());
      CHECK(file.info(named.name).shape == named.tensor.shape());
      CHECK(test::same_bits(file.load(named.name), named.tensor));
      CHECK(file.file_of(named.name) == (folder / "f").string());
    }
  }
}

TEST_CASE("safetensors: mapped tensors share the file's pages and outlive the file object") {
  const test::TemporaryFolder folder;
  write_safetensors(folder / "f", all_dtypes());
  Tensor mapped;
  Tensor read;
  {
    const SafetensorsFile file(folder / "f");
    mapped = file.load("f32");
    CHECK(mapped.storage()->is_external());
    file.drop_pages("f32");
    read = SafetensorsFile(folder / "f", Access::read).load("f32");
  }
  CHECK(!read.storage()->is_external());
  CHECK(test::same_bits(mapped, counted({2, 3}, DType::f32)));
  CHECK(test::same_bits(read, mapped));
}

TEST_CASE("safetensors: white space around the header and data that is not aligned are read") {
  const test::TemporaryFolder folder;
  const std::string data = test::raw(1.5f) + test::raw(-2.5f);
  for (const char* space : {"", " ", "\n\t ", "    "}) {
    const std::string header =
        concat(space, R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", space);
    put_bytes(folder / "f", safetensors_bytes(header, data));
    for (const Access access : accesses) {
      const Tensor x = SafetensorsFile(folder / "f", access).load("x");
      CHECK(x.to_vector() == std::vector<double>{1.5, -2.5});
      CHECK(x.storage()->is_external() == (access == Access::map && header.size() % 4 == 0));
    }
  }
}

TEST_CASE("safetensors: a tensor that is not there is named with the nearest") {
  const SafetensorsFile file(test::golden("safetensors/all_dtypes.safetensors"));
  const std::string message = message_of<FormatError>([&] { file.load("a.wieght"); });
  check_contains(message,
                 "all_dtypes.safetensors: there is no tensor 'a.wieght' (did you mean "
                 "'a.weight'?)");
  CHECK_THROWS_AS(file.info("x"), FormatError);
  CHECK_THROWS_AS(file.drop_pages("x"), FormatError);
  CHECK_THROWS_AS(file.file_of("x"), FormatError);
  CHECK(!file.contains("x"));
}

TEST_CASE("safetensors: a dtype that graft has not is named when the tensor is asked for") {
  const test::TemporaryFolder folder;
  put_bytes(folder / "f",
            safetensors_bytes(R"({"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]},)"
                              R"("b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
                              "123"));
  const SafetensorsFile file(folder / "f");
  CHECK(file.load("b").item() == '3');
  CHECK(file.entry("a").dtype == "F8_E4M3");
  check_contains(message_of<FormatError>([&] { file.load("a"); }),
                 "tensor 'a' is F8_E4M3; graft reads F64, F32, BF16");
  CHECK_THROWS_AS(file.info("a"), FormatError);
}

TEST_CASE("safetensors: real files of other writers are read, mapped and read alike") {
  int tensors = 0;
  for (const char* name :
       {"models/stories260k/hf/model.safetensors", "models/tinystories-656k/bf16/model.safetensors",
        "models/tinystories-656k/fp32/model.safetensors",
        "quant/safetensors_reference/awq.safetensors",
        "quant/safetensors_reference/gptq.safetensors"}) {
    const std::filesystem::path path = test::data(name);
    const SafetensorsFile mapped(path);
    const SafetensorsFile read(path, Access::read);
    for (const std::string& tensor : mapped.names()) {
      CHECK(test::same_bits(mapped.load(tensor), read.load(tensor)));
      ++tensors;
    }
  }
  CHECK(tensors > 80);
}

TEST_CASE("safetensors: a real file that is read and written again has the same bytes") {
  const test::TemporaryFolder folder;
  const std::filesystem::path path = test::data("models/tinystories-656k/bf16/model.safetensors");
  const SafetensorsFile file(path);
  std::vector<NamedTensor> tensors;
  for (const std::string& name : file.names())
    tensors.push_back({name, file.load(name)});
  write_safetensors(folder / "f", tensors, file.metadata());
  CHECK(bytes_of(folder / "f") == bytes_of(path));
}

TEST_CASE("safetensors: a file can be written over the one whose tensors are still mapped") {
  const test::TemporaryFolder folder;
  const std::vector<NamedTensor> original = {{"x", counted({100'000}, DType::f32)}};
  write_safetensors(folder / "f", original);
  const std::vector<NamedTensor> again = {{"x", SafetensorsFile(folder / "f").load("x")}};
  write_safetensors(folder / "f", again);
  CHECK(test::same_bits(SafetensorsFile(folder / "f").load("x"), original[0].tensor));
}

}  // namespace graft::io
