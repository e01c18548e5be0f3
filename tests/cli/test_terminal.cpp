#include "graft/cli/terminal.h"
#include "graft/tests/support/test.h"

using namespace graft::cli;

TEST_CASE("terminal: counts, bytes, times and shares as people write them") {
  CHECK(grouped(0) == "0");
  CHECK(grouped(999) == "999");
  CHECK(grouped(-1234567) == "-1,234,567");
  CHECK(counted(1, "sample") == "1 sample");
  CHECK(counted(3000, "sample") == "3,000 samples");
  CHECK(short_count(812) == "812");
  CHECK(short_count(9999) == "10.0 k");
  CHECK(short_count(134515008) == "135 M");
  CHECK(short_count(4884480) == "4.88 M");
  CHECK(byte_text(812) == "812 B");
  CHECK(byte_text(1439121408) == "1.34 GiB");
  CHECK(duration_text(0.42) == "0.4 s");
  CHECK(duration_text(51.7) == "52 s");
  CHECK(duration_text(59.6) == "1:00");
  CHECK(duration_text(860) == "14:20");
  CHECK(duration_text(11275) == "3:07:55");
  CHECK(duration_text(-1) == "-");
  CHECK(scientific_text(1.7e-5) == "1.7e-05");
  CHECK(fixed_text(1.0 / 0.0, 4) == "inf");
  CHECK(percent_text(35, 1000) == "3.50%");
  CHECK(percent_text(0, 0) == "0.00%");
  CHECK(percent_text(1, 1) == "100.0%");
}

TEST_CASE("terminal: texts break at spaces and between no letters") {
  CHECK(wrapped("", 10) == std::vector<std::string>{""});
  CHECK(wrapped("a bb ccc", 4) == std::vector<std::string>{"a bb", "ccc"});
  CHECK(wrapped("longer than that", 4) == std::vector<std::string>{"longer", "than", "that"});
  CHECK(wrapped("größe ab", 8) == std::vector<std::string>{"größe ab"});  // 8 columns, 10 bytes
  CHECK(wrapped("a\nb", 9) == std::vector<std::string>{"a", "b"});
}

TEST_CASE("terminal: colour codes take no columns, and there are none without colour") {
  Terminal terminal;
  CHECK(terminal.red("x") == "x");
  terminal.colour = true;
  CHECK(terminal.red("x") == "\x1b[31mx\x1b[0m");
  CHECK(display_width(terminal.red("größe")) == 5);
}

TEST_CASE("terminal: control characters out of files are not shown") {
  CHECK(shown("a\x1b[31mb\x7f\r\n\tc") == "a[31mb\n\tc");
  CHECK(shown("a\xc2\x9b"
              "b\xc3\xa4") == "ab\xc3\xa4");
}

TEST_CASE("terminal: what is shown of a path can be typed again") {
  CHECK(shell_word("runs/größe-1_a.gguf") == "runs/größe-1_a.gguf");
  CHECK(shell_word("my run") == "'my run'");
  CHECK(shell_word("it's") == "'it'\\''s'");
  CHECK(shell_word("~/a") == "'~/a'");
  CHECK(shell_word("$HOME;ls") == "'$HOME;ls'");
  CHECK(shell_word("") == "''");
}

TEST_CASE("terminal: a panel lines its values up") {
  Panel panel("title");
  panel.row("a", "one two three four five");
  panel.row("long name", "x");
  Terminal terminal;
  terminal.columns = 33;
  CHECK(panel.text(terminal) ==
        "title\n"
        "  a          one two three four\n"
        "             five\n"
        "  long name  x\n");
}

TEST_CASE("terminal: a table's numbers stand on the right") {
  CHECK(table({{"name", "count"}, {"a", "1,000"}, {"größe", "7"}}, Terminal()) ==
        "  name   count\n"
        "  a      1,000\n"
        "  größe      7\n");
}
