// OneOrMany: what PEFT lets a user give as one value or as a list. Remembers which, so that a
// configuration is written as it was read.
#pragma once

#include <concepts>
#include <initializer_list>
#include <utility>
#include <vector>

namespace graft::peft {

/// No value, one, or several. `= 1`, `= {0, 1}`; an empty list is no value.
template <class T>
class OneOrMany {
 public:
  OneOrMany() = default;
  template <std::convertible_to<T> U>
  OneOrMany(U&& one) : values_{T(std::forward<U>(one))}, single_(true) {}
  OneOrMany(std::initializer_list<T> many) : values_(many) {}
  OneOrMany(std::vector<T> many) : values_(std::move(many)) {}

  bool empty() const { return values_.empty(); }
  /// True where one value was given, not a list of one.
  bool is_single() const { return single_; }
  const std::vector<T>& values() const { return values_; }

  friend bool operator==(const OneOrMany&, const OneOrMany&) = default;

 private:
  std::vector<T> values_;
  bool single_ = false;
};

}  // namespace graft::peft
