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
  struct Chosen {
    const std::string& name;
    const T& adapter;
  };

  /// The adapters become children of `owner`, under their names.
  explicit NamedAdapters(nn::Module& owner) : owner_(owner) {}

  /// Throws ConfigError where the name is taken.
  void add(const std::string& name, std::unique_ptr<T> adapter) {
    GRAFT_CHECK(find(name) == nullptr, ConfigError, "add adapter: the layer has one called \"",
                name, "\" already");
    adapters_.push_back(std::make_unique<nn::Child<T>>(owner_, name, std::move(adapter)));
  }
  void remove(std::string_view name) {
    std::erase_if(adapters_, [&](const auto& adapter) { return adapter->name() == name; });
  }
  /// The adapter of that name, or nullptr.
  T* find(std::string_view name) const {
    const auto found = std::ranges::find_if(
        adapters_, [&](const auto& adapter) { return adapter->name() == name; });
    return found == adapters_.end() ? nullptr : &***found;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& adapter : adapters_)
      names.push_back(adapter->name());
    return names;
  }
  /// Those that the context names, for all rows or some; none where it names none.
  std::vector<Chosen> chosen(const nn::Context& context) const {
    std::vector<Chosen> found;
    for (const auto& adapter : adapters_) {
      if (context.adapters && context.adapters->applies(adapter->name()))
        found.push_back({adapter->name(), **adapter});
    }
    return found;
  }

 private:
  nn::Module& owner_;
  std::vector<std::unique_ptr<nn::Child<T>>> adapters_;
};

}  // namespace graft::peft
