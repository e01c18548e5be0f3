#include "graft/cli/answer.h"
#include "graft/tests/support/test.h"

using graft::cli::StopFinder;

namespace {

/// What the finder lets through of a text that comes in pieces.
std::string passed(std::vector<std::string> stops, const std::vector<std::string>& pieces) {
  StopFinder finder(std::move(stops));
  std::string text;
  for (const std::string& piece : pieces)
    text += finder.push(piece);
  return text + finder.finish();
}

}  // namespace

TEST_CASE("stop strings: the text ends before the first of them, however it is cut") {
  CHECK(passed({"END"}, {"one EN", "D two"}) == "one ");
  CHECK(passed({"END"}, {"one E", "N", "D"}) == "one ");
  CHECK(passed({"b", "ab"}, {"xab"}) == "x");
  CHECK(passed({"END", "one"}, {"one END"}) == "");
  CHECK(passed({}, {"one ", "END"}) == "one END");
  CHECK(passed({""}, {"text"}) == "text");
}

TEST_CASE("stop strings: what only looked like the start of one is let through") {
  CHECK(passed({"END"}, {"one EN", "TER"}) == "one ENTER");
  CHECK(passed({"END"}, {"one EN"}) == "one EN");
  CHECK(passed({"aab"}, {"a", "a", "a", "b", "c"}) == "a");
  CHECK(passed({"aab"}, {"aa", "aa"}) == "aaaa");
}

TEST_CASE("stop strings: nothing that may belong to one is shown early") {
  StopFinder finder({"\n\n"});
  CHECK(finder.push("a\n") == "a");
  CHECK(!finder.found());
  CHECK(finder.push("b") == "\nb");
  CHECK(finder.push("\n\nc") == "");
  CHECK(finder.found());
  CHECK(finder.push("d") == "");
}
