#include "graft/models/torch_dtype.h"

#include <algorithm>
#include <array>
#include <utility>

namespace graft::models {
namespace {

constexpr std::array<std::pair<DType, std::string_view>, 5> names{{{DType::f64, "float64"},
                                                                   {DType::f32, "float32"},
                                                                   {DType::bf16, "bfloat16"},
                                                                   {DType::f16, "float16"},
                                                                   {DType::u8, "uint8"}}};

}  // namespace

std::string_view torch_name(DType dtype) {
  return std::ranges::find(names, dtype, [](const auto& entry) { return entry.first; })->second;
}

std::optional<DType> dtype_of_torch(std::string_view name) {
  constexpr std::string_view prefix = "torch.";
  if (name.starts_with(prefix))
    name.remove_prefix(prefix.size());
  const auto found = std::ranges::find(names, name, [](const auto& entry) { return entry.second; });
  return found == names.end() ? std::nullopt : std::optional(found->first);
}

}  // namespace graft::models
