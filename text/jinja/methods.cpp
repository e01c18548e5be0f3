// Methods of dicts and lists, and the global functions.
#include <algorithm>

#include "graft/text/jinja/builtins.h"
#include "graft/text/jinja/print.h"

namespace graft::text::jinja {
namespace {

const Dict& dict_of(const Call& call) {
  return *call.object.dict();
}
const std::vector<Value>& items_in(const Call& call) {
  return call.object.sequence()->items;
}

Value copy(const Call& call) {
  return call.object;  // nothing can change the one or the other
}

Value get(const Call& call) {
  call[0].hash();  // an error for what cannot be a key
  const Value* found = dict_of(call).find(call[0]);
  return found != nullptr ? *found : call.find(1) != nullptr ? *call.find(1) : Value();
}

Value items(const Call& call) {
  Sequence view{SequenceKind::items, {}};
  for (const auto& [key, value] : dict_of(call).entries)
    view.items.push_back(Value::tuple({key, value}));
  return Value::sequence(std::move(view));
}

Value keys(const Call& call) {
  Sequence view{SequenceKind::keys, {}};
  for (const auto& [key, value] : dict_of(call).entries)
    view.items.push_back(key);
  return Value::sequence(std::move(view));
}

Value values(const Call& call) {
  Sequence view{SequenceKind::values, {}};
  for (const auto& [key, value] : dict_of(call).entries)
    view.items.push_back(value);
  return Value::sequence(std::move(view));
}

Value count(const Call& call) {
  return static_cast<int64_t>(std::ranges::count(items_in(call), call[0]));
}

Value index(const Call& call) {
  const auto at = std::ranges::find(items_in(call), call[0]);
  GRAFT_CHECK(at != items_in(call).end(), RenderError, to_repr(call[0]), " is not in list");
  return at - items_in(call).begin();
}

/// The entries that dict() and namespace() are given: of a dict or of pairs, then by name.
std::vector<std::pair<Value, Value>> entries_of(const Call& call) {
  const CallArguments& given = call.arguments;
  GRAFT_CHECK(given.positional.size() <= 1, RenderError, call.builtin.name,
              " expected at most 1 argument, got ", given.positional.size());
  std::vector<std::pair<Value, Value>> entries;
  if (!given.positional.empty()) {
    const Value& source = given.positional[0];
    source.check_defined();
    charge(call.run, Cost::shallow, source);
    if (source.dict() != nullptr)
      entries = source.dict()->entries;
    else
      for (const Value& item : items_of(source)) {
        std::vector<Value> pair = items_of(item);
        GRAFT_CHECK(pair.size() == 2, RenderError, call.builtin.name, ": an element has length ",
                    pair.size(), "; 2 is required");
        entries.emplace_back(std::move(pair[0]), std::move(pair[1]));
      }
  }
  for (const auto& [name, value] : given.named)
    entries.emplace_back(name, value);
  return entries;
}

Value dict(const Call& call) {
  return Value::dict(entries_of(call));
}

Value name_space(const Call& call) {
  const Value dict = Value::dict(entries_of(call));
  std::vector<std::pair<std::string, Value>> members;
  for (const auto& [key, value] : dict.dict()->entries) {
    const std::string name = to_text(key);
    check_namespace_member(name);
    members.emplace_back(name, value);
  }
  return call.run.make_namespace(std::move(members));
}

Value raise_exception(const Call& call) {
  throw RenderError(concat("the template refuses: ", to_text(call[0])));
}

Value range(const Call& call) {
  constexpr int64_t most = 100'000;  // Jinja2's sandbox allows no more
  const bool only_end = call.find(1) == nullptr;
  const int64_t begin = only_end ? 0 : call.integer(0);
  const int64_t end = call.integer(only_end ? 0 : 1);
  const int64_t step = call.find(2) != nullptr ? call.integer(2) : 1;
  GRAFT_CHECK(step != 0, RenderError, "range() arg 3 must not be zero");
  Sequence range{SequenceKind::range, {}};
  range.range = concat("range(", begin, ", ", end, step != 1 ? concat(", ", step) : "", ")");
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    GRAFT_CHECK(range.items.size() < most, RenderError,
                "Range too big. The sandbox blocks ranges larger than MAX_RANGE (", most, ").");
    range.items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i))
      break;
  }
  return Value::sequence(std::move(range));
}

/// datetime.now().strftime(format): the time has no zone, and English names.
Value strftime_now(const Call& call) {
  const std::string format = call.text(0);
  std::string text;
  for (size_t at = 0; at < format.size();) {
    size_t end = at + 1;
    if (format[at] == '%') {
      while (end < format.size() &&
             std::string_view("-_0^#:").find(format[end]) != std::string::npos)
        ++end;
      GRAFT_CHECK(end < format.size() && ((format[end] | 0x20) >= 'a' || format[end] == '%') &&
                      (format[end] | 0x20) <= 'z' && format[end] != 'f',
                  RenderError, "strftime_now: the format ",
                  repr_of(format.substr(at, end + 1 - at)), " is not supported");
      const std::string directive = format.substr(at, end + 1 - at);
      char buffer[256];
      if (directive.back() != 'z' && directive.back() != 'Z')
        text.append(buffer,
                    std::strftime(buffer, sizeof buffer, directive.c_str(), &call.run.now()));
      ++end;
    } else {
      text += format[at];
    }
    at = end;
    check_text_size(text.size());
  }
  return text;
}

/// What Jinja2 has and no chat template needs: it is there, but cannot be called.
Value unsupported(const Call& call) {
  throw RenderError(concat("the function '", call.builtin.name, "' is not supported"));
}

constexpr Builtin of_dicts[] = {
    {"copy", "", 0, Cost::constant, copy},    {"get", "key default", 1, Cost::constant, get},
    {"items", "", 0, Cost::shallow, items},   {"keys", "", 0, Cost::shallow, keys},
    {"values", "", 0, Cost::shallow, values},
};

constexpr Builtin of_lists[] = {
    {"copy", "", 0, Cost::constant, copy},
    {"count", "value", 1, Cost::deep, count},
    {"index", "value", 1, Cost::deep, index},
};

constexpr Builtin functions[] = {
    {"cycler", "*", 0, Cost::constant, unsupported},
    {"dict", "*", 0, Cost::shallow, dict},
    {"joiner", "*", 0, Cost::constant, unsupported},
    {"lipsum", "*", 0, Cost::constant, unsupported},
    {"namespace", "*", 0, Cost::constant, name_space},
    {"raise_exception", "message", 1, Cost::constant, raise_exception},
    {"range", "start stop step", 1, Cost::shallow, range},
    {"strftime_now", "format", 1, Cost::shallow, strftime_now},
};

}  // namespace

void check_namespace_member(std::string_view name) {
  GRAFT_CHECK(!name.starts_with('_'), RenderError,
              "Chat templates cannot store underscore-prefixed attributes on a namespace, but got ",
              repr_of(name), ". Please rename the attribute.");
}

std::span<const Builtin> dict_methods() {
  return of_dicts;
}

std::span<const Builtin> list_methods() {
  return of_lists;
}

std::span<const Builtin> global_functions() {
  return functions;
}

}  // namespace graft::text::jinja
