#include "graft/peft/adapted_layer.h"

#include <algorithm>

#include "graft/tensor/error.h"

namespace graft::peft {

Tensor tokens_under(const nn::Context& context, std::string_view adapter, const Shape& shape,
                    int64_t tokens) {
  if (const nn::AdapterPart* part = context.adapters->part_of(adapter))
    return part->tokens;
  const std::vector<std::string>& by_row = context.adapters->by_row;
  if (by_row.empty() || !context.adapters->differs_by_row())
    return {};
  GRAFT_CHECK(shape[0] == std::ssize(by_row), ShapeError, "forward: adapters are named for ",
              by_row.size(), " rows, but there are ", shape[0]);
  const int64_t row_length = tokens / shape[0];
  std::vector<int64_t> found;
  for (size_t row = 0; row < by_row.size(); ++row) {
    for (int64_t t = 0; t < row_length && by_row[row] == adapter; ++t)
      found.push_back(static_cast<int64_t>(row) * row_length + t);
  }
  return Tensor::from(found, {std::ssize(found)});
}

bool AdaptedLayer::merged_layer_applies(const nn::Context& context, bool is_overridden) const {
  if (merged_names_.empty() || is_overridden || context.train || !context.adapters)
    return false;
  const std::vector<std::string>& names = context.adapters->names;
  const bool are_usable = std::ranges::all_of(merged_names_, [&](const std::string& name) {
    return std::ranges::find(names, name) != names.end() && !find(name)->is_trained();
  });
  return are_usable && merged_come_first(names);
}

bool AdaptedLayer::is_merged(std::string_view name) const {
  return std::ranges::find(merged_names_, name) != merged_names_.end();
}

bool AdaptedLayer::merged_come_first(const std::vector<std::string>& names) const {
  bool any_before = false;
  bool multiplier_before = false;
  for (const std::string& name : adapter_names()) {
    if (std::ranges::find(names, name) == names.end())
      continue;
    const bool multiplies = find(name)->multiplies();
    if (is_merged(name) && any_before && (multiplies || multiplier_before))
      return false;
    any_before = any_before || !is_merged(name);
    multiplier_before = multiplier_before || (!is_merged(name) && multiplies);
  }
  return true;
}

void AdaptedLayer::check_copy(nn::Member& weight, const MergeRequest& request) const {
  const bool multiplies = std::ranges::any_of(request.names, [&](const std::string& name) {
    const AdapterBase* adapter = find(name);
    return adapter != nullptr && adapter->multiplies();
  });
  GRAFT_CHECK(!request.with_overrides || !multiplies || overrides_of(weight, request.names).empty(),
              ConfigError, "merge: an adapter with use_dora is on ", request.path,
              ", of which another one has a copy; merge one of them");
}

std::vector<std::string> AdaptedLayer::those_here(const std::vector<std::string>& names) const {
  std::vector<std::string> found;
  std::ranges::copy_if(names, std::back_inserter(found),
                       [&](const std::string& name) { return find(name) != nullptr; });
  return found;
}

void AdaptedLayer::set_merged_names(const std::vector<std::string>& names) {
  merged_names_ = those_here(names);
}

}  // namespace graft::peft
