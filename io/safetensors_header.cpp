#include "graft/io/safetensors_header.h"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "graft/io/checked.h"
#include "graft/io/checked_shape.h"
#include "graft/io/json_events.h"
#include "graft/io/system.h"

namespace graft::io {
namespace {

constexpr int64_t header_begin = 8;
constexpr std::string_view metadata_key = "__metadata__";

constexpr std::array<SafetensorsDType, 22> dtypes = {{
    {"BOOL", 8, DType::boolean},
    {"F4", 4, std::nullopt},
    {"F6_E2M3", 6, std::nullopt},
    {"F6_E3M2", 6, std::nullopt},
    {"U8", 8, DType::u8},
    {"I8", 8, std::nullopt},
    {"F8_E5M2", 8, std::nullopt},
    {"F8_E4M3", 8, std::nullopt},
    {"F8_E8M0", 8, std::nullopt},
    {"F8_E4M3FNUZ", 8, std::nullopt},
    {"F8_E5M2FNUZ", 8, std::nullopt},
    {"I16", 16, std::nullopt},
    {"U16", 16, std::nullopt},
    {"F16", 16, DType::f16},
    {"BF16", 16, DType::bf16},
    {"I32", 32, DType::i32},
    {"U32", 32, std::nullopt},
    {"F32", 32, DType::f32},
    {"C64", 64, std::nullopt},
    {"F64", 64, DType::f64},
    {"I64", 64, DType::i64},
    {"U64", 64, std::nullopt},
}};

/// A tensor as the header has it, before its numbers are checked.
struct RawEntry {
  std::string name;
  const SafetensorsDType* dtype = nullptr;
  std::array<uint64_t, Shape::max_rank> dims{};
  int rank = -1;  // no shape so far
  std::array<uint64_t, 2> offsets{};
  int offset_count = 0;
};

/// Takes the header apart: one object of tensors, each {"dtype", "shape", "data_offsets"}.
class HeaderReader final : public JsonHandler {
 public:
  explicit HeaderReader(std::string_view file) : file_(file) {}

  void null() override { unexpected("null"); }
  void boolean(bool) override { unexpected("true or false"); }
  void negative(int64_t value) override { unexpected(concat(value)); }
  void number(double value) override { unexpected(concat(value)); }

  void integer(uint64_t value) override {
    if (at_ == At::shape) {
      if (raw_.rank == Shape::max_rank)
        fail(concat("has more than ", Shape::max_rank, " dimensions"));
      raw_.dims[static_cast<size_t>(raw_.rank++)] = value;
    } else if (at_ == At::offsets && raw_.offset_count < 2) {
      raw_.offsets[static_cast<size_t>(raw_.offset_count++)] = value;
    } else {
      unexpected(concat(value));
    }
  }

  void text(std::string& value) override {
    if (at_ == At::metadata) {
      header_.metadata.emplace(std::move(key_), std::move(value));
    } else if (at_ == At::tensor && key_ == "dtype") {
      const auto* found = std::ranges::find(dtypes, value, &SafetensorsDType::name);
      if (found == dtypes.end())
        fail(concat("dtype '", printable(value), "' is none of the format"));
      raw_.dtype = found;
    } else {
      unexpected("a text");
    }
  }

  void begin_object() override {
    if (at_ == At::outside) {
      at_ = At::file;
    } else if (at_ == At::file && key_ == metadata_key) {
      at_ = At::metadata;
    } else if (at_ == At::file) {
      at_ = At::tensor;
      raw_ = RawEntry{};
      raw_.name = std::move(key_);
    } else {
      unexpected("an object");
    }
  }

  void key(std::string& name) override {
    key_ = std::move(name);
    if (at_ == At::tensor && key_ != "dtype" && key_ != "shape" && key_ != "data_offsets")
      fail(concat("has the unknown field '", printable(key_), "'"));
  }

  void end_object() override {
    if (at_ == At::tensor)
      header_.entries.push_back(checked_entry());
    at_ = at_ == At::file ? At::outside : At::file;
  }

  void begin_array() override {
    if (at_ == At::tensor && key_ == "shape") {
      at_ = At::shape;
      raw_.rank = 0;
    } else if (at_ == At::tensor && key_ == "data_offsets") {
      at_ = At::offsets;
    } else {
      unexpected("a list");
    }
  }

  void end_array() override { at_ = At::tensor; }

  SafetensorsHeader take() { return std::move(header_); }

 private:
  enum class At { outside, file, metadata, tensor, shape, offsets };

  [[noreturn]] void fail(std::string_view what) const {
    throw FormatError(file_, offset(), concat("tensor '", printable(raw_.name), "' ", what));
  }

  [[noreturn]] void unexpected(std::string_view what) const {
    switch (at_) {
      case At::outside:
        throw FormatError(file_, offset(), concat("header is ", what, ", expected an object"));
      case At::file:
        throw FormatError(file_, offset(),
                          concat("'", printable(key_), "' is ", what, ", expected an object"));
      case At::metadata:
        throw FormatError(
            file_, offset(),
            concat("metadata '", printable(key_), "' is ", what, ", expected a text"));
      default:
        fail(concat("has ", what, " in ", key_,
                    ", expected a text for dtype, a list of integers of at least 0 for shape, two "
                    "of them for data_offsets"));
    }
  }

  /// The tensor that ends here. Its range still counts from the start of the data.
  SafetensorsEntry checked_entry() const {
    if (raw_.dtype == nullptr || raw_.rank < 0 || raw_.offset_count != 2)
      fail("lacks dtype, shape or two data_offsets");
    const auto shape = checked_shape(std::span(raw_.dims).first(static_cast<size_t>(raw_.rank)));
    const auto bits =
        shape ? checked_mul(static_cast<uint64_t>(shape->numel()), raw_.dtype->bits) : std::nullopt;
    if (!bits)
      fail("is larger than 64 bits can count");
    if (*bits % 8 != 0)
      fail(concat("of ", *bits, " bits does not end at a byte"));
    const auto [begin, end] = raw_.offsets;
    if (begin > end || end > std::numeric_limits<int64_t>::max())
      fail(concat("has data_offsets [", begin, ", ", end, "]"));
    const uint64_t nbytes = end - begin;  // fits: they are in order
    if (nbytes != *bits / 8)
      fail(concat("has data_offsets [", begin, ", ", end, "], ", nbytes,
                  " bytes, its shape and dtype take ", *bits / 8));
    return {raw_.name, raw_.dtype->name, *shape, static_cast<int64_t>(begin),
            static_cast<int64_t>(end)};
  }

  std::string_view file_;
  SafetensorsHeader header_;
  At at_ = At::outside;
  std::string key_;
  RawEntry raw_;
};

/// Puts the tensors in the order of their bytes, makes their ranges count from the file's start,
/// and checks that they cover the data exactly: no overlap, no hole, nothing behind the last one.
void check_coverage(std::vector<SafetensorsEntry>& entries, std::string_view file,
                    int64_t data_begin, int64_t file_size) {
  std::ranges::sort(entries, {}, [](const SafetensorsEntry& entry) {
    return std::tuple(entry.begin, entry.end, std::string_view(entry.name));
  });
  const int64_t data_size = file_size - data_begin;  // fits: the header is in the file
  int64_t next = 0;
  for (SafetensorsEntry& entry : entries) {
    if (entry.begin != next) {
      const auto* what = entry.begin < next ? "overlaps the one before" : "leaves a hole before it";
      throw FormatError(file, data_begin,
                        concat("tensor '", printable(entry.name), "' begins at byte ", entry.begin,
                               " of the data, the one before ends at ", next, ": it ", what));
    }
    next = entry.end;
    if (entry.end > data_size)
      throw FormatError(
          file, file_size,
          concat("file is cut off: tensor '", printable(entry.name), "' ends at byte ", entry.end,
                 " of the data, there are ", data_size));
    entry.begin += data_begin;  // fits: within the file
    entry.end += data_begin;    // fits: within the file
  }
  if (next != data_size)
    throw FormatError(file, data_begin + next,  // fits: within the file
                      concat(data_size - next, " bytes behind the last tensor"));
}

}  // namespace

std::span<const SafetensorsDType> safetensors_dtypes() {
  return dtypes;
}

SafetensorsHeader parse_safetensors_header(std::string_view text, std::string_view file,
                                           int64_t file_size) {
  // A byte order mark, which the JSON parser would skip, is not white space.
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{')
    throw FormatError(file, header_begin, "header does not begin with '{'");
  HeaderReader reader(file);
  parse_json_events(text, file,
                    {.max_bytes = static_cast<int64_t>(max_safetensors_header), .max_depth = 3},
                    reader, header_begin);
  SafetensorsHeader header = reader.take();
  // fits: both are in the file
  check_coverage(header.entries, file, header_begin + static_cast<int64_t>(text.size()), file_size);
  return header;
}

}  // namespace graft::io
