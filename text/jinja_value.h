// Value: what the expressions of a chat template compute with. Python's values, as far as templates
// see them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "graft/io/json.h"

namespace graft::text::jinja {

class Value;

/// A variable that does not exist. It prints as nothing, is false, and breaks most uses.
struct Undefined {
  std::string name;
};
struct None {};
using List = std::shared_ptr<std::vector<Value>>;
/// Keeps the order of its keys, which are strings.
struct DictEntries;
using Dict = std::shared_ptr<DictEntries>;
/// A namespace(): its members can be set from inside loops.
struct Namespace {
  std::shared_ptr<DictEntries> members;
};
/// A method of a value or a global function, to be called.
struct Function {
  std::string name;
  std::shared_ptr<const Value> self;  ///< null for a global function
};

class Value {
 public:
  using Storage = std::variant<Undefined, None, bool, int64_t, double, std::string, List, Dict,
                               Namespace, Function>;

  Value() : storage_(Undefined{}) {}
  template <class T>
  requires std::is_constructible_v<Storage, T> &&
      (!std::is_same_v<std::decay_t<T>, Value>)Value(T&& value)
      : storage_(std::forward<T>(value)) {}
  static Value list(std::vector<Value> items);
  static Value dict(std::vector<std::pair<std::string, Value>> entries);
  static Value from_json(const io::Json& json);

  template <class T>
  const T* as() const {
    return std::get_if<T>(&storage_);
  }
  template <class T>
  bool is() const {
    return std::holds_alternative<T>(storage_);
  }
  const Storage& storage() const { return storage_; }

  /// Python's bool().
  bool truthy() const;
  /// Python's str(): what {{ }} prints. Undefined gives nothing.
  std::string to_text() const;
  /// Python's repr().
  std::string to_repr() const;
  /// "a string", "a list", … for messages.
  std::string_view kind() const;
  /// The entry of a dict or namespace, or nullptr.
  const Value* entry(std::string_view key) const;
  /// True for numbers, booleans included, as in Python.
  bool is_number() const;
  double number() const;

  /// Python's ==.
  friend bool operator==(const Value& a, const Value& b);

 private:
  Storage storage_;
};

struct DictEntries {
  std::vector<std::pair<std::string, Value>> entries;
  Value* find(std::string_view key);
  const Value* find(std::string_view key) const;
  void set(std::string_view key, Value value);
};

/// json.dumps(value, ensure_ascii=False, indent=indent); indent < 0 for none.
std::string to_json_text(const Value& value, int indent);

}  // namespace graft::text::jinja
