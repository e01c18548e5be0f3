#include "graft/nn/embedding.h"

#include <unordered_map>
#include <vector>

#include "graft/autograd/embedding.h"
#include "graft/autograd/pointwise.h"

namespace graft::nn {
namespace {

/// Puts overridden rows where the ids ask for them. y (…, D) holds those of the table.
Variable with_overridden_rows(const Variable& y, const Tensor& ids, const Override& rows) {
  std::unordered_map<int64_t, int64_t> place_of;
  for (const int64_t id : rows.rows.span<int64_t>())
    place_of.emplace(id, static_cast<int64_t>(place_of.size()));
  std::vector<int64_t> tokens;
  std::vector<int64_t> places;
  const Tensor flat = ids.contiguous();
  int64_t token = 0;
  for (const int64_t id : flat.span<int64_t>()) {
    if (const auto found = place_of.find(id); found != place_of.end()) {
      tokens.push_back(token);
      places.push_back(found->second);
    }
    ++token;
  }
  if (tokens.empty())
    return y;
  const Shape count{static_cast<int64_t>(tokens.size())};
  const Variable found = graft::embedding(rows.value, Tensor::from(places, count));
  return replace_rows(y, to(found, y.dtype()), Tensor::from(tokens, count));
}

}  // namespace

Variable Embedding::forward(const Tensor& ids, const Context& context) const {
  const ChosenOverrides chosen = weight_.overrides_under(context);
  return weight_.visit([&](const auto& table) {
    if (const Override* whole = whole_override(chosen))
      return to(graft::embedding(whole->value, ids), given_dtype());
    Variable y = to(graft::embedding(table, ids), given_dtype());
    for (const Override* rows : chosen)
      y = with_overridden_rows(y, ids, *rows);
    return y;
  });
}

}  // namespace graft::nn
