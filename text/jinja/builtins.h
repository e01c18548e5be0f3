// The filters, tests, methods and functions that chat templates use, with Python's meaning.
//
// Each is a row of a table: its parameters as Python's signature has them, what it costs, and a
// function. Arguments are bound to the parameters in one place, where the cost is counted too.
#pragma once

#include <ctime>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/text/jinja/value.h"

namespace graft::text::jinja {

/// What one render has at hand and may use up.
class Run {
 public:
  /// `now` is the local time of strftime_now.
  explicit Run(const std::tm& now) : now_(now) {}

  /// Counts work; a step is an expression, an item, or 32 bytes of text. Throws RenderError beyond
  /// max_steps.
  void charge(int64_t steps);
  const std::tm& now() const { return now_; }
  Value make_namespace(std::vector<std::pair<std::string, Value>> members);

 private:
  int64_t steps_ = 0;
  std::tm now_;
  std::vector<std::unique_ptr<Namespace>> namespaces_;
};

/// Steps one render may take: a conversation of 10,000 messages takes a tenth.
inline constexpr int64_t max_steps = 10'000'000;

struct CallArguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// One call of a builtin.
struct Call {
  Run& run;
  const Builtin& builtin;
  const Value& object;  ///< what a filter, test or method is applied to
  const CallArguments& arguments;
  std::vector<const Value*> bound;  ///< by parameter; null where none was given

  /// The argument of a parameter that has a default, or nullptr.
  const Value* find(size_t parameter) const { return bound[parameter]; }
  /// The argument of a parameter without default.
  const Value& operator[](size_t parameter) const { return *bound[parameter]; }
  /// These convert. Throw RenderError for another kind; none counts as the fallback.
  int64_t integer(size_t parameter, int64_t fallback) const;
  int64_t integer(size_t parameter) const;
  std::string text(size_t parameter) const;
  std::string text(size_t parameter, std::string_view fallback) const;
  bool flag(size_t parameter, bool fallback = false) const;
  /// The object of a method of str; as text, what a filter makes of any object.
  const std::string& self() const { return *object.text(); }

  /// An error that names the builtin.
  [[noreturn]] void fail(std::string_view what) const;
};

/// What running a builtin costs: one step; one for each item or 32 bytes of its object; or as much
/// as walking through all of the object and its arguments.
enum class Cost { constant, shallow, deep };

struct Builtin {
  std::string_view name;
  /// Names with blanks between them, those without default first; "*" where any are taken.
  std::string_view parameters;
  size_t required;
  Cost cost;
  Value (*function)(const Call& call);
};

/// Binds the arguments, counts the cost, runs. Throws RenderError.
Value call(Run& run, const Builtin& builtin, const Value& object, const CallArguments& arguments);
/// Counts what it takes to walk through a value, or to read or make its text or items.
void charge(Run& run, Cost cost, const Value& value);

/// nullptr where there is none of that name.
const Builtin* find_filter(std::string_view name);
const Builtin* find_test(std::string_view name);
const Builtin* find_function(std::string_view name);
/// A method that values of this type have. Throws RenderError for one that Python has and graft
/// does not.
const Builtin* find_method(const Value& object, std::string_view name);
/// True for the methods that change a list or a dict, which templates may not call.
bool changes_object(const Value& object, std::string_view name);

/// Throws RenderError where transformers' namespaces may not have a member of that name.
void check_namespace_member(std::string_view name);

/// The tables.
std::span<const Builtin> text_filters();
std::span<const Builtin> list_filters();
std::span<const Builtin> text_methods();
std::span<const Builtin> dict_methods();
std::span<const Builtin> list_methods();
std::span<const Builtin> test_functions();
std::span<const Builtin> global_functions();

}  // namespace graft::text::jinja
