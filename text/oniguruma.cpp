#include "graft/text/oniguruma.h"

#include <algorithm>
#include <array>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "graft/tensor/error.h"
#include "graft/text/unicode_additions.h"

namespace graft::text {
namespace {

// The members of classes, as they stand between brackets.
constexpr std::string_view whitespace = R"(\t-\r\x{85}\p{Z})";
constexpr std::string_view hex_digits = "0-9A-Fa-f";
// Oniguruma's `\w`: the Alphabetic property, marks, digits, connectors, and six of Latin-1.
constexpr std::string_view word_extras =
    R"(\p{Nl}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})"
    R"(\xB2\xB3\xB9\xBC-\xBE)";

constexpr std::array categories = {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me",
                                   "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi",
                                   "Pf", "Po", "S",  "Sm", "Sc", "Sk", "So", "Z",  "Zs", "Zl",
                                   "Zp", "C",  "Cc", "Cf", "Cs", "Co", "Cn"};

std::string hex_range(char32_t first, char32_t last) {
  std::ostringstream out;
  out << std::hex << "\\x{" << static_cast<uint32_t>(first) << "}";
  if (last != first)
    out << "-\\x{" << static_cast<uint32_t>(last) << "}";
  return out.str();
}

/// The members of a general category in Unicode 16: the library's, and those it may not know.
std::string category_members(std::string_view name) {
  std::string members = concat("\\p{", name, "}");
  for (const CategoryRange& row : unicode_additions())
    if (std::string_view(row.category).starts_with(name))
      members += hex_range(row.first, row.last);
  return members;
}

std::string word_members() {
  return category_members("L") + category_members("M") + category_members("Nd") +
         category_members("Pc") + std::string(word_extras);
}

/// Ideographs; the extensions H and I and one character came after Unicode 14.
std::string han_members() {
  std::string members = "\\p{sc:Han}";
  for (const CategoryRange& row : unicode_additions())
    if (row.first >= 0x2b739)
      members += hex_range(row.first, row.last);
  return members;
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  std::string run() {
    while (at_ < pattern_.size())
      step();
    return std::move(out_);
  }

 private:
  char peek(size_t ahead = 0) const {
    return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0';
  }
  [[noreturn]] void refuse(std::string_view what) const {
    throw ConfigError(
        concat("regex: '", pattern_, "' at byte ", at_, ": ", what, " is not supported"));
  }
  void copy(size_t count) {
    out_ += pattern_.substr(at_, count);
    at_ += count;
  }
  /// A character that stands for itself, with all its bytes.
  void character() {
    size_t size = 1;
    while ((static_cast<unsigned char>(peek(size)) & 0xc0) == 0x80)
      ++size;
    atom(pattern_.substr(at_, size), size);
  }
  void atom(std::string_view text, size_t consumed) {
    atom_ = out_.size();
    out_ += text;
    at_ += consumed;
  }

  void step() {
    switch (peek()) {
      case '\\':
        return escape();
      case '[':
        atom_ = out_.size();
        return bracket();
      case '(':
        return group();
      case ')':
        return close();
      case '^':
      case '$':
        return atom(peek() == '^' ? "(?m:^)" : "(?m:$)", 1);
      case '*':
      case '+':
      case '?':
        copy(1);
        if (peek() == '+' || peek() == '?')  // possessive and lazy mean the same
          copy(1);
        return;
      case '{':
        return counted();
      default:
        return character();
    }
  }

  /// What a class escape at the cursor stands for: members for a bracket, and whether negated.
  struct Class {
    std::string members;
    bool negated = false;
    size_t consumed = 0;
  };

  std::optional<Class> class_escape() const {
    const char letter = peek(1);
    switch (letter) {
      case 's':
      case 'S':
        return Class{std::string(whitespace), letter == 'S', 2};
      case 'h':
      case 'H':
        return Class{std::string(hex_digits), letter == 'H', 2};
      case 'd':
      case 'D':
        return Class{category_members("Nd"), letter == 'D', 2};
      case 'w':
      case 'W':
        return Class{word_members(), letter == 'W', 2};
      case 'p':
      case 'P':
        return property();
      default:
        return std::nullopt;
    }
  }

  Class property() const {
    const size_t close = pattern_.find('}', at_);
    if (peek(2) != '{' || close == std::string_view::npos)
      refuse("a property without braces");
    std::string_view name = pattern_.substr(at_ + 3, close - at_ - 3);
    bool negated = peek(1) == 'P';
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    const size_t consumed = close + 1 - at_;
    if (name == "Han")
      return {han_members(), negated, consumed};
    if (std::ranges::find(categories, name) == categories.end())
      refuse(concat("the property ", name));
    return {category_members(name), negated, consumed};
  }

  void escape() {
    if (const auto found = class_escape())
      return atom(concat(found->negated ? "[^" : "[", found->members, "]"), found->consumed);
    atom_ = out_.size();
    character_escape(true);
  }

  /// An escape that stands for one character, or (outside brackets) for a place or a group.
  void character_escape(bool outside) {
    const char letter = peek(1);
    const bool alphanumeric = (letter >= '0' && letter <= '9') ||
                              (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
    constexpr std::string_view controls = "tnrfae";
    constexpr std::string_view places = "AzZ123456789";
    if (letter == 'v') {
      out_ += "\\x0B";
      at_ += 2;
    } else if (letter == 'u' || letter == 'x') {
      hex_escape();
    } else if (!alphanumeric || controls.find(letter) != std::string_view::npos ||
               (outside && places.find(letter) != std::string_view::npos)) {
      if (letter == '\0')
        refuse("a backslash at the end");
      copy(2);
    } else {
      refuse(concat("\\", letter));
    }
  }

  void hex_escape() {
    const auto is_hex = [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    };
    const bool braces = peek(1) == 'x' && peek(2) == '{';
    const size_t begin = at_ + (braces ? 3 : 2);
    const size_t most = braces ? 8 : peek(1) == 'u' ? 4 : 2;
    size_t end = begin;
    while (end < pattern_.size() && end - begin < most && is_hex(pattern_[end]))
      ++end;
    const std::string digits(pattern_.substr(begin, end - begin));
    if (digits.empty() || (peek(1) == 'u' && digits.size() != 4) ||
        (braces && (end == pattern_.size() || pattern_[end] != '}')))
      refuse("an unfinished code");
    if (peek(1) == 'x' && !braces && std::stoul(digits, nullptr, 16) > 0x7f)
      refuse("a byte that is no character");
    out_ += concat("\\x{", digits, "}");
    at_ = end + (braces ? 1 : 0);
  }

  void bracket() {
    copy(1);
    if (peek() == '^')
      copy(1);
    if (peek() == ']')
      copy(1);
    while (at_ < pattern_.size() && peek() != ']') {
      if (peek() == '[')
        refuse("a class inside a class");
      if (peek() == '&' && peek(1) == '&')
        refuse("&& in a class");
      if (peek() != '\\') {
        copy(1);
      } else if (const auto found = class_escape()) {
        if (found->negated)
          refuse("a negated class inside a class");
        out_ += found->members;
        at_ += found->consumed;
      } else {
        character_escape(false);
      }
    }
    if (at_ == pattern_.size())
      refuse("a class without end");
    copy(1);
  }

  void group() {
    open_.push_back(out_.size());
    if (peek(1) != '?')
      return copy(1);
    const std::string_view rest = pattern_.substr(at_ + 2);
    for (const std::string_view kind : {":", "=", "!", ">", "<=", "<!"})
      if (rest.starts_with(kind))
        return copy(2 + kind.size());
    if (rest.starts_with('<'))
      return copy(3);
    if (rest.starts_with("i:"))
      return copy(4);
    if (rest.starts_with("m:")) {
      out_ += "(?s:";  // Oniguruma's m is what others call s: the dot matches line ends
      at_ += 4;
      return;
    }
    if (rest.starts_with("i)") && at_ == 0) {
      open_.pop_back();
      return copy(4);
    }
    refuse(concat("(?", rest.substr(0, 2)));
  }

  void close() {
    if (open_.empty())
      refuse("a ) without (");
    atom_ = open_.back();
    open_.pop_back();
    copy(1);
  }

  /// `{n}`, `{n,}`, `{n,m}`, `{,m}`. A + or ? behind one repeats it: (?:x{n,m})+.
  void counted() {
    const size_t close = pattern_.find('}', at_);
    const std::string_view body =
        close == std::string_view::npos ? "" : pattern_.substr(at_ + 1, close - at_ - 1);
    const bool counts = !body.empty() && body != "," &&
                        body.find_first_not_of("0123456789,") == std::string_view::npos &&
                        std::ranges::count(body, ',') <= 1;
    if (!counts)
      return atom("\\{", 1);
    out_ += concat("{", body.starts_with(',') ? "0" : "", body, "}");
    at_ = close + 1;
    const bool range = body.find(',') != std::string_view::npos;
    if (peek() == '+' || (peek() == '?' && !range)) {
      out_.insert(atom_, "(?:");
      out_ += ")";
      copy(1);
    } else if (peek() == '?') {
      copy(1);
    }
  }

  std::string_view pattern_;
  size_t at_ = 0;
  std::string out_;
  size_t atom_ = 0;           // where the last atom begins in out_
  std::vector<size_t> open_;  // where the open groups begin in out_
};

}  // namespace

std::string from_oniguruma(std::string_view pattern) {
  return Translator(pattern).run();
}

}  // namespace graft::text
