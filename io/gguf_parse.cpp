#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "graft/io/checked_shape.h"
#include "graft/io/gguf.h"
#include "graft/io/gguf_types.h"
#include "graft/io/system.h"

namespace graft::io {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are read as little-endian");

// The least that an entry takes, whatever it holds: bounds the counts before memory is reserved.
constexpr uint64_t least_value_bytes = 8 + 1 + 4 + 1;
constexpr uint64_t least_tensor_bytes = 8 + 1 + 4 + 4 + 8;
constexpr uint32_t most_dimensions = 4;

/// A place in the file that moves forward. Nothing is read that is not there.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  uint64_t offset() const { return at_; }
  uint64_t remaining() const { return bytes_.size() - at_; }  // fits: it never leaves the file

  [[noreturn]] void fail(std::string_view what) const { fail_at(at_, what); }
  [[noreturn]] void fail_at(uint64_t offset, std::string_view what) const {
    throw FormatError(file_, static_cast<int64_t>(offset), what);
  }

  /// Moves over `count` bytes and returns them.
  std::span<const std::byte> take(uint64_t count, std::string_view what) {
    if (count > remaining())
      fail(concat("file is cut off: ", what, " takes ", count, " bytes, ", remaining(),
                  " are there"));
    const auto part = bytes_.subspan(at_, count);
    at_ += count;  // fits: so much remains
    return part;
  }

  template <class T>
  T number(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  std::string_view text(std::string_view what) {
    const auto part = take(number<uint64_t>(what), what);
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }

  /// A count of things of at least `least` bytes each.
  uint64_t count(uint64_t least, std::string_view what) {
    const auto result = number<uint64_t>(what);
    if (result > remaining() / least)
      fail(concat("file cannot hold ", result, " ", what, " in ", remaining(), " bytes"));
    return result;
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& file_;
  uint64_t at_ = 0;
};

GgufType read_type(Cursor& in) {
  const auto type = in.number<uint32_t>("the type of a value");
  if (type > static_cast<uint32_t>(GgufType::f64))
    in.fail(concat("value type ", type, " is none of GGUF's"));
  return static_cast<GgufType>(type);
}

/// Moves over the elements of a value, looking at those that can be wrong in themselves.
void skip_elements(Cursor& in, const GgufValue& value) {
  if (value.element == GgufType::text) {
    for (uint64_t i = 0; i < value.count; ++i)
      in.text("a text");
    return;
  }
  const auto nbytes = checked_mul(value.count, gguf_type_size(value.element));
  if (!nbytes)
    in.fail(concat("array of ", value.count, " elements is larger than 64 bits can count"));
  const auto bytes = in.take(*nbytes, "a value");
  if (value.element == GgufType::boolean &&
      std::ranges::any_of(bytes, [](std::byte b) { return b > std::byte{1}; }))
    in.fail("a truth value is neither 0 nor 1");
}

GgufValue read_value(Cursor& in) {
  GgufValue value;
  value.type = value.element = read_type(in);
  if (value.type == GgufType::array) {
    value.element = read_type(in);
    if (value.element == GgufType::array)
      in.fail("arrays of arrays are not supported");
    const uint64_t least = value.element == GgufType::text ? 8 : gguf_type_size(value.element);
    value.count = in.count(least, "array elements");
  }
  value.offset = in.offset();
  skip_elements(in, value);
  return value;
}

/// A tensor as the file describes it, and where.
struct RawTensor {
  std::string_view name;
  uint32_t type = 0;
  Shape shape;
  uint64_t offset = 0;     // from the start of the tensor data
  uint64_t described = 0;  // byte of the file behind the description
  uint64_t nbytes = 0;
};

Shape read_shape(Cursor& in, std::string_view name) {
  const auto rank = in.number<uint32_t>("a tensor's rank");
  if (rank > most_dimensions)
    in.fail(concat("tensor '", printable(name), "' has ", rank, " dimensions, at most ",
                   most_dimensions, " are allowed"));
  std::array<uint64_t, most_dimensions> sizes{};
  const auto used = std::span(sizes).first(rank);
  std::ranges::generate(used, [&] { return in.number<uint64_t>("a tensor's size"); });
  std::ranges::reverse(used);  // the file has the innermost first
  const std::optional<Shape> shape = checked_shape(used);
  if (!shape)
    in.fail(concat("tensor '", printable(name), "' is larger than 64 bits can count"));
  return *shape;
}

RawTensor read_tensor(Cursor& in) {
  RawTensor tensor;
  tensor.name = in.text("a tensor's name");
  if (tensor.name.empty())
    in.fail("a tensor has no name");
  tensor.shape = read_shape(in, tensor.name);
  tensor.type = in.number<uint32_t>("a tensor's type");
  tensor.offset = in.number<uint64_t>("a tensor's offset");
  tensor.described = in.offset();
  const GgmlBlock block = ggml_block(tensor.type);
  if (block.elements == 0)
    in.fail(concat("tensor '", printable(tensor.name), "' has type ", tensor.type,
                   ", which is none of ggml's"));
  const int64_t row = tensor.shape.rank() == 0 ? 1 : tensor.shape[-1];
  if (row % block.elements != 0)
    in.fail(concat("tensor '", printable(tensor.name), "' has rows of ", row,
                   ", not whole blocks of ", block.elements));
  const auto nbytes = checked_mul(tensor.shape.numel() / block.elements, block.bytes);
  if (!nbytes)
    in.fail(concat("tensor '", printable(tensor.name), "' is larger than 64 bits can count"));
  tensor.nbytes = static_cast<uint64_t>(*nbytes);
  return tensor;
}

/// Gives the tensors their bytes: each must stand where the one before, padded, ends.
std::vector<GgufTensor> place_tensors(std::span<const RawTensor> raw, const MappedFile& file,
                                      uint64_t header_end, uint64_t alignment) {
  const auto bytes = file.bytes();
  const auto fail = [&](uint64_t offset, const std::string& what) {
    throw FormatError(file.path(), static_cast<int64_t>(offset), what);
  };
  std::vector<GgufTensor> tensors;
  tensors.reserve(raw.size());
  std::optional<uint64_t> next = checked_align_up(header_end, alignment);
  const std::optional<uint64_t> data_begin = next;
  uint64_t end = header_end;
  for (const RawTensor& tensor : raw) {
    const std::string name = printable(tensor.name);
    const auto begin = checked_add(data_begin.value_or(0), tensor.offset);
    if (!next || begin != next)
      fail(tensor.described, concat("tensor '", name, "' begins at byte ", tensor.offset,
                                    " of the data, the one before it ends elsewhere"));
    const auto tensor_end = checked_add(*begin, tensor.nbytes);
    if (!tensor_end || *tensor_end > bytes.size())
      fail(bytes.size(), concat("file is cut off: tensor '", name, "' of ", tensor.nbytes,
                                " bytes begins at byte ", *begin));
    end = *tensor_end;
    next = checked_align_up(end, alignment);
    tensors.push_back({std::string(tensor.name), tensor.type, tensor.shape,
                       bytes.subspan(*begin, tensor.nbytes)});
  }
  if (!next || bytes.size() > *next)
    // fits: `end` was compared with the size of the file
    fail(end, concat(bytes.size() - end, " bytes behind the last tensor"));
  return tensors;
}

uint32_t read_version(Cursor& in) {
  const auto magic = in.take(4, "the magic number");
  if (std::memcmp(magic.data(), "GGUF", 4) != 0)
    in.fail_at(0, "does not begin with 'GGUF': not a GGUF file");
  const auto version = in.number<uint32_t>("the version");
  if (version != 0 && (version & 0xffffu) == 0)
    in.fail("is written for big-endian machines; convert it with gguf_convert_endian.py");
  if (version != 2 && version != 3)
    in.fail(concat("has version ", version, ", versions 2 and 3 are read"));
  return version;
}

/// The key "general.alignment", 32 where it is missing.
uint64_t read_alignment(const GgufValue* value, const MappedFile& file) {
  if (value == nullptr)
    return 32;
  uint32_t alignment = 0;
  if (value->type == GgufType::u32)
    std::memcpy(&alignment, file.bytes().subspan(value->offset, sizeof(alignment)).data(),
                sizeof(alignment));
  if (!std::has_single_bit(alignment))
    throw FormatError(file.path(), static_cast<int64_t>(value->offset),
                      "general.alignment is not a power of two of type u32");
  return alignment;
}

}  // namespace

GgufFile::GgufFile(const std::filesystem::path& path)
    : file_(std::make_shared<const MappedFile>(path)) {
  Cursor in(file_->bytes(), file_->path());
  version_ = read_version(in);
  const uint64_t tensor_count = in.count(least_tensor_bytes, "tensors");
  const uint64_t value_count = in.count(least_value_bytes, "metadata values");
  for (uint64_t i = 0; i < value_count; ++i) {
    const std::string_view key = in.text("a key");
    if (key.empty())
      in.fail("a key is empty");
    if (!values_.emplace(key, GgufValue{}).second)
      in.fail(concat("key '", printable(key), "' is there twice"));
    keys_.emplace_back(key);
    values_[key] = read_value(in);
  }
  std::vector<RawTensor> raw;
  for (uint64_t i = 0; i < tensor_count; ++i) {
    raw.push_back(read_tensor(in));
    if (!tensor_index_.emplace(raw.back().name, i).second)
      in.fail(concat("tensor '", printable(raw.back().name), "' is there twice"));
  }
  const uint64_t alignment = read_alignment(find("general.alignment"), *file_);
  tensors_ = place_tensors(raw, *file_, in.offset(), alignment);
}

}  // namespace graft::io
