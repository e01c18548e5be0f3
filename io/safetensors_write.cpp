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
std::vector<const NamedTensor*> in_file_order(std::span<const NamedTensor> tensors) {
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& tensor : tensors)
    order.push_back(&tensor);
  std::ranges::sort(order, [](const NamedTensor* a, const NamedTensor* b) {
    const size_t rank_a = rank_of(a->tensor.dtype());
    const size_t rank_b = rank_of(b->tensor.dtype());
    return rank_a != rank_b ? rank_a > rank_b : a->name < b->name;
  });
  return order;
}

void check_writable(std::span<const NamedTensor> tensors) {
  std::vector<std::string_view> names;
  for (const NamedTensor& named : tensors) {
    GRAFT_CHECK(named.tensor.defined(), ConfigError, "write_safetensors: tensor '", named.name,
                "' is undefined");
    GRAFT_CHECK(named.tensor.device() == cpu, DeviceError, "write_safetensors: tensor '",
                named.name, "' is on ", named.tensor.device(), ", expected the CPU");
    GRAFT_CHECK(named.name != "__metadata__", ConfigError,
                "write_safetensors: no tensor can be called '__metadata__'");
    names.push_back(named.name);
  }
  std::ranges::sort(names);
  const auto twice = std::ranges::adjacent_find(names);
  GRAFT_CHECK(twice == names.end(), ConfigError, "write_safetensors: two tensors are called '",
              twice == names.end() ? "" : *twice, "'");
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
std::string header_text(const std::vector<const NamedTensor*>& order,
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
  for (const NamedTensor* named : order) {
    const Tensor& tensor = named->tensor;
    separate();
    text += concat(quoted(named->name), R"(:{"dtype":")",
                   safetensors_dtypes()[rank_of(tensor.dtype())].name, R"(","shape":[)");
    for (int i = 0; i < tensor.rank(); ++i)
      text += concat(i == 0 ? "" : ",", tensor.dim(i));
    text += concat(R"(],"data_offsets":[)", begin, ",", begin + tensor.nbytes(), "]}");
    begin += tensor.nbytes();
  }
  text += "}";
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size() - 8;
  GRAFT_CHECK(length <= max_safetensors_header, ConfigError, "write_safetensors: header of ",
              length, " bytes, at most ", max_safetensors_header, " can be read again");
  std::memcpy(text.data(), &length, sizeof(length));
  return text;
}

}  // namespace

void write_safetensors(FileWriter& out, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  check_writable(tensors);
  const std::vector<const NamedTensor*> order = in_file_order(tensors);
  const std::string header = header_text(order, metadata);
  auto total = static_cast<int64_t>(header.size());
  for (const NamedTensor* named : order)
    total += named->tensor.nbytes();
  out.reserve(total);
  out.write(header);
  for (const NamedTensor* named : order)
    out.write(named->tensor.contiguous().bytes());
}

void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  write_file_atomically(path, [&](FileWriter& out) { write_safetensors(out, tensors, metadata); });
}

}  // namespace graft::io
