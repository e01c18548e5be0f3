// Where the command writes to, and how numbers are written for people.
//
// Results go to stdout; panels, progress and errors to stderr. Colour is used only on a terminal,
// and not where NO_COLOR is set.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft::cli {

/// What is known of stdout or stderr.
struct Terminal {
  bool interactive = false;  ///< a person watches: lines may be rewritten in place
  bool colour = false;
  int columns = 80;

  /// `text` in bold, dim, green, yellow or red, where this terminal shows colour.
  std::string bold(std::string_view text) const { return styled("1", text); }
  std::string dim(std::string_view text) const { return styled("2", text); }
  std::string green(std::string_view text) const { return styled("32", text); }
  std::string yellow(std::string_view text) const { return styled("33", text); }
  std::string red(std::string_view text) const { return styled("31", text); }

 private:
  std::string styled(std::string_view code, std::string_view text) const;
};

/// The terminal behind a file descriptor (1 stdout, 2 stderr).
Terminal terminal_of(int descriptor);

/// Writes "graft: warning: " and the message to stderr.
void warn(std::string_view message);

/// "1,234,567".
std::string grouped(int64_t value);
/// "1 sample", "3,000 samples".
std::string counted(int64_t count, std::string_view noun);
/// Three or four digits and a unit: "812", "4.88 M", "134.5 M".
std::string short_count(int64_t value);
/// "812 B", "3.1 MiB", "1.34 GiB".
std::string byte_text(int64_t nbytes);
/// "0.4 s", "52 s", "14:20", "3:07:55".
std::string duration_text(double seconds);
/// A number with so many digits that matter, as %g writes it.
std::string number_text(double value, int digits = 4);
/// "1.7e-05".
std::string scientific_text(double value);
/// With a fixed number of digits after the point; "nan" and "inf" stay what they are.
std::string fixed_text(double value, int decimals);
/// "3.50%"; 0 of 0 is 0%.
std::string percent_text(int64_t part, int64_t whole);

/// Columns a text takes on a terminal: characters, not bytes; colour codes take none.
int display_width(std::string_view text);
/// Breaks a text at spaces so that no line exceeds `width` columns. Never empty.
std::vector<std::string> wrapped(std::string_view text, int width);
/// The text without the control characters that a terminal would obey (from files and models).
std::string shown(std::string_view text);
/// The text as one word of a shell command: in single quotes where it has spaces or other
/// characters that a shell takes for more than letters.
std::string shell_word(std::string_view text);

/// Rows of as many cells as the first, which is the heading: the first column on the left, the
/// others on the right. Lines end in newlines and are indented by two.
std::string table(const std::vector<std::vector<std::string>>& rows, const Terminal& terminal);

/// A titled list of names and values, values wrapped under each other.
class Panel {
 public:
  explicit Panel(std::string title) : title_(std::move(title)) {}
  void row(std::string name, std::string value) {
    rows_.emplace_back(std::move(name), std::move(value));
  }
  /// The lines, each ended by a newline.
  std::string text(const Terminal& terminal) const;

 private:
  std::string title_;
  std::vector<std::pair<std::string, std::string>> rows_;
};

}  // namespace graft::cli
