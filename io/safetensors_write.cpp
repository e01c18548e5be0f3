#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "graft/io/checked.h"
#include "graft/io/file.h"
#include "graft/io/json.h"
#include "graft/io/safetensors.h"
#include "graft/io/safetensors_header.h"
#include "graft/io/system.h"

namespace graft::io {
namespace {

/// Place of a dtype in the format's list.
size_t rank_of(DType dtype) {
  const auto dtypes = safetensors_dtypes();
  return static_cast<size_t>(
      std::ranges::find(dtypes, std::optional(dtype), &SafetensorsDType::dtype) - dtypes.begin());
}

/// The tensors in the order the reference writes them: wider dtypes first, so that each is aligned.
std::vector<const LazyTensor*> in_file_order(std::span<const LazyTensor> tensors) {
  std::vector<const LazyTensor*> order;
  for (const LazyTensor& tensor : tensors)
    order.push_back(&tensor);
  std::ranges::sort(order, [](const LazyTensor* a, const LazyTensor* b) {
    const size_t rank_a = rank_of(a->info.dtype);
    const size_t rank_b = rank_of(b->info.dtype);
    return rank_a != rank_b ? rank_a > rank_b : a->name < b->name;
  });
  return order;
}

void check_names(std::span<const LazyTensor> tensors) {
  std::vector<std::string_view> names;
  for (const LazyTensor& tensor : tensors) {
    GRAFT_CHECK(tensor.name != "__metadata__", ConfigError,
                "write_safetensors: no tensor can be called '__metadata__'");
    names.push_back(tensor.name);
  }
  std::ranges::sort(names);
  const auto twice = std::ranges::adjacent_find(names);
  GRAFT_CHECK(twice == names.end(), ConfigError, "write_safetensors: two tensors are called '",
              twice == names.end() ? "" : *twice, "'");
}

int64_t nbytes_of(const TensorInfo& info) {
  return info.shape.numel() * static_cast<int64_t>(element_size(info.dtype));
}

/// A JSON string. Throws ConfigError where the text is not valid UTF-8.
std::string quoted(const std::string& text) {
  try {
    return Json(text).dump();
  } catch (const Json::exception&) {
    throw ConfigError(concat("write_safetensors: '", printable(text), "' is not valid UTF-8"));
  }
}

/// The header with its length in front, padded with spaces so that the data begins at a multiple
/// of 8.
std::string header_text(const std::vector<const LazyTensor*>& order,
                        const std::map<std::string, std::string>& metadata) {
  std::string text(8, '\0');
  const auto separate = [&] { text += text.back() == '{' ? "" : ","; };
  text += "{";
  if (!metadata.empty()) {
    text += R"("__metadata__":{)";
    for (const auto& [key, value] : metadata) {
      separate();
      text += concat(quoted(key), ":", quoted(value));
    }
    text += "}";
  }
  int64_t begin = 0;
  for (const LazyTensor* tensor : order) {
    const auto& [dtype, shape] = tensor->info;
    separate();
    text += concat(quoted(tensor->name), R"(:{"dtype":")",
                   safetensors_dtypes()[rank_of(dtype)].name, R"(","shape":[)");
    for (int i = 0; i < shape.rank(); ++i)
      text += concat(i == 0 ? "" : ",", shape[i]);
    const int64_t end = begin + nbytes_of(tensor->info);
    text += concat(R"(],"data_offsets":[)", begin, ",", end, "]}");
    begin = end;
  }
  text += "}";
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size() - 8;
  GRAFT_CHECK(length <= max_safetensors_header, ConfigError, "write_safetensors: header of ",
              length, " bytes, at most ", max_safetensors_header, " can be read again");
  std::memcpy(text.data(), &length, sizeof(length));
  return text;
}

Tensor made(const LazyTensor& tensor) {
  const Tensor value = tensor.make();
  GRAFT_CHECK(value.device() == cpu, DeviceError, "write_safetensors: tensor '", tensor.name,
              "' is on ", value.device(), ", expected the CPU");
  GRAFT_CHECK(value.dtype() == tensor.info.dtype && value.shape() == tensor.info.shape, Error,
              "write_safetensors: tensor '", tensor.name, "' is ", value.dtype(), " ",
              value.shape(), ", but was to be ", tensor.info.dtype, " ", tensor.info.shape);
  return value.contiguous();
}

void write(FileWriter& out, std::span<const LazyTensor> tensors,
           const std::map<std::string, std::string>& metadata) {
  check_names(tensors);
  const std::vector<const LazyTensor*> order = in_file_order(tensors);
  const std::string header = header_text(order, metadata);
  auto total = static_cast<int64_t>(header.size());
  for (const LazyTensor* tensor : order)
    total += nbytes_of(tensor->info);
  out.reserve(total);
  out.write(header);
  for (const LazyTensor* tensor : order)
    out.write(made(*tensor).bytes());
}

}  // namespace

void write_safetensors(FileWriter& out, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<LazyTensor> lazy;
  for (const NamedTensor& named : tensors) {
    GRAFT_CHECK(named.tensor.defined(), ConfigError, "write_safetensors: tensor '", named.name,
                "' is undefined");
    lazy.push_back({named.name,
                    {named.tensor.dtype(), named.tensor.shape()},
                    [&tensor = named.tensor] { return tensor; }});
  }
  write(out, lazy, metadata);
}

void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  write_file_atomically(path, [&](FileWriter& out) { write_safetensors(out, tensors, metadata); });
}

void write_safetensors(const std::filesystem::path& path, std::span<const LazyTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  write_file_atomically(path, [&](FileWriter& out) { write(out, tensors, metadata); });
}

}  // namespace graft::io
