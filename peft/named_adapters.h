// NamedAdapters: the adapters of one layer, by name.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/nn/module.h"
#include "graft/peft/delta.h"
#include "graft/tensor/error.h"

namespace graft::peft {

/// Adapters that are found by name and kept in the order they were added; T is Adapter or
/// EmbeddingAdapter. What a forward costs does not depend on those it does not use.
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
    adapters_.try_emplace(name, owner_, name, std::move(adapter), added_++);
  }
  void remove(std::string_view name) {
    if (const auto found = adapters_.find(name); found != adapters_.end())
      adapters_.erase(found);
  }
  /// The adapter of that name, or nullptr.
  T* find(std::string_view name) const {
    const auto found = adapters_.find(name);
    return found == adapters_.end() ? nullptr : &*found->second.child;
  }
  bool empty() const { return adapters_.empty(); }
  std::vector<std::string> names() const {
    std::vector<const Place*> places;
    for (const auto& [name, place] : adapters_)
      places.push_back(&place);
    std::ranges::sort(places, {}, &Place::number);
    std::vector<std::string> names;
    for (const Place* place : places)
      names.push_back(place->child.name());
    return names;
  }
  /// What those of these names change of the layer under them, as they are now.
  template <class Layer>
  std::vector<NamedDelta> deltas(const std::vector<std::string>& names, const Layer& base) const {
    std::vector<NamedDelta> found;
    for (const std::string& name : names)
      found.push_back({name, find(name)->delta(base)});
    return found;
  }
  /// Those that the context names, for all rows or some; none where it names none.
  std::vector<Chosen> chosen(const nn::Context& context) const {
    std::vector<Chosen> chosen;
    if (!context.adapters)
      return chosen;
    std::vector<const Place*> places;
    for (const auto* names : {&context.adapters->names, &context.adapters->by_row}) {
      for (const std::string& name : *names) {
        const auto found = adapters_.find(name);
        if (found != adapters_.end() && std::ranges::find(places, &found->second) == places.end())
          places.push_back(&found->second);
      }
    }
    std::ranges::sort(places, {}, &Place::number);
    for (const Place* place : places)
      chosen.push_back({place->child.name(), *place->child});
    return chosen;
  }

 private:
  struct Place {
    Place(nn::Module& owner, const std::string& name, std::unique_ptr<T> adapter, int64_t count)
        : child(owner, name, std::move(adapter)), number(count) {}

    nn::Child<T> child;
    int64_t number;  // how many were added before
  };

  nn::Module& owner_;
  std::map<std::string, Place, std::less<>> adapters_;
  int64_t added_ = 0;
};

}  // namespace graft::peft
