#include "graft/io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <utility>

#include "graft/io/file.h"
#include "graft/io/pickle.h"
#include "graft/io/safetensors_header.h"
#include "graft/io/system.h"
#include "graft/io/tensor_file.h"

namespace graft::io {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

constexpr int64_t length_bytes = 8;

/// Bytes of a tensor.
size_t size_of(const SafetensorsEntry& entry) {
  return static_cast<size_t>(entry.end - entry.begin);  // fits: a range that was checked
}

/// The header's length, checked against the file's.
int64_t checked_header_length(std::span<const std::byte> start, const std::string& file,
                              int64_t file_size) {
  uint64_t length = 0;
  if (start.size() < sizeof(length))
    throw FormatError(file, 0, concat("has ", file_size, " bytes, a safetensors file at least 8"));
  std::memcpy(&length, start.data(), sizeof(length));
  const int64_t behind = file_size - length_bytes;  // fits: the file has as many bytes
  const bool fits = std::cmp_less_equal(length, behind);
  if (length <= max_safetensors_header && fits)
    return static_cast<int64_t>(length);
  if (looks_like_pickle(start))
    throw FormatError(file, 0, pickle_refusal());
  if (length > max_safetensors_header)
    throw FormatError(file, 0,
                      concat("header of ", length, " bytes, at most ", max_safetensors_header,
                             " are read; is this a safetensors file?"));
  throw FormatError(
      file, file_size,
      concat("file is cut off: the header has ", length, " bytes, ", behind, " are there"));
}

/// A bool of C++ is 0 or 1; any other byte would be undefined behaviour later.
void check_booleans(const SafetensorsEntry& entry, std::span<const std::byte> bytes,
                    const std::string& file) {
  const auto bad = std::ranges::find_if(bytes, [](std::byte b) { return b > std::byte{1}; });
  if (bad != bytes.end())
    throw FormatError(file, entry.begin + (bad - bytes.begin()),  // fits: a byte of the file
                      concat("tensor '", printable(entry.name), "' of BOOL holds ",
                             std::to_integer<int>(*bad), ", expected 0 or 1"));
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path, Access access)
    : path_(path.string()) {
  SafetensorsHeader header;
  if (access == Access::map) {
    mapping_ = std::make_shared<const MappedFile>(path);
    const auto bytes = mapping_->bytes();
    const auto size = static_cast<int64_t>(bytes.size());
    const int64_t length =
        checked_header_length(bytes.first(std::min<size_t>(bytes.size(), 8)), path_, size);
    const auto text = bytes.subspan(length_bytes, static_cast<size_t>(length));
    header = parse_safetensors_header({reinterpret_cast<const char*>(text.data()), text.size()},
                                      path_, size);
  } else {
    input_ = std::make_unique<const InputFile>(path);
    const int64_t size = input_->size();
    std::vector<std::byte> start(static_cast<size_t>(std::min(size, length_bytes)));
    input_->read(0, start);
    std::string text(static_cast<size_t>(checked_header_length(start, path_, size)), '\0');
    input_->read(length_bytes, std::as_writable_bytes(std::span(text)));
    header = parse_safetensors_header(text, path_, size);
  }
  entries_ = std::move(header.entries);
  metadata_ = std::move(header.metadata);
  by_name_.resize(entries_.size());
  std::iota(by_name_.begin(), by_name_.end(), 0u);
  std::ranges::sort(by_name_, {}, [&](uint32_t i) { return std::string_view(entries_[i].name); });
}

SafetensorsFile::~SafetensorsFile() = default;

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto by_name = [&](uint32_t i) { return std::string_view(entries_[i].name); };
  const auto found = std::ranges::lower_bound(by_name_, name, {}, by_name);
  return found != by_name_.end() && by_name(*found) == name ? &entries_[*found] : nullptr;
}

const SafetensorsEntry& SafetensorsFile::entry(std::string_view name) const {
  if (const SafetensorsEntry* found = find(name))
    return *found;
  throw no_such_tensor(path_, name, names());
}

DType SafetensorsFile::dtype_of_entry(const SafetensorsEntry& entry) const {
  const auto dtypes = safetensors_dtypes();
  const auto row = std::ranges::find(dtypes, entry.dtype, &SafetensorsDType::name);
  if (!row->dtype)
    throw FormatError(path_, entry.begin,
                      concat("tensor '", printable(entry.name), "' is ", entry.dtype,
                             "; graft reads F64, F32, BF16, F16, I64, I32, U8 and BOOL"));
  return *row->dtype;
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> result;
  result.reserve(by_name_.size());
  for (const uint32_t i : by_name_)
    result.push_back(entries_[i].name);
  return result;
}

bool SafetensorsFile::contains(std::string_view name) const {
  return find(name) != nullptr;
}

TensorInfo SafetensorsFile::info(std::string_view name) const {
  const SafetensorsEntry& found = entry(name);
  return {dtype_of_entry(found), found.shape};
}

Tensor SafetensorsFile::load(std::string_view name) const {
  const SafetensorsEntry& found = entry(name);
  const DType dtype = dtype_of_entry(found);
  const size_t nbytes = size_of(found);
  Tensor result;
  if (mapping_ != nullptr) {
    const auto bytes = mapping_->bytes().subspan(static_cast<size_t>(found.begin), nbytes);
    result = mapped_tensor(mapping_, bytes, dtype, found.shape);
  } else {
    result = Tensor::empty(found.shape, dtype);
    input_->read(found.begin, {static_cast<std::byte*>(result.as_view().data), nbytes});
  }
  if (dtype == DType::boolean)
    check_booleans(found, result.bytes(), path_);
  return result;
}

void SafetensorsFile::drop_pages(std::string_view name) const {
  const SafetensorsEntry& found = entry(name);
  if (mapping_ != nullptr)
    mapping_->drop_pages(
        mapping_->bytes().subspan(static_cast<size_t>(found.begin), size_of(found)));
}

std::string SafetensorsFile::file_of(std::string_view name) const {
  entry(name);
  return path_;
}

}  // namespace graft::io
