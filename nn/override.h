// Override: what an adapter puts in the place of a parameter, or of some of its rows.
//
// The parameter itself is neither written nor trained by it. Copies that are trained along with an
// adapter (modules_to_save), trained biases and trained tokens are all overrides. Which one a
// forward computes with is the Context's choice, as with everything else of an adapter.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "graft/autograd/variable.h"
#include "graft/nn/context.h"
#include "graft/tensor/error.h"

namespace graft::nn {

struct Override {
  std::string adapter;
  /// Of the parameter's shape; with `rows` (n, columns), what stands in those rows.
  Variable value;
  /// (n) i64, each row once; undefined where the whole parameter is replaced.
  Tensor rows{};

  bool is_whole() const { return !rows.defined(); }
  /// True where both put something in the same place.
  bool meets(const Override& other) const {
    if (is_whole() || other.is_whole())
      return true;
    const auto numbers = rows.span<int64_t>();
    const std::unordered_set<int64_t> mine(numbers.begin(), numbers.end());
    return std::ranges::any_of(other.rows.span<int64_t>(),
                               [&](int64_t row) { return mine.contains(row); });
  }
};

/// What replaces a parameter: nothing, one whole override, or rows of one or several adapters, no
/// row twice.
using ChosenOverrides = std::vector<const Override*>;

/// The override that replaces the whole parameter, or nullptr.
inline const Override* whole_override(const ChosenOverrides& chosen) {
  return chosen.empty() || !chosen[0]->is_whole() ? nullptr : chosen[0];
}

/// The overrides of one parameter, one at most for each adapter.
class Overrides {
 public:
  /// Those that belong to adapters of the context. Throws ConfigError where several replace the
  /// same numbers, as it would not be clear which count, and where rows would need different ones.
  ChosenOverrides chosen(const Context& context) const {
    ChosenOverrides found;
    if (overrides_.empty() || !context.adapters)
      return found;
    for (const Override& candidate : overrides_) {
      if (!context.adapters->applies(candidate.adapter))
        continue;
      GRAFT_CHECK(!context.adapters->differs_by_row(), ConfigError, "forward: the adapter \"",
                  candidate.adapter,
                  "\" brings parameters of the base model of its own (modules_to_save, bias or "
                  "trainable_token_indices), and such a one cannot share a batch with rows that "
                  "use others; give all rows the same adapter");
      for (const Override* other : found)
        GRAFT_CHECK(!candidate.meets(*other), ConfigError, "forward: the adapters \"",
                    other->adapter, "\" and \"", candidate.adapter,
                    "\" bring the same parameter of the base model; use one of them at a time");
      found.push_back(&candidate);
    }
    return found;
  }
  const Override* find(std::string_view adapter) const {
    const auto it = std::ranges::find(overrides_, adapter, &Override::adapter);
    return it == overrides_.end() ? nullptr : &*it;
  }
  void add(Override override_) { overrides_.push_back(std::move(override_)); }
  void remove(std::string_view adapter) {
    std::erase_if(overrides_, [&](const Override& each) { return each.adapter == adapter; });
  }

 private:
  std::vector<Override> overrides_;
};

}  // namespace graft::nn
