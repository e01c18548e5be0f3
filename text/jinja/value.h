// Value: what the expressions of a chat template compute with. Python's values, as far as templates
// see them.
//
// Values are immutable, but for namespaces, generators and loops, and copies share what they hold.
// A container knows how deep it is and how much it holds when it is walked as a tree; both are
// limited where it is made, so that printing, comparing and destroying one is bounded, whatever a
// template does.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "graft/io/json.h"
#include "graft/tensor/error.h"

namespace graft::text::jinja {

/// What goes wrong while a template runs; the interpreter adds file and line.
class RenderError : public Error {
 public:
  using Error::Error;
};

/// Longest text, in bytes, and longest list that an expression may make.
inline constexpr size_t max_text = size_t{64} << 20;
inline constexpr size_t max_items = 1'000'000;
/// Containers inside each other, and generators that read from each other.
inline constexpr int max_nesting = 100;
/// Throws RenderError where a text or list grows beyond its limit.
void check_text_size(size_t bytes);
void check_item_count(size_t items);

class Value;
struct Builtin;
struct Dict;
struct Loop;
struct Macro;
struct Namespace;
struct Sequence;

/// What does not exist. It prints as nothing, is false, and breaks most uses.
struct Undefined {
  std::shared_ptr<const std::string> why;  ///< the message of whoever uses it
};
struct None {};
/// UTF-8. `markup` marks what was declared safe or was escaped: text added to it is escaped.
struct Text {
  std::shared_ptr<const std::string> bytes;
  bool markup = false;
};
/// Values one after the other, each handed out once.
struct Generator {
  std::function<std::optional<Value>()> next;
  int depth = 1;
};
/// A method of a value, not called yet.
struct Method {
  const Builtin* method;
  std::shared_ptr<const Value> self;
};
/// A global function.
struct Function {
  const Builtin* function;
};

class Value {
 public:
  using Storage =
      std::variant<Undefined, None, bool, int64_t, double, Text, std::shared_ptr<const Sequence>,
                   std::shared_ptr<const Dict>, std::shared_ptr<Generator>, Namespace*,
                   std::shared_ptr<Loop>, std::shared_ptr<const Macro>, Method, Function>;

  Value() : storage_(None{}) {}
  template <class T>
  requires std::is_same_v<T, bool> || std::is_same_v<T, int64_t> || std::is_same_v<T, double> Value(
      T value)
      : storage_(value) {}
  Value(std::string text, bool markup = false)
      : storage_(Text{std::make_shared<const std::string>(std::move(text)), markup}) {}
  Value(std::string_view text) : Value(std::string(text)) {}
  Value(const char* text) : Value(std::string(text)) {}
  explicit Value(Storage storage) : storage_(std::move(storage)) {}

  static Value undefined(std::string why);
  /// The error of a variable that nobody set.
  static Value undefined_name(std::string_view name);
  /// These throw RenderError beyond the limits.
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value sequence(Sequence sequence);
  /// The last of equal keys counts. Throws RenderError also where a key cannot be one.
  static Value dict(std::vector<std::pair<Value, Value>> entries);
  static Value generator(std::function<std::optional<Value>()> next, int depth_of_source);
  static Value from_json(const io::Json& json);

  template <class T>
  const T* as() const {
    return std::get_if<T>(&storage_);
  }
  bool is_undefined() const { return as<Undefined>() != nullptr; }
  bool is_none() const { return as<None>() != nullptr; }
  /// The text of a string, or nullptr.
  const std::string* text() const;
  bool is_markup() const;
  const Sequence* sequence() const;
  const Dict* dict() const;
  Generator* generator() const;
  Namespace* name_space() const;
  /// An integer or a boolean, which is one too, as in Python.
  std::optional<int64_t> integer() const;
  /// Also of floating-point numbers.
  std::optional<double> number() const;

  /// Python's bool().
  bool truthy() const;
  /// Python's name of the type: "str", "dict" …
  std::string_view type() const;
  int depth() const;
  /// How much there is to walk: 1, and one more for every 32 bytes of text and every item within.
  int64_t weight() const;
  /// Throws the error of using this value, where it is undefined.
  void check_defined() const;

  /// Python's == and hash(); `hash` throws RenderError where a value cannot be a key.
  friend bool operator==(const Value& a, const Value& b);
  size_t hash() const;

 private:
  Storage storage_;
};

enum class SequenceKind { list, tuple, range, keys, values, items };

/// A list, a tuple, or what Python shows like one: a range, the views of a dict.
struct Sequence {
  SequenceKind kind = SequenceKind::list;
  std::vector<Value> items;
  std::string range = {};  ///< how a range prints
  bool is_group = false;   ///< made by groupby: a tuple that also has .grouper and .list
  int depth = 1;
  int64_t weight = 1;

  /// True for what [ ] may be applied to: all but the views.
  bool has_indices() const { return kind < SequenceKind::keys; }
};

/// Keeps the order of its keys.
struct Dict {
  std::vector<std::pair<Value, Value>> entries;
  /// Entry numbers by the hash of their keys, where there are many.
  std::unordered_multimap<size_t, size_t> index = {};
  int depth = 1;
  int64_t weight = 1;

  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
};

/// A namespace(): its members can be set from inside loops. Owned by the run of a template, as
/// namespaces may hold each other.
struct Namespace {
  std::vector<std::pair<std::string, Value>> members;

  const Value* find(std::string_view name) const;
  void set(std::string_view name, Value value);
};

/// Hands out the items a loop goes through: those of a sequence, the keys of a dict, the characters
/// of a string; none for undefined. Throws RenderError for other kinds.
std::function<std::optional<Value>()> iterate(const Value& value);
/// The same all at once.
std::vector<Value> items_of(const Value& value);

}  // namespace graft::text::jinja
