// NamedAdapters: the adapters of one layer, by name.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/nn/module.h"
#include "graft/tensor/error.h"

namespace graft::peft {

/// Adapters in the order they were added; T is Adapter or EmbeddingAdapter.
template <class T>
class NamedAdapters {
 public:
  /// The adapters become children of `owner`, under their names.
  explicit NamedAdapters(nn::Module& owner) : owner_(owner) {}

  /// Throws ConfigError where the name is taken.
  void add(const std::string& name, std::unique_ptr<T> adapter) {
    GRAFT_CHECK(find(name) == nullptr, ConfigError, "add adapter: the layer has one called \"",
                name, "\" already");
    adapters_.reserve(adapters_.size() + 1);  // a member cannot leave its owner again
    adapters_.push_back(std::make_unique<nn::Child<T>>(owner_, name, std::move(adapter)));
  }
  /// The adapter of that name, or nullptr.
  T* find(std::string_view name) const {
    const auto found = std::ranges::find_if(
        adapters_, [&](const auto& adapter) { return adapter->name() == name; });
    return found == adapters_.end() ? nullptr : &***found;
  }
  /// Those that the context names; none where it names none.
  std::vector<const T*> chosen(const nn::Context& context) const {
    std::vector<const T*> found;
    if (!context.adapters)
      return found;
    const std::vector<std::string>& names = context.adapters->names;
    for (const auto& adapter : adapters_) {
      if (std::ranges::find(names, adapter->name()) != names.end())
        found.push_back(&**adapter);
    }
    return found;
  }

 private:
  nn::Module& owner_;
  std::vector<std::unique_ptr<nn::Child<T>>> adapters_;
};

}  // namespace graft::peft
