#include "graft/text/jinja/format.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "graft/text/jinja/operators.h"
#include "graft/text/jinja/print.h"
#include "graft/text/jinja/strings.h"

namespace graft::text::jinja {
namespace {

/// Width or precision of a field; more is no formatting.
constexpr int64_t max_width = 10'000;

/// What stands between the marks of a field: [[fill]align][sign][#][0][width][,][.precision][type]
struct Spec {
  std::string fill = " ";
  char align = 0;
  char sign = '-';
  bool alternate = false;
  bool grouped = false;
  int64_t width = 0;
  int64_t precision = -1;
  char type = 0;
};

bool is_ascii_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Reads digits from the front of `text`.
int64_t take_number(std::string_view& text) {
  int64_t number = 0;
  while (!text.empty() && is_ascii_digit(text[0])) {
    number = number * 10 + (text[0] - '0');
    GRAFT_CHECK(number <= max_width, RenderError, "format: a width of more than ", max_width);
    text.remove_prefix(1);
  }
  return number;
}

bool take(std::string_view& text, char c) {
  if (!text.starts_with(c))
    return false;
  text.remove_prefix(1);
  return true;
}

std::string padded(std::string text, const Spec& spec, char usual_align) {
  const int64_t missing = spec.width - count_characters(text);
  if (missing <= 0)
    return text;
  const char align = spec.align != 0 ? spec.align : usual_align;
  const int64_t left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
  const auto fill = [&](int64_t count) {
    std::string result;
    for (int64_t i = 0; i < count; ++i)
      result += spec.fill;
    return result;
  };
  if (align == '=') {  // between sign and digits
    const size_t sign = !text.empty() && (text[0] == '-' || text[0] == '+' || text[0] == ' ');
    return text.substr(0, sign) + fill(missing) + text.substr(sign);
  }
  return fill(left) + text + fill(missing - left);
}

/// The digits of a number in groups of three.
std::string grouped(const std::string& digits) {
  const size_t whole = std::min(digits.find_first_not_of("0123456789"), digits.size());
  std::string result;
  for (size_t i = 0; i < whole; ++i) {
    if (i > 0 && (whole - i) % 3 == 0)
      result += ',';
    result += digits[i];
  }
  return result + digits.substr(whole);
}

std::string with_sign(bool negative, std::string digits, const Spec& spec) {
  if (spec.grouped)
    digits = grouped(digits);
  const std::string sign = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  return padded(sign + digits, spec, '>');
}

std::string format_integer(int64_t value, const Spec& spec) {
  GRAFT_CHECK(spec.precision < 0, RenderError, "format: a precision for an integer");
  const int base = spec.type == 'x' || spec.type == 'X' ? 16
                   : spec.type == 'o'                   ? 8
                   : spec.type == 'b'                   ? 2
                                                        : 10;
  const uint64_t magnitude =
      value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  char buffer[70];
  std::string digits(buffer, std::to_chars(buffer, buffer + sizeof buffer, magnitude, base).ptr);
  if (spec.type == 'X')
    digits = to_upper(digits);
  if (spec.alternate && base != 10)
    digits = concat('0', spec.type, digits);
  return with_sign(value < 0, std::move(digits), spec);
}

std::string format_real(double value, const Spec& spec) {
  if (spec.type == 0 && spec.precision < 0)
    return with_sign(std::signbit(value), float_text(std::fabs(value)), spec);
  const char type = spec.type == 0 ? 'g' : spec.type == '%' ? 'f' : spec.type;
  const std::string form = concat('%', spec.alternate ? "#" : "", ".*", type);
  const double shown = std::fabs(spec.type == '%' ? value * 100 : value);
  const int precision = static_cast<int>(spec.precision < 0 ? 6 : spec.precision);
  const int size = std::snprintf(nullptr, 0, form.c_str(), precision, shown);
  std::string digits(static_cast<size_t>(size) + 1, ' ');
  std::snprintf(digits.data(), digits.size(), form.c_str(), precision, shown);
  digits.pop_back();
  if (spec.type == 0 && digits.find_first_not_of("0123456789") == std::string::npos)
    digits += ".0";
  if (spec.type == '%')
    digits += '%';
  return with_sign(std::signbit(value), std::move(digits), spec);
}

std::string format_text(std::string_view text, const Spec& spec) {
  if (spec.precision >= 0 && count_characters(text) > spec.precision)
    text = text.substr(0, character_offsets(text)[static_cast<size_t>(spec.precision)]);
  return padded(std::string(text), spec, '<');
}

bool among(char c, std::string_view set) {
  return set.find(c) != std::string_view::npos;
}

/// format(value, spec) with the text of a spec.
std::string format_value(const Value& value, std::string_view text) {
  if (text.empty())
    return to_text(value);
  const std::string_view whole = text;
  Spec spec;
  const size_t first = size_of_character(text, 0);
  if (first < text.size() && among(text[first], "<>=^")) {
    spec.fill = text.substr(0, first);
    spec.align = text[first];
    text.remove_prefix(first + 1);
  } else if (among(text[0], "<>=^")) {
    spec.align = text[0];
    text.remove_prefix(1);
  }
  if (!text.empty() && among(text[0], "+- ")) {
    spec.sign = text[0];
    text.remove_prefix(1);
  }
  spec.alternate = take(text, '#');
  if (text.starts_with('0') && spec.align == 0) {
    spec.fill = "0";
    spec.align = value.number() ? '=' : '<';
  }
  spec.width = take_number(text);
  spec.grouped = take(text, ',');
  if (take(text, '.'))
    spec.precision = take_number(text);
  if (!text.empty()) {
    spec.type = text[0];
    text.remove_prefix(1);
  }
  const bool of_text = value.text() != nullptr && (spec.type == 0 || spec.type == 's');
  const bool of_integer = value.integer() && (spec.type == 0 || among(spec.type, "dxXob"));
  const bool of_real = value.number() && (spec.type == 0 || among(spec.type, "eEfFgG%"));
  GRAFT_CHECK(text.empty() && (of_text || of_integer || of_real), RenderError,
              "format: the specifier '", whole, "' for a ", value.type(), " is not supported");
  return of_text      ? format_text(*value.text(), spec)
         : of_integer ? format_integer(*value.integer(), spec)
                      : format_real(*value.number(), spec);
}

// ---- "%s" % values

/// Hands out the values of a "%" one by one.
class PercentValues {
 public:
  explicit PercentValues(const Value& values) : values_(values) {
    const Sequence* sequence = values.sequence();
    if (sequence != nullptr && sequence->kind == SequenceKind::tuple)
      tuple_ = sequence;
  }

  const Value& next() {
    const size_t count = tuple_ != nullptr ? tuple_->items.size() : 1;
    GRAFT_CHECK(used_ < count, RenderError, "not enough arguments for format string");
    const size_t at = used_++;
    return tuple_ != nullptr ? tuple_->items[at] : values_;
  }

  const Value& named(std::string_view name) {
    GRAFT_CHECK(values_.dict() != nullptr, RenderError, "format requires a mapping");
    const Value* value = values_.dict()->find(name);
    GRAFT_CHECK(value != nullptr, RenderError, "format: the key ", repr_of(name), " is missing");
    used_ = 1;
    return *value;
  }

  void check_all_used() const {
    const bool all = tuple_ != nullptr
                         ? used_ == tuple_->items.size()
                         : used_ > 0 || values_.dict() != nullptr || values_.sequence() != nullptr;
    GRAFT_CHECK(all, RenderError, "not all arguments converted during string formatting");
  }

 private:
  const Value& values_;
  const Sequence* tuple_ = nullptr;
  size_t used_ = 0;
};

std::string percent_text(Run& run, const Value& value, const Spec& spec) {
  charge(run, Cost::deep, value);
  Spec aligned = spec;
  aligned.align = spec.align == '<' ? '<' : '>';
  aligned.fill = " ";
  return format_text(spec.type == 'r' ? to_repr(value) : to_text(value), aligned);
}

std::string percent_number(const Value& value, Spec spec) {
  value.check_defined();
  GRAFT_CHECK(value.number(), RenderError, "%", spec.type,
              " format: a real number is required, not ", value.type());
  if (!among(spec.type, "dixXo"))
    return format_real(*value.number(), spec);
  GRAFT_CHECK(value.integer() || among(spec.type, "di"), RenderError, "%", spec.type,
              " format: an integer is required, not ", value.type());
  const int64_t whole = value.integer() ? *value.integer() : to_whole(*value.number());
  return format_integer(whole, spec);
}

/// Reads a field behind its "%" and formats its value.
std::string percent_field(Run& run, std::string_view& text, PercentValues& values) {
  const Value* value = nullptr;
  if (take(text, '(')) {
    const size_t end = text.find(')');
    GRAFT_CHECK(end != std::string_view::npos, RenderError, "incomplete format key");
    value = &values.named(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  Spec spec;
  bool zeros = false;
  for (; !text.empty() && among(text[0], "-+ #0"); text.remove_prefix(1)) {
    if (text[0] == '-')
      spec.align = '<';
    else if (text[0] == '#')
      spec.alternate = true;
    else if (text[0] == '0')
      zeros = true;
    else if (spec.sign != '+')
      spec.sign = text[0];
  }
  if (zeros && spec.align == 0) {
    spec.align = '=';
    spec.fill = "0";
  }
  spec.width = take_number(text);
  if (take(text, '.'))
    spec.precision = take_number(text);
  GRAFT_CHECK(!text.empty(), RenderError, "incomplete format");
  spec.type = text[0];
  text.remove_prefix(1);
  if (spec.type == '%')
    return "%";
  GRAFT_CHECK(among(spec.type, "srdixXoeEfFgG"), RenderError, "the format character '", spec.type,
              "' is not supported");
  if (value == nullptr)
    value = &values.next();
  return among(spec.type, "sr") ? percent_text(run, *value, spec) : percent_number(*value, spec);
}

// ---- "{}".format(values)

class BraceFormatter {
 public:
  BraceFormatter(Run& run, const CallArguments& arguments) : run_(run), arguments_(arguments) {}

  std::string format(std::string_view text, int depth) {
    GRAFT_CHECK(depth <= 2, RenderError, "Max string recursion exceeded");
    std::string result;
    while (!text.empty()) {
      const char c = text[0];
      const bool doubled = text.size() > 1 && text[1] == c;
      if (c != '{' && c != '}') {
        const size_t end = std::min(text.find_first_of("{}"), text.size());
        result += text.substr(0, end);
        text.remove_prefix(end);
      } else if (doubled) {
        result += c;
        text.remove_prefix(2);
      } else {
        GRAFT_CHECK(c == '{', RenderError, "Single '}' encountered in format string");
        result += field(text, depth);
      }
      check_text_size(result.size());
    }
    return result;
  }

 private:
  /// Reads a field with its braces and formats its value.
  std::string field(std::string_view& text, int depth) {
    size_t end = 1;
    for (int open = 1; open > 0; ++end) {
      GRAFT_CHECK(end < text.size(), RenderError, "expected '}' before end of string");
      open += text[end] == '{' ? 1 : text[end] == '}' ? -1 : 0;
    }
    std::string_view name = text.substr(1, end - 2);
    text.remove_prefix(end);
    std::string_view spec;
    if (const size_t colon = name.find(':'); colon != std::string_view::npos) {
      spec = name.substr(colon + 1);
      name = name.substr(0, colon);
    }
    char conversion = 's';
    bool converts = false;
    if (const size_t mark = name.find('!'); mark != std::string_view::npos) {
      converts = true;
      conversion = mark + 2 == name.size() ? name[mark + 1] : 0;
      GRAFT_CHECK(among(conversion, "sr") && conversion != 0, RenderError,
                  "format: the conversion '", name.substr(mark), "' is not supported");
      name = name.substr(0, mark);
    }
    Value value = look_up(name);
    charge(run_, Cost::deep, value);
    if (converts)
      value = conversion == 'r' ? to_repr(value) : to_text(value);
    return format_value(value, format(spec, depth + 1));
  }

  Value look_up(std::string_view name) {
    const size_t end = std::min(name.find_first_of(".["), name.size());
    Value value = first(name.substr(0, end));
    name.remove_prefix(end);
    while (!name.empty()) {
      if (take(name, '.')) {
        const size_t next = std::min(name.find_first_of(".["), name.size());
        value = attribute(value, name.substr(0, next));
        name.remove_prefix(next);
      } else {
        const size_t close = name.find(']');
        GRAFT_CHECK(name[0] == '[' && close != std::string_view::npos, RenderError,
                    "format: a field is not closed");
        value = item(value, key(name.substr(1, close - 1)));
        name.remove_prefix(close + 1);
      }
    }
    return value;
  }

  static Value key(std::string_view text) {
    int64_t index = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
    const bool whole = error == std::errc() && end == text.data() + text.size() && text[0] != '-';
    return whole ? Value(index) : Value(text);
  }

  Value first(std::string_view name) {
    if (name.empty() || is_ascii_digit(name[0])) {
      const Numbering numbering = name.empty() ? Numbering::automatic : Numbering::manual;
      GRAFT_CHECK(numbering_ == Numbering::open || numbering_ == numbering, RenderError,
                  "cannot switch between manual field specification and automatic field numbering");
      numbering_ = numbering;
      const Value number = name.empty() ? Value(next_++) : key(name);
      const auto index = number.as<int64_t>() != nullptr ? static_cast<size_t>(*number.integer())
                                                         : arguments_.positional.size();
      GRAFT_CHECK(index < arguments_.positional.size(), RenderError,
                  "format: there is no argument ", index);
      return arguments_.positional[index];
    }
    const auto named =
        std::ranges::find_if(arguments_.named, [&](const auto& a) { return a.first == name; });
    GRAFT_CHECK(named != arguments_.named.end(), RenderError, "format: there is no argument '",
                name, "'");
    return named->second;
  }

  enum class Numbering { open, automatic, manual };

  Run& run_;
  const CallArguments& arguments_;
  Numbering numbering_ = Numbering::open;
  int64_t next_ = 0;
};

}  // namespace

Value formatted_by_percent(Run& run, const Value& text, const Value& values) {
  GRAFT_CHECK(!text.is_markup(), RenderError, "'%' with a text marked as safe is not supported");
  PercentValues supply(values);
  std::string result;
  for (std::string_view rest = *text.text(); !rest.empty();) {
    const size_t mark = std::min(rest.find('%'), rest.size());
    result += rest.substr(0, mark);
    rest.remove_prefix(mark);
    if (take(rest, '%'))
      result += percent_field(run, rest, supply);
    check_text_size(result.size());
  }
  supply.check_all_used();
  Value value(std::move(result));
  charge(run, Cost::shallow, value);
  return value;
}

std::string formatted_by_braces(Run& run, std::string_view text, const CallArguments& arguments) {
  return BraceFormatter(run, arguments).format(text, 0);
}

}  // namespace graft::text::jinja
