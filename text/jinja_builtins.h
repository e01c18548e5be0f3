// The filters, tests, methods and functions that chat templates use, with Python's meaning.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/tensor/error.h"
#include "graft/text/jinja_value.h"

namespace graft::text::jinja {

/// What goes wrong while a template runs; the interpreter adds file and line.
class RenderError : public Error {
 public:
  using Error::Error;
};

/// Longest text, in bytes, and longest list that an expression may make.
inline constexpr size_t max_text = size_t{64} << 20;
inline constexpr size_t max_items = 1'000'000;
/// Throws RenderError where a text or list grows beyond its limit.
void check_text_size(size_t bytes);
void check_item_count(size_t items);

/// The values a filter, test or function is called with.
struct CallArguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  /// The argument at `index` or called `name`, or nullptr.
  const Value* find(size_t index, std::string_view name) const;
  /// The same as an integer or a string, or the fallback. Throws RenderError for another kind.
  int64_t integer_or(size_t index, std::string_view name, int64_t fallback) const;
  std::string text_or(size_t index, std::string_view name, std::string_view fallback) const;
};

bool is_filter(std::string_view name);
bool is_test(std::string_view name);

/// object | name(arguments). Throws RenderError.
Value apply_filter(std::string_view name, const Value& object, const CallArguments& arguments);
/// object is name(arguments). Throws RenderError.
bool apply_test(std::string_view name, const Value& object, const CallArguments& arguments);

/// True where values of that kind have a method of that name.
bool has_method(const Value& object, std::string_view name);
/// object.name(arguments). Throws RenderError.
Value call_method(std::string_view name, const Value& object, const CallArguments& arguments);

bool is_function(std::string_view name);
/// name(arguments): raise_exception, namespace, range, strftime_now, dict. Throws RenderError.
Value call_function(std::string_view name, const CallArguments& arguments);

/// The items a loop goes through: of a list, the keys of a dict, the characters of a string; none
/// for Undefined. Throws RenderError for other kinds.
std::vector<Value> items_of(const Value& value);
/// Number of items. Throws RenderError where there is no such thing.
int64_t length_of(const Value& value);
/// value in container. Throws RenderError.
bool contains(const Value& container, const Value& value);
}  // namespace graft::text::jinja
