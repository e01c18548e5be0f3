#include "graft/io/gguf_write.h"

#include <bit>
#include <cstring>

#include "graft/io/gguf_types.h"
#include "graft/tensor/error.h"

namespace graft::io {
namespace {

static_assert(std::endian::native == std::endian::little,
              "GGUF files are written as little-endian");

constexpr uint32_t written_version = 3;
constexpr int64_t alignment = 32;
constexpr int most_dimensions = 4;

template <class T>
void put(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void put_text(std::string& bytes, std::string_view text) {
  put(bytes, uint64_t{text.size()});
  bytes += text;
}

template <class T>
void put_all(std::string& bytes, std::span<const T> values) {
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

int64_t padded(int64_t nbytes) {
  return (nbytes + alignment - 1) / alignment * alignment;
}

/// The description of a tensor whose bytes begin `offset` bytes behind the descriptions' end.
void put_tensor(std::string& bytes, const GgufTensorOut& tensor, int64_t offset) {
  put_text(bytes, tensor.name);
  const int rank = tensor.shape.rank();
  put(bytes, static_cast<uint32_t>(rank));
  for (int i = rank - 1; i >= 0; --i)  // the file has the innermost first
    put(bytes, static_cast<uint64_t>(tensor.shape[i]));
  put(bytes, tensor.type);
  put(bytes, static_cast<uint64_t>(offset));
}

void check_tensors(std::span<const GgufTensorOut> tensors) {
  std::set<std::string_view> names;
  for (const GgufTensorOut& tensor : tensors) {
    GRAFT_CHECK(!tensor.name.empty() && names.insert(tensor.name).second, ConfigError,
                "write_gguf: two tensors are called '", tensor.name, "', or one has no name");
    GRAFT_CHECK(tensor.shape.rank() <= most_dimensions, ConfigError, "write_gguf: tensor '",
                tensor.name, "' has shape ", tensor.shape, ", at most ", most_dimensions,
                " dimensions expected");
  }
}

void pad(FileWriter& out) {
  constexpr char zeros[alignment] = {};
  const int64_t missing = padded(out.written()) - out.written();
  out.write(std::string_view(zeros, static_cast<size_t>(missing)));
}

}  // namespace

void GgufValues::begin(std::string_view key, GgufType type) {
  GRAFT_CHECK(!key.empty() && keys_.emplace(key).second, ConfigError, "write_gguf: the key '", key,
              "' is empty or there already");
  put_text(bytes_, key);
  put(bytes_, static_cast<uint32_t>(type));
}

void GgufValues::begin_array(std::string_view key, GgufType element, size_t count) {
  begin(key, GgufType::array);
  put(bytes_, static_cast<uint32_t>(element));
  put(bytes_, uint64_t{count});
}

void GgufValues::add_u32(std::string_view key, uint32_t value) {
  begin(key, GgufType::u32);
  put(bytes_, value);
}

void GgufValues::add_f32(std::string_view key, float value) {
  begin(key, GgufType::f32);
  put(bytes_, value);
}

void GgufValues::add_boolean(std::string_view key, bool value) {
  begin(key, GgufType::boolean);
  put(bytes_, static_cast<uint8_t>(value));
}

void GgufValues::add_text(std::string_view key, std::string_view value) {
  begin(key, GgufType::text);
  put_text(bytes_, value);
}

void GgufValues::add_i32s(std::string_view key, std::span<const int32_t> values) {
  begin_array(key, GgufType::i32, values.size());
  put_all(bytes_, values);
}

void GgufValues::add_f32s(std::string_view key, std::span<const float> values) {
  begin_array(key, GgufType::f32, values.size());
  put_all(bytes_, values);
}

void GgufValues::add_booleans(std::string_view key, const std::vector<bool>& values) {
  begin_array(key, GgufType::boolean, values.size());
  for (const bool value : values)
    put(bytes_, static_cast<uint8_t>(value));
}

void GgufValues::add_texts(std::string_view key, std::span<const std::string> values) {
  begin_array(key, GgufType::text, values.size());
  for (const std::string& value : values)
    put_text(bytes_, value);
}

int64_t gguf_nbytes(const GgufTensorOut& tensor) {
  const GgmlBlock block = ggml_block(tensor.type);
  GRAFT_CHECK(block.elements > 0, ConfigError, "write_gguf: tensor '", tensor.name, "' has type ",
              tensor.type, ", which is none of ggml's");
  const int64_t row = tensor.shape.rank() == 0 ? 1 : tensor.shape[-1];
  GRAFT_CHECK(row % block.elements == 0, ConfigError, "write_gguf: tensor '", tensor.name,
              "' has rows of ", row, ", whole blocks of ", block.elements, " expected");
  return tensor.shape.numel() / block.elements * block.bytes;
}

void write_gguf(FileWriter& out, const GgufValues& values, std::span<const GgufTensorOut> tensors) {
  check_tensors(tensors);
  std::string head = "GGUF";
  put(head, written_version);
  put(head, uint64_t{tensors.size()});
  put(head, values.count());
  head += values.bytes();
  int64_t data_bytes = 0;
  for (const GgufTensorOut& tensor : tensors) {
    put_tensor(head, tensor, data_bytes);
    data_bytes += padded(gguf_nbytes(tensor));
  }
  out.reserve(padded(static_cast<int64_t>(head.size())) + data_bytes);
  out.write(head);
  for (const GgufTensorOut& tensor : tensors) {
    pad(out);
    const int64_t end = out.written() + gguf_nbytes(tensor);
    tensor.write(out);
    GRAFT_CHECK(out.written() == end, Error, "write_gguf: tensor '", tensor.name, "' came out ",
                out.written() - end, " bytes longer than its shape says");
  }
  pad(out);
}

}  // namespace graft::io
