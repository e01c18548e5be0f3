#include "graft/cli/config_file.h"
#include "graft/tests/support/test.h"

using namespace graft;
using namespace graft::cli;
using test::check_contains;

namespace {

const std::vector<std::string> verbs = {"train", "generate"};

std::vector<ConfigEntry> parse(const std::string& text, const std::string& verb = "train") {
  return parse_config(text, "f.toml", verb, verbs);
}

std::string refusal(const std::string& text) {
  return test::message_of<ConfigError>([&] { parse(text); });
}

}  // namespace

TEST_CASE("config file: texts, numbers, words and lists") {
  const auto entries = parse(
      "# first\n"
      "a = 'it is # not a comment'\r\n"
      "b_c=\"x\\\"\\\\\\n\\ty\"  # behind a value\n"
      "d = -1.5e-4\n"
      "e = true\n"
      "f = [\n  1, # one\n  'two',\n]\n"
      "g = []");
  REQUIRE(entries.size() == 6);
  CHECK(entries[0].values == std::vector<std::string>{"it is # not a comment"});
  CHECK(entries[1].key == "b-c");
  CHECK(entries[1].values == std::vector<std::string>{"x\"\\\n\ty"});
  CHECK(entries[2].values == std::vector<std::string>{"-1.5e-4"});
  CHECK(entries[3].values == std::vector<std::string>{"true"});
  CHECK(entries[4].values == std::vector<std::string>{"1", "two"});
  CHECK(entries[4].is_list);
  CHECK(entries[4].line == 6);
  CHECK(entries[5].values.empty());
  CHECK(parse("").empty());
}

TEST_CASE("config file: a section concerns its verb only") {
  const std::string text = "a = 1\n[generate]\nb = 2\n[train] # mine\nc = 3\n";
  const auto train = parse(text), generate = parse(text, "generate");
  REQUIRE(train.size() == 2);
  CHECK(train[1].key == "c");
  REQUIRE(generate.size() == 2);
  CHECK(generate[1].key == "b");
}

TEST_CASE("config file: what is not understood is refused with its line") {
  check_contains(refusal("a = 1\nb\n"), "f.toml:2: expected '=' behind b");
  check_contains(refusal("a = 1 2\n"), "f.toml:1: unexpected '2' behind a value");
  check_contains(refusal("a = \"x\n"), "a text has no closing \"");
  check_contains(refusal("a = 'x\n"), "a text has no closing '");
  check_contains(refusal("a = \"\\q\"\n"), "unknown escape");
  check_contains(refusal("a =\n"), "expected a value");
  check_contains(refusal("a = [1 2]\n"), "expected ',' or ']'");
  check_contains(refusal("a = [1,\n"), "expected a value");
  check_contains(refusal("= 1\n"), "expected a key");
  check_contains(refusal("a = 1\na = 2\n"), "f.toml:2: a is set twice");
  check_contains(refusal("a_b = 1\na-b = 2\n"), "a-b is set twice");
  check_contains(refusal("[trian]\n"), "[trian] is no verb of graft (did you mean 'train'?)");
  check_contains(refusal("[train\n"), "expected ']'");
}
