#include "graft/text/jinja/print.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "graft/text/jinja/strings.h"
#include "graft/text/unicode.h"

namespace graft::text::jinja {
namespace {

std::string hex(const char* form, char32_t value) {
  char buffer[16];
  const int size = std::snprintf(buffer, sizeof buffer, form, static_cast<unsigned>(value));
  return {buffer, static_cast<size_t>(size)};
}

/// Characters that repr() writes as escapes.
bool is_printable(char32_t c) {
  if (c < 0x7f)
    return c >= ' ';
  const std::string_view kind = category(c);
  return kind[0] != 'C' && kind[0] != 'Z';
}

void append_escape(std::string& out, char32_t c) {
  if (c == '\n')
    out += "\\n";
  else if (c == '\t')
    out += "\\t";
  else if (c == '\r')
    out += "\\r";
  else
    out += hex(c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
}

/// Writes repr() into one text.
class Writer {
 public:
  void write(const Value& value) {
    check_text_size(out.size());
    if (const auto* flag = value.as<bool>())
      out += *flag ? "True" : "False";
    else if (const auto* integer = value.as<int64_t>())
      out += std::to_string(*integer);
    else if (const auto* real = value.as<double>())
      out += float_text(*real);
    else if (const std::string* text = value.text())
      out += value.is_markup() ? concat("Markup(", repr_of(*text), ")") : repr_of(*text);
    else if (const Sequence* items = value.sequence())
      write(*items);
    else if (const Dict* dict = value.dict())
      write(*dict);
    else if (const Namespace* space = value.name_space())
      write(*space);
    else if (value.is_none() || value.is_undefined())
      out += value.is_none() ? "None" : "Undefined";
    else
      throw RenderError(concat("a ", value.type(), " is printed; call it, or make a list of it"));
  }

  std::string out;

 private:
  void write(const Sequence& sequence) {
    constexpr std::string_view open[] = {"[",           "(", "", "dict_keys([", "dict_values([",
                                         "dict_items(["};
    constexpr std::string_view close[] = {"]", ")", "", "])", "])", "])"};
    const auto kind = static_cast<size_t>(sequence.kind);
    if (sequence.kind == SequenceKind::range) {
      GRAFT_CHECK(!sequence.range.empty(), RenderError, "a part of a range is printed");
      out += sequence.range;
      return;
    }
    out += open[kind];
    for (size_t i = 0; i < sequence.items.size(); ++i) {
      out += i > 0 ? ", " : "";
      write(sequence.items[i]);
    }
    out += sequence.kind == SequenceKind::tuple && sequence.items.size() == 1 ? "," : "";
    out += close[kind];
  }

  void write(const Dict& dict) {
    out += '{';
    bool first = true;
    for (const auto& [key, value] : dict.entries) {
      out += first ? "" : ", ";
      first = false;
      write(key);
      out += ": ";
      write(value);
    }
    out += '}';
  }

  void write(const Namespace& space) {
    GRAFT_CHECK(++namespaces_ <= max_nesting, RenderError, "a namespace that holds itself");
    out += "<Namespace {";
    bool first = true;
    for (const auto& [name, value] : space.members) {
      out += concat(first ? "" : ", ", repr_of(name), ": ");
      first = false;
      write(value);
    }
    out += "}>";
    --namespaces_;
  }

  int namespaces_ = 0;  // inside each other
};

/// Writes json.dumps() into one text.
class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}

  void write(const Value& value, int level) {
    check_text_size(out.size());
    if (const std::string* text = value.text())
      write_text(*text);
    else if (const Sequence* items = listable(value))
      write_list(*items, level);
    else if (const Dict* dict = value.dict())
      write_dict(*dict, level);
    else
      out += scalar(value);
  }

  std::string out;

 private:
  static const Sequence* listable(const Value& value) {
    const Sequence* items = value.sequence();
    return items != nullptr && items->kind <= SequenceKind::tuple ? items : nullptr;
  }

  static std::string scalar(const Value& value) {
    if (const auto* flag = value.as<bool>())
      return *flag ? "true" : "false";
    if (const auto* integer = value.as<int64_t>())
      return std::to_string(*integer);
    if (const auto* real = value.as<double>())
      return std::isnan(*real)   ? "NaN"
             : std::isinf(*real) ? (*real < 0 ? "-Infinity" : "Infinity")
                                 : float_text(*real);
    GRAFT_CHECK(value.is_none(), RenderError, "Object of type ", value.type(),
                " is not JSON serializable");
    return "null";
  }

  void write_text(std::string_view text) {
    out += '"';
    for (size_t at = 0; at < text.size();) {
      const CodePoint point = code_point_at(text, at);
      write_character(point.value, text.substr(at, point.size));
      at += point.size;
    }
    out += '"';
  }

  void write_character(char32_t c, std::string_view bytes) {
    constexpr std::string_view escaped = "\"\\\n\r\t\f\b";
    constexpr std::string_view letters = "\"\\nrtfb";
    const size_t known = c < 0x80 ? escaped.find(static_cast<char>(c)) : std::string_view::npos;
    if (known != std::string_view::npos) {
      out += {'\\', letters[known]};
    } else if (c >= 0x10000 && style_.ensure_ascii) {
      out += hex("\\u%04x", 0xd800 + ((c - 0x10000) >> 10));
      out += hex("\\u%04x", 0xdc00 + ((c - 0x10000) & 0x3ff));
    } else if (c < ' ' || (c >= 0x7f && style_.ensure_ascii)) {
      out += hex("\\u%04x", c);
    } else {
      out += bytes;
    }
  }

  void write_list(const Sequence& list, int level) {
    out += '[';
    for (size_t i = 0; i < list.items.size(); ++i) {
      begin_item(i, level);
      write(list.items[i], level + 1);
    }
    end_items(list.items.size(), level);
    out += ']';
  }

  void write_dict(const Dict& dict, int level) {
    std::vector<std::pair<std::string, const Value*>> entries;
    for (const auto& [key, value] : dict.entries)
      entries.emplace_back(key.text() != nullptr ? *key.text() : scalar(key), &value);
    if (style_.sort_keys)
      std::ranges::stable_sort(entries, {}, [](const auto& entry) { return entry.first; });
    out += '{';
    for (size_t i = 0; i < entries.size(); ++i) {
      begin_item(i, level);
      write_text(entries[i].first);
      out += style_.key_separator;
      write(*entries[i].second, level + 1);
    }
    end_items(entries.size(), level);
    out += '}';
  }

  void begin_item(size_t index, int level) {
    if (index > 0)
      out += style_.item_separator;
    break_line(level + 1);
  }

  void end_items(size_t count, int level) {
    if (count > 0)
      break_line(level);
  }

  void break_line(int level) {
    if (!style_.breaks_lines)
      return;
    out += '\n';
    for (int i = 0; i < level; ++i) {
      check_text_size(out.size() + style_.indent.size());
      out += style_.indent;
    }
  }

  const JsonStyle& style_;
};

}  // namespace

/// The shortest text that reads back, with a point or an exponent.
std::string float_text(double value) {
  if (std::isnan(value))
    return "nan";
  if (std::isinf(value))
    return value < 0 ? "-inf" : "inf";
  char buffer[40];
  const double magnitude = std::fabs(value);
  const bool plain = magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e16);
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value,
                                 plain ? std::chars_format::fixed : std::chars_format::scientific)
                       .ptr;
  std::string text(buffer, end);
  if (plain && text.find('.') == std::string::npos)
    text += ".0";
  return text;
}

/// Single quotes, unless only they occur inside.
std::string repr_of(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    if (point.value == static_cast<char32_t>(quote) || point.value == '\\')
      out += {'\\', static_cast<char>(point.value)};
    else if (is_printable(point.value))
      out += text.substr(at, point.size);
    else
      append_escape(out, point.value);
    at += point.size;
  }
  return out + quote;
}

std::string to_text(const Value& value) {
  if (const std::string* text = value.text())
    return *text;
  return value.is_undefined() ? std::string() : to_repr(value);
}

std::string to_repr(const Value& value) {
  Writer writer;
  writer.write(value);
  check_text_size(writer.out.size());
  return std::move(writer.out);
}

std::string to_json_text(const Value& value, const JsonStyle& style) {
  JsonWriter writer(style);
  writer.write(value, 0);
  check_text_size(writer.out.size());
  return std::move(writer.out);
}

}  // namespace graft::text::jinja
