#include "graft/cli/terminal.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sys/ioctl.h>
#include <unistd.h>

namespace graft::cli {
namespace {

constexpr int most_columns = 120;  // longer lines are hard to read

template <class... Values>
std::string printed(const char* format, Values... values) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, format, values...);
  return buffer;
}

/// Three digits that matter: 1.34, 13.4, 134.
std::string three_digits(double value) {
  return printed(value < 9.995 ? "%.2f" : value < 99.95 ? "%.1f" : "%.0f", value);
}

bool continues_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0) == 0x80;
}

}  // namespace

std::string Terminal::styled(std::string_view code, std::string_view text) const {
  if (!colour)
    return std::string(text);
  return "\x1b[" + std::string(code) + "m" + std::string(text) + "\x1b[0m";
}

Terminal terminal_of(int descriptor) {
  Terminal terminal;
  terminal.interactive = isatty(descriptor) == 1;
  const char* no_color = std::getenv("NO_COLOR");
  const char* kind = std::getenv("TERM");
  const bool plain = kind != nullptr && std::string_view(kind) == "dumb";
  terminal.colour = terminal.interactive && !plain && (no_color == nullptr || *no_color == '\0');
  winsize size{};
  if (terminal.interactive && ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    terminal.columns = std::clamp<int>(size.ws_col, 20, most_columns);
  return terminal;
}

void warn(std::string_view message) {
  std::cerr << terminal_of(2).yellow("graft: warning:") << " " << message << std::endl;
}

std::string grouped(int64_t value) {
  const std::string digits = std::to_string(value);
  const size_t sign = value < 0 ? 1 : 0;
  std::string result = digits.substr(0, sign);
  for (size_t i = sign; i < digits.size(); ++i) {
    if (i > sign && (digits.size() - i) % 3 == 0)
      result += ',';
    result += digits[i];
  }
  return result;
}

std::string counted(int64_t count, std::string_view noun) {
  return grouped(count) + " " + std::string(noun) + (count == 1 ? "" : "s");
}

std::string short_count(int64_t value) {
  constexpr std::array units = {"", " k", " M", " G", " T"};
  size_t unit = 0;
  double scaled = static_cast<double>(value);
  for (; std::abs(scaled) >= 999.5 && unit + 1 < units.size(); ++unit)
    scaled /= 1000;
  return (unit == 0 ? std::to_string(value) : three_digits(scaled)) + units[unit];
}

std::string byte_text(int64_t nbytes) {
  constexpr std::array units = {" B", " KiB", " MiB", " GiB", " TiB"};
  size_t unit = 0;
  double scaled = static_cast<double>(nbytes);
  for (; scaled >= 999.5 && unit + 1 < units.size(); ++unit)
    scaled /= 1024;
  return (unit == 0 ? std::to_string(nbytes) : three_digits(scaled)) + units[unit];
}

std::string duration_text(double seconds) {
  if (!(seconds >= 0) || seconds > 1e8)
    return "-";
  if (seconds < 10)
    return printed("%.1f s", seconds);
  const auto whole = static_cast<long>(std::llround(seconds));
  if (whole < 60)
    return printed("%ld s", whole);
  if (whole < 3600)
    return printed("%ld:%02ld", whole / 60, whole % 60);
  return printed("%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string number_text(double value, int digits) {
  return printed("%.*g", digits, value);
}

std::string scientific_text(double value) {
  return printed("%.1e", value);
}

std::string fixed_text(double value, int decimals) {
  return printed("%.*f", decimals, value);
}

std::string percent_text(int64_t part, int64_t whole) {
  const double percent =
      whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
  return printed(percent < 10 ? "%.2f%%" : "%.1f%%", percent);
}

int display_width(std::string_view text) {
  int width = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      i = std::min(text.find('m', i), text.size() - 1);
      continue;
    }
    width += continues_character(text[i]) ? 0 : 1;
  }
  return width;
}

std::vector<std::string> wrapped(std::string_view text, int width) {
  std::vector<std::string> lines(1);
  size_t position = 0;
  while (position < text.size()) {
    const size_t end = std::min(text.find_first_of(" \n", position), text.size());
    const std::string word(text.substr(position, end - position));
    const bool fits = display_width(lines.back()) + 1 + display_width(word) <= width;
    if (lines.back().empty())
      lines.back() = word;
    else if (fits)
      lines.back() += " " + word;
    else
      lines.push_back(word);
    if (end < text.size() && text[end] == '\n')
      lines.emplace_back();
    position = end + 1;
  }
  return lines;
}

std::string shown(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto code = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    if (code == 0xc2 && next >= 0x80 && next < 0xa0)
      ++i;  // U+0080 to U+009F: controls too
    else if ((code >= 0x20 && code != 0x7f) || code == '\n' || code == '\t')
      result += text[i];
  }
  return result;
}

std::string shell_word(std::string_view text) {
  const std::string word = shown(text);
  constexpr std::string_view harmless = "_@%+=:,./-";
  const bool is_plain = std::ranges::all_of(word, [&](unsigned char c) {
    return c >= 0x80 || std::isalnum(c) != 0 || harmless.find(static_cast<char>(c)) != harmless.npos;
  });
  if (is_plain && !word.empty())
    return word;
  std::string quoted = "'";
  for (const char c : word)
    quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string table(const std::vector<std::vector<std::string>>& rows, const Terminal& terminal) {
  std::vector<int> widths(rows.at(0).size());
  for (const std::vector<std::string>& row : rows)
    for (size_t i = 0; i < widths.size(); ++i)
      widths[i] = std::max(widths[i], display_width(row.at(i)));
  std::string text;
  for (const std::vector<std::string>& row : rows) {
    std::string line;
    for (size_t i = 0; i < widths.size(); ++i) {
      const std::string gap(static_cast<size_t>(widths[i] - display_width(row[i])), ' ');
      line += "  " + (i == 0 ? row[i] + gap : gap + row[i]);
    }
    text += (&row == &rows[0] ? terminal.dim(line) : line) + "\n";
  }
  return text;
}

std::string Panel::text(const Terminal& terminal) const {
  int names = 0;
  for (const auto& [name, value] : rows_)
    names = std::max(names, display_width(name));
  const int left = names + 4;
  std::string result = terminal.bold(title_) + "\n";
  for (const auto& [name, value] : rows_) {
    const std::vector<std::string> lines = wrapped(value, std::max(terminal.columns - left, 20));
    const auto gap = static_cast<size_t>(left - 2 - display_width(name));
    result += "  " + terminal.dim(name) + std::string(gap, ' ') + lines[0] + "\n";
    for (size_t i = 1; i < lines.size(); ++i)
      result += std::string(static_cast<size_t>(left), ' ') + lines[i] + "\n";
  }
  return result;
}

}  // namespace graft::cli
