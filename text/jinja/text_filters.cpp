// Filters that make a text or a number.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "graft/text/jinja/builtins.h"
#include "graft/text/jinja/format.h"
#include "graft/text/jinja/numbers.h"
#include "graft/text/jinja/operators.h"
#include "graft/text/jinja/print.h"
#include "graft/text/jinja/strings.h"
#include "graft/text/unicode.h"

namespace graft::text::jinja {
namespace {

/// The object as a text; a text that is marked as safe makes the result safe.
Value text_like(const Call& call, std::string text) {
  return {std::move(text), call.object.is_markup()};
}

Value absolute(const Call& call) {
  const auto number = call.object.number();
  call.object.check_defined();
  if (!number)
    call.fail(concat("bad operand type: '", call.object.type(), "'"));
  if (call.object.as<double>() != nullptr)
    return std::fabs(*number);
  return *number < 0 ? negated(call.object) : positive(call.object);
}

Value capitalize(const Call& call) {
  return text_like(call, capitalized(to_text(call.object)));
}

Value center(const Call& call) {
  std::string text = to_text(call.object);
  const int64_t width = call.integer(0, 80);
  const int64_t missing = width - count_characters(text);
  if (missing <= 0)
    return text_like(call, std::move(text));
  check_text_size(static_cast<size_t>(missing) + text.size());
  // Python puts the odd blank to the left where the width is odd.
  const int64_t left = missing / 2 + (missing & width & 1);
  return text_like(call, std::string(static_cast<size_t>(left), ' ') + text +
                             std::string(static_cast<size_t>(missing - left), ' '));
}

Value escape(const Call& call) {
  if (call.object.is_markup() && call.builtin.name != "forceescape")
    return call.object;
  return {escaped_for_html(to_text(call.object)), true};
}

Value to_float(const Call& call) {
  if (const auto number = call.object.number())
    return *number;
  call.object.check_defined();
  const std::string* text = call.object.text();
  const auto number = text != nullptr ? parse_float(*text) : std::nullopt;
  if (number)
    return *number;
  return call.find(0) != nullptr ? *call.find(0) : Value(0.0);
}

Value format(const Call& call) {
  const CallArguments& given = call.arguments;
  GRAFT_CHECK(given.positional.empty() || given.named.empty(), RenderError,
              "can't handle positional and keyword arguments at the same time");
  const Value text = to_text(call.object);
  if (given.named.empty())
    return formatted_by_percent(call.run, text, Value::tuple(given.positional));
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [name, value] : given.named)
    entries.emplace_back(name, value);
  return formatted_by_percent(call.run, text, Value::dict(std::move(entries)));
}

Value indent(const Call& call) {
  call.object.check_defined();
  if (call.object.text() == nullptr)
    call.fail(concat("a str expected, ", call.object.type(), " given"));
  std::string by;
  if (const Value* width = call.find(0); width != nullptr && width->text() != nullptr) {
    by = *width->text();
  } else {
    const int64_t count = call.integer(0, 4);
    check_text_size(static_cast<size_t>(std::max<int64_t>(count, 0)));
    by.assign(static_cast<size_t>(std::max<int64_t>(count, 0)), ' ');
  }
  const bool blank = call.flag(2);
  std::string result = call.flag(1) ? by : "";
  const std::string text = call.self() + "\n";
  bool first = true;
  for (const std::string_view line : lines_of(text, false)) {
    if (!first)
      result.append("\n").append(blank || !line.empty() ? by : "");
    first = false;
    result += line;
    check_text_size(result.size() + by.size());
  }
  return text_like(call, std::move(result));
}

Value to_integer(const Call& call) {
  const Value fallback = call.find(0) != nullptr ? *call.find(0) : Value(int64_t{0});
  call.object.check_defined();
  if (const auto whole = call.object.integer())
    return *whole;
  if (const auto number = call.object.number())
    return std::isfinite(*number) ? Value(to_whole(*number)) : fallback;
  const std::string* text = call.object.text();
  if (text == nullptr)
    return fallback;
  const int64_t base = call.integer(1, 10);
  GRAFT_CHECK(base == 0 || (base >= 2 && base <= 36), RenderError,
              "int() base must be >= 2 and <= 36, or 0");
  if (const auto whole = parse_integer(*text, static_cast<int>(base)))
    return *whole;
  const auto number = parse_float(*text);
  return number && std::isfinite(*number) ? Value(to_whole(*number)) : fallback;
}

Value lower(const Call& call) {
  return text_like(call, to_lower(to_text(call.object)));
}

Value upper(const Call& call) {
  return text_like(call, to_upper(to_text(call.object)));
}

Value replace(const Call& call) {
  return replaced(to_text(call.object), to_text(call[0]), to_text(call[1]), call.integer(2, -1));
}

/// round() with Python's rounding to even, by way of the decimal text, which is exact.
double rounded(double value, int64_t precision) {
  if (!std::isfinite(value) || precision > 300)
    return value;
  if (precision >= 0) {
    const std::string form = concat("%.", precision, "f");
    char buffer[700];
    const int size = std::snprintf(buffer, sizeof buffer, form.c_str(), value);
    return *parse_float({buffer, static_cast<size_t>(size)});
  }
  const double unit = std::pow(10.0, static_cast<double>(std::min<int64_t>(-precision, 400)));
  return std::isinf(unit) ? std::copysign(0.0, value) : std::nearbyint(value / unit) * unit;
}

Value round(const Call& call) {
  const std::string method = call.text(1, "common");
  GRAFT_CHECK(method == "common" || method == "ceil" || method == "floor", RenderError,
              "method must be common, ceil or floor");
  call.object.check_defined();
  const auto number = call.object.number();
  if (!number)
    call.fail(concat("a number expected, ", call.object.type(), " given"));
  const int64_t precision = call.integer(0, 0);
  if (method != "common") {
    const double unit = std::pow(10.0, static_cast<double>(precision));
    const double whole = method == "ceil" ? std::ceil(*number * unit) : std::floor(*number * unit);
    return (whole + 0.0) / unit;  // Python's floor gives an integer, which has no -0
  }
  if (call.object.integer() && precision >= 0)
    return *call.object.integer();
  const double result = rounded(*number, precision);
  return call.object.integer() ? Value(to_whole(result)) : Value(result);
}

Value safe(const Call& call) {
  return {to_text(call.object), true};
}

Value string(const Call& call) {
  return call.object.text() != nullptr ? call.object : Value(to_text(call.object));
}

/// Jinja2's own title: words begin behind white space and the brackets ( { [ <, and behind "-".
Value title(const Call& call) {
  const std::string text = to_text(call.object);
  std::string result;
  size_t begin = 0;
  const auto add_word = [&](size_t end) {
    if (begin < end) {
      const size_t first = size_of_character(text, begin);
      result += to_upper(text.substr(begin, first));
      result += to_lower(text.substr(begin + first, end - begin - first));
    }
  };
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    const bool separates = is_space(point.value) ||
                           std::u32string_view(U"-({[<").find(point.value) != std::u32string::npos;
    if (separates) {
      add_word(at);
      result += text.substr(at, point.size);
      begin = at + point.size;
    }
    at += point.size;
  }
  add_word(text.size());
  return result;
}

Value to_json(const Call& call) {
  JsonStyle style{.ensure_ascii = call.flag(0), .sort_keys = call.flag(3)};
  if (const Value* by = call.find(1); by != nullptr && !by->is_none()) {
    style.breaks_lines = true;
    style.item_separator = ",";
    const int64_t count = by->text() != nullptr ? 0 : std::max<int64_t>(call.integer(1), 0);
    check_text_size(static_cast<size_t>(count));
    style.indent =
        by->text() != nullptr ? *by->text() : std::string(static_cast<size_t>(count), ' ');
  }
  if (const Value* separators = call.find(2); separators != nullptr && !separators->is_none()) {
    const std::vector<Value> both = items_of(*separators);
    GRAFT_CHECK(both.size() == 2 && both[0].text() && both[1].text(), RenderError,
                "tojson: separators are two texts");
    style.item_separator = *both[0].text();
    style.key_separator = *both[1].text();
  }
  return to_json_text(call.object, style);
}

Value trim(const Call& call) {
  const std::string text = to_text(call.object);
  const bool blanks = call.find(0) == nullptr || call.find(0)->is_none();
  return text_like(call, std::string(blanks ? stripped(text, true, true)
                                            : stripped_of(text, call.text(0), true, true)));
}

Value truncate(const Call& call) {
  const int64_t length = call.integer(0, 255);
  const std::string end = call.text(2, "...");
  const int64_t leeway = call.integer(3, 5);
  const int64_t end_length = count_characters(end);
  GRAFT_CHECK(length >= end_length, RenderError, "expected length >= ", end_length, ", got ",
              length);
  GRAFT_CHECK(leeway >= 0, RenderError, "expected leeway >= 0, got ", leeway);
  if (length_of(call.object) - leeway <= length)
    return call.object;
  const Value cut = slice(call.object, {}, length - end_length, {});
  if (cut.text() == nullptr)
    call.fail(concat("a str expected, ", call.object.type(), " given"));
  const size_t blank = call.flag(1) ? std::string::npos : cut.text()->rfind(' ');
  return text_like(call, cut.text()->substr(0, blank) + end);
}

Value word_count(const Call& call) {
  const std::string text = to_text(call.object);
  int64_t count = 0;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    // Python's \w: letters, digits and the underscore; marks are none.
    const std::string_view kind = category(point.value);
    const bool word = kind[0] == 'L' || kind[0] == 'N' || point.value == '_';
    count += word && !inside;
    inside = word;
    at += point.size;
  }
  return count;
}

constexpr Builtin table[] = {
    {"abs", "", 0, Cost::constant, absolute},
    {"capitalize", "", 0, Cost::deep, capitalize},
    {"center", "width", 0, Cost::deep, center},
    {"e", "", 0, Cost::deep, escape},
    {"escape", "", 0, Cost::deep, escape},
    {"float", "default", 0, Cost::shallow, to_float},
    {"forceescape", "", 0, Cost::deep, escape},
    {"format", "*", 0, Cost::deep, format},
    {"indent", "width first blank", 0, Cost::shallow, indent},
    {"int", "default base", 0, Cost::shallow, to_integer},
    {"lower", "", 0, Cost::deep, lower},
    {"replace", "old new count", 2, Cost::deep, replace},
    {"round", "precision method", 0, Cost::constant, round},
    {"safe", "", 0, Cost::deep, safe},
    {"string", "", 0, Cost::deep, string},
    {"title", "", 0, Cost::deep, title},
    {"tojson", "ensure_ascii indent separators sort_keys", 0, Cost::deep, to_json},
    {"trim", "chars", 0, Cost::deep, trim},
    {"truncate", "length killwords end leeway", 0, Cost::shallow, truncate},
    {"upper", "", 0, Cost::deep, upper},
    {"wordcount", "", 0, Cost::deep, word_count},
};

}  // namespace

std::span<const Builtin> text_filters() {
  return table;
}

}  // namespace graft::text::jinja
