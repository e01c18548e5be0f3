// The methods of str.
#include <algorithm>
#include <limits>

#include "graft/text/jinja/builtins.h"
#include "graft/text/jinja/format.h"
#include "graft/text/jinja/operators.h"
#include "graft/text/jinja/print.h"
#include "graft/text/jinja/strings.h"
#include "graft/text/unicode.h"

namespace graft::text::jinja {
namespace {

/// What the method makes; of a text that is marked as safe, such a text.
Value text_like(const Call& call, std::string_view text) {
  return {std::string(text), call.object.is_markup()};
}

Value list_like(const Call& call, const std::vector<std::string_view>& parts) {
  std::vector<Value> items;
  check_item_count(parts.size());
  for (const std::string_view part : parts)
    items.push_back(text_like(call, part));
  return Value::list(std::move(items));
}

/// An argument; added to a text that is marked as safe, it is escaped.
std::string part(const Call& call, size_t parameter) {
  const std::string text = call.text(parameter);
  return call.object.is_markup() && !call[parameter].is_markup() ? escaped_for_html(text) : text;
}

Value change_case(const Call& call) {
  const std::string_view name = call.builtin.name;
  const std::string& text = call.self();
  return text_like(call, name == "capitalize" ? capitalized(text)
                         : name == "swapcase" ? with_swapped_case(text)
                         : name == "title"    ? titled(text)
                         : name == "upper"    ? to_upper(text)
                                              : to_lower(text));
}

/// The text, filled up to a width on one side or on both.
Value justify(const Call& call) {
  const int64_t width = call.integer(0);
  const std::string fill = call.text(1, " ");
  GRAFT_CHECK(count_characters(fill) == 1, RenderError,
              "The fill character must be exactly one character long");
  const int64_t missing = std::max<int64_t>(width - count_characters(call.self()), 0);
  check_text_size(static_cast<size_t>(missing) * fill.size() + call.self().size());
  const std::string_view name = call.builtin.name;
  const int64_t left = name == "ljust"   ? 0
                       : name == "rjust" ? missing
                                         : missing / 2 + (missing & width & 1);
  std::string text;
  for (int64_t i = 0; i < left; ++i)
    text += fill;
  text += call.self();
  for (int64_t i = left; i < missing; ++i)
    text += fill;
  return text_like(call, text);
}

/// The part that start and end of count, find, startswith … leave, and the byte where it begins;
/// nothing where they leave none at all.
struct Window {
  std::string_view text;
  size_t begin;
};
std::optional<Window> window_of(const Call& call) {
  const std::string_view text = call.self();
  const int64_t count = count_characters(text);
  const auto place = [&](size_t parameter, int64_t fallback) {
    const int64_t at = call.integer(parameter, fallback);
    return at < 0 ? std::max<int64_t>(at + count, 0) : at;
  };
  const int64_t begin = place(1, 0);
  const int64_t end = std::min(place(2, count), count);
  if (begin > end)
    return std::nullopt;
  if (begin == 0 && end == count)
    return Window{text, 0};
  const std::vector<size_t> offsets = character_offsets(text);
  const size_t first = offsets[static_cast<size_t>(begin)];
  return Window{text.substr(first, offsets[static_cast<size_t>(end)] - first), first};
}

Value count(const Call& call) {
  const std::string searched = call.text(0);
  const auto window = window_of(call);
  if (!window)
    return int64_t{0};
  if (searched.empty())
    return count_characters(window->text) + 1;
  int64_t count = 0;
  for (size_t at = find_first(window->text, searched); at != std::string_view::npos;
       at = find_first(window->text, searched, at + searched.size()))
    ++count;
  return count;
}

Value find(const Call& call) {
  const std::string_view name = call.builtin.name;
  const std::string searched = call.text(0);
  const auto window = window_of(call);
  const size_t at = !window                 ? std::string_view::npos
                    : name.starts_with('r') ? find_last(window->text, searched)
                                            : find_first(window->text, searched);
  if (at != std::string_view::npos)
    return count_characters(std::string_view(call.self()).substr(0, window->begin + at));
  GRAFT_CHECK(!name.ends_with("index"), RenderError, "substring not found");
  return int64_t{-1};
}

bool has_affix(const Window& window, const Value& affix, std::string_view name) {
  GRAFT_CHECK(affix.text() != nullptr, RenderError, name,
              " first arg must be str or a tuple of str, not ", affix.type());
  return name == "startswith" ? window.text.starts_with(*affix.text())
                              : window.text.ends_with(*affix.text());
}

Value test_affix(const Call& call) {
  const auto window = window_of(call);
  const Sequence* several = call[0].sequence();
  call[0].check_defined();
  if (several == nullptr || several->kind != SequenceKind::tuple)
    return has_affix(window.value_or(Window{"", 0}), call[0], call.builtin.name) &&
           window.has_value();
  return window && std::ranges::any_of(several->items, [&](const Value& affix) {
           return has_affix(*window, affix, call.builtin.name);
         });
}

Value format(const Call& call) {
  GRAFT_CHECK(!call.object.is_markup(), RenderError,
              "format of a text marked as safe is not supported");
  return formatted_by_braces(call.run, call.self(), call.arguments);
}

/// isalpha and the like: not empty, and all characters are of a class.
Value test_characters(const Call& call) {
  const std::string_view name = call.builtin.name;
  const auto belongs = [&](char32_t c) {
    return name == "isalpha"     ? is_letter(c)
           : name == "isascii"   ? c < 0x80
           : name == "isspace"   ? is_space(c)
           : name == "isalnum"   ? is_letter(c) || is_numeric(c)
           : name == "isnumeric" ? is_numeric(c)
           : name == "isdigit"   ? is_digit(c) || is_digit_sign(c)
                                 : is_digit(c);
  };
  const std::string_view text = call.self();
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    if (!belongs(point.value))
      return false;
    at += point.size;
  }
  return !text.empty() || name == "isascii";
}

/// islower, isupper: some characters have case, and none the other one; istitle.
Value test_case(const Call& call) {
  const std::string_view name = call.builtin.name;
  const std::string_view text = call.self();
  if (name == "istitle")
    return titled(text) == text && to_lower(text) != text;
  bool cased = false;
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    const bool fits = name == "islower" ? is_lower(point.value) : is_upper(point.value);
    if (is_cased(point.value) && !fits)
      return false;
    cased = cased || fits;
    at += point.size;
  }
  return cased;
}

Value join(const Call& call) {
  const bool markup = call.object.is_markup();
  const auto next = iterate(call[0]);
  std::string text;
  for (int64_t i = 0; auto item = next(); ++i) {
    GRAFT_CHECK(item->text() != nullptr, RenderError, "sequence item ", i,
                ": expected str instance, ", item->type(), " found");
    text += i > 0 ? call.self() : "";
    text += markup && !item->is_markup() ? escaped_for_html(*item->text()) : *item->text();
    check_text_size(text.size());
  }
  return text_like(call, text);
}

Value partition(const Call& call) {
  const std::string_view text = call.self();
  const std::string separator = call.text(0);
  GRAFT_CHECK(!separator.empty(), RenderError, "empty separator");
  const bool from_right = call.builtin.name == "rpartition";
  const size_t at = from_right ? find_last(text, separator) : find_first(text, separator);
  std::vector<std::string_view> parts = {text, "", ""};
  if (at != std::string_view::npos)
    parts = {text.substr(0, at), separator, text.substr(at + separator.size())};
  else if (from_right)
    parts = {"", "", text};
  return Value::tuple(list_like(call, parts).sequence()->items);
}

Value remove_affix(const Call& call) {
  std::string_view text = call.self();
  const std::string affix = call.text(0);
  if (call.builtin.name == "removeprefix" && text.starts_with(affix))
    text.remove_prefix(affix.size());
  else if (call.builtin.name == "removesuffix" && text.ends_with(affix))
    text.remove_suffix(affix.size());
  return text_like(call, text);
}

Value replace(const Call& call) {
  return text_like(call, replaced(call.self(), call.text(0), part(call, 1), call.integer(2, -1)));
}

Value split(const Call& call) {
  const bool from_right = call.builtin.name == "rsplit";
  const int64_t most = std::max<int64_t>(call.integer(1, -1), -1);
  if (call.find(0) == nullptr || call.find(0)->is_none())
    return list_like(call, words_of(call.self(), most, from_right));
  const std::string separator = call.text(0);
  GRAFT_CHECK(!separator.empty(), RenderError, "empty separator");
  return list_like(call, parts_of(call.self(), separator, most, from_right));
}

Value split_lines(const Call& call) {
  return list_like(call, lines_of(call.self(), call.flag(0)));
}

Value strip(const Call& call) {
  const bool left = call.builtin.name != "rstrip";
  const bool right = call.builtin.name != "lstrip";
  if (call.find(0) == nullptr || call.find(0)->is_none())
    return text_like(call, stripped(call.self(), left, right));
  return text_like(call, stripped_of(call.self(), call.text(0), left, right));
}

Value fill_with_zeros(const Call& call) {
  const std::string& text = call.self();
  const int64_t missing = std::max<int64_t>(call.integer(0) - count_characters(text), 0);
  check_text_size(static_cast<size_t>(missing) + text.size());
  const size_t sign = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  return text_like(call, text.substr(0, sign) + std::string(static_cast<size_t>(missing), '0') +
                             text.substr(sign));
}

constexpr Builtin table[] = {
    {"capitalize", "", 0, Cost::deep, change_case},
    {"center", "width fillchar", 1, Cost::deep, justify},
    {"count", "sub start end", 1, Cost::deep, count},
    {"endswith", "suffix start end", 1, Cost::deep, test_affix},
    {"find", "sub start end", 1, Cost::deep, find},
    {"format", "*", 0, Cost::deep, format},
    {"index", "sub start end", 1, Cost::deep, find},
    {"isalnum", "", 0, Cost::deep, test_characters},
    {"isalpha", "", 0, Cost::deep, test_characters},
    {"isascii", "", 0, Cost::deep, test_characters},
    {"isdecimal", "", 0, Cost::deep, test_characters},
    {"isdigit", "", 0, Cost::deep, test_characters},
    {"islower", "", 0, Cost::deep, test_case},
    {"isnumeric", "", 0, Cost::deep, test_characters},
    {"isspace", "", 0, Cost::deep, test_characters},
    {"istitle", "", 0, Cost::deep, test_case},
    {"isupper", "", 0, Cost::deep, test_case},
    {"join", "iterable", 1, Cost::deep, join},
    {"ljust", "width fillchar", 1, Cost::deep, justify},
    {"lower", "", 0, Cost::deep, change_case},
    {"lstrip", "chars", 0, Cost::deep, strip},
    {"partition", "sep", 1, Cost::deep, partition},
    {"removeprefix", "prefix", 1, Cost::deep, remove_affix},
    {"removesuffix", "suffix", 1, Cost::deep, remove_affix},
    {"replace", "old new count", 2, Cost::deep, replace},
    {"rfind", "sub start end", 1, Cost::deep, find},
    {"rindex", "sub start end", 1, Cost::deep, find},
    {"rjust", "width fillchar", 1, Cost::deep, justify},
    {"rpartition", "sep", 1, Cost::deep, partition},
    {"rsplit", "sep maxsplit", 0, Cost::deep, split},
    {"rstrip", "chars", 0, Cost::deep, strip},
    {"split", "sep maxsplit", 0, Cost::deep, split},
    {"splitlines", "keepends", 0, Cost::deep, split_lines},
    {"startswith", "prefix start end", 1, Cost::deep, test_affix},
    {"strip", "chars", 0, Cost::deep, strip},
    {"swapcase", "", 0, Cost::deep, change_case},
    {"title", "", 0, Cost::deep, change_case},
    {"upper", "", 0, Cost::deep, change_case},
    {"zfill", "width", 1, Cost::deep, fill_with_zeros},
};

}  // namespace

std::span<const Builtin> text_methods() {
  return table;
}

}  // namespace graft::text::jinja
