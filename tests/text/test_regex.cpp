#include "graft/tests/support/test.h"
#include "graft/text/oniguruma.h"
#include "graft/text/regex.h"

namespace graft::text {
namespace {

using test::check_contains;
using test::message_of;

/// The matches as texts, joined by '|'.
std::string matches(const std::string& pattern, std::string_view text) {
  std::string result;
  for (const ByteRange& range : Regex(pattern).find_all(text))
    result += std::string(range.of(text)) + "|";
  return result;
}

/// What a tokenizer's pattern matches.
std::string splits(const std::string& pattern, std::string_view text) {
  return matches(from_oniguruma(pattern), text);
}

std::string refusal(const std::string& pattern) {
  return message_of<ConfigError>([&] { from_oniguruma(pattern); });
}

}  // namespace

TEST_CASE("regex: a full match takes the whole text, by whichever alternative") {
  CHECK(Regex("q_proj|v_proj").full_match("v_proj"));
  CHECK(Regex("a|ab").full_match("ab"));
  CHECK_FALSE(Regex("a|ab").full_match("abc"));
  CHECK_FALSE(Regex("proj").full_match("q_proj"));
  CHECK(Regex(R"(model\.layers\.\d+\.self_attn\.(q|v)_proj)")
            .full_match("model.layers.11.self_attn.v_proj"));
  CHECK(Regex("").full_match(""));
}

TEST_CASE("regex: search reports where the match and its groups are") {
  const Regex regex(R"((\d+)(x)?-(\w+))");
  const auto match = regex.search("ä 12-ab 3x-c", 0);
  REQUIRE(match);
  CHECK(match->range == ByteRange{3, 8});
  REQUIRE(match->groups.size() == 3);
  CHECK(match->groups[0] == ByteRange{3, 5});
  CHECK_FALSE(match->groups[1]);
  CHECK(match->groups[2] == ByteRange{6, 8});
  CHECK(regex.search("ä 12-ab 3x-c", 8)->groups[1] == ByteRange{10, 11});
  CHECK_FALSE(regex.search("ä 12-ab 3x-c", 10));
  CHECK_FALSE(Regex("a(b)?").search("a")->groups[0]);
  CHECK(Regex("(?<=a)b").search("ab", 1)->range == ByteRange{1, 2});
}

TEST_CASE("regex: find_all gives every match, empty ones not right behind another") {
  CHECK(matches("a+", "aabaaa") == "aa|aaa|");
  const auto ranges = Regex("(?=[A-Z])").find_all("aBcD");
  REQUIRE(ranges.size() == 2);
  CHECK(ranges[0] == ByteRange{1, 1});
  CHECK(ranges[1] == ByteRange{3, 3});
  const auto stars = Regex("x*").find_all("xöx");
  REQUIRE(stars.size() == 2);
  CHECK(stars[1] == ByteRange{3, 4});
}

TEST_CASE("regex: a wrong pattern is named with the place and the reason") {
  const std::string message = message_of<ConfigError>([] { Regex("q_proj(|v"); });
  check_contains(message, "'q_proj(|v'");
  check_contains(message, "at byte 9");
  check_contains(message, "missing closing parenthesis");
  check_contains(message_of<ConfigError>([] { Regex("(*LIMIT_MATCH=1)a"); }), "nothing to repeat");
  CHECK_THROWS_AS(Regex("a\\Cb"), ConfigError);
}

TEST_CASE("regex: a hostile pattern ends in an error") {
  const std::string text = std::string(40, 'a') + "b";
  for (const char* pattern : {"(a+)+$", "(a|a)*$", "(?:a|aa)+$"}) {
    const std::string message =
        message_of<ConfigError>([&] { Regex(pattern).full_match(std::string(60, 'a') + "!"); });
    check_contains(message, "too many steps");
    CHECK_THROWS_AS(Regex(std::string("(?<=x)?") + pattern).search(text + text + text),
                    ConfigError);
  }
}

TEST_CASE("regex: text that is not UTF-8 is refused, not searched") {
  CHECK_THROWS_AS(Regex(".").search("a\xff"), ConfigError);
  CHECK_THROWS_AS(Regex("a").find_all("a\xe2\x82"), ConfigError);
  CHECK_THROWS_AS(Regex("a").full_match("\xc0\x80"), ConfigError);
}

TEST_CASE("regex: a word of a megabyte is one match") {
  const std::string gpt2 = from_oniguruma(
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)");
  const std::string llama3 = from_oniguruma(
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
      R"(|\s*[\r\n]+|\s+(?!\S)|\s+)");
  for (const std::string& pattern : {gpt2, llama3}) {
    const Regex regex(pattern);
    for (const char* unit : {"a", "ж", "漢", " ", "!", "\U0001F600", "\n"}) {
      std::string text;
      while (text.size() < (1u << 20))
        text += unit;
      CHECK(regex.find_all(text).size() == 1);
      // The last space belongs to the word behind it.
      if (std::string(unit) == " ")
        CHECK(regex.find_all(text + "a").size() == 2);
    }
  }
}

TEST_CASE("full_matcher: means what Python's re.fullmatch means") {
  const auto matches_name = full_matcher();
  CHECK(matches_name(".*\\.(q|v)_proj", "model.layers.0.self_attn.q_proj"));
  CHECK_FALSE(matches_name(".*\\.(q|v)_proj", "model.layers.0.self_attn.q_proj_2"));
  CHECK_FALSE(matches_name("q_proj", "self_attn.q_proj"));
  CHECK(matches_name("(?P<a>x)(?P=a)", "xx"));
  CHECK(matches_name("a|ab", "ab"));
  CHECK_THROWS_AS(matches_name("*", "x"), ConfigError);
}

// Expectations of the next two tests: the `tokenizers` package (Oniguruma) on the same input.

TEST_CASE("from_oniguruma: spellings that PCRE2 reads differently keep their meaning") {
  CHECK(splits(R"(\p{N}{1,3}+)", "1234567 89") == "1234567|89|");
  CHECK(splits("x(?:ab|ö){2}?", "xababx") == "xabab|x|");
  CHECK(splits("ö{1,2}+x", "öööx") == "öööx|");
  CHECK(splits("a{,2}b", "aaab") == "aab|");
  CHECK(splits("^b", "a\nb\n") == "b|");
  CHECK(splits("a$", "a\na") == "a|a|");
  CHECK(splits("(?m:.+)", "a\na") == "a\na|");
  CHECK(splits(R"(\h+)", "abxyz09") == "ab|09|");
  CHECK(splits(R"(\v)",
               "a\x0b"
               "b\nc") == "\x0b|");
  CHECK(splits(R"(\u0041|\x{42}|\x43)", "xABC") == "A|B|C|");
  CHECK(splits(R"([]a]+)", "aB]12") == "a|]|");
  CHECK(splits(R"(\p{^L}+)", "aB12cDE") == "12|");
  CHECK(splits("(?i:'s|'t)", "x'\u017F y'S") == "'\u017F|'S|");
  CHECK(splits("(?i)k", "aK \u212A") == "K|\u212A|");
  CHECK(splits(R"(\{\}{)", "{}{") == "{}{|");
}

TEST_CASE("from_oniguruma: classes follow Unicode 16") {
  CHECK(splits(R"(\s+)", "a\u0085\u00A0\u1680\u3000b\u180E") == "\u0085\u00A0\u1680\u3000|");
  CHECK(splits(R"([^\s]+)", "\u180E a") == "\u180E|a|");
  CHECK(splits(R"(\p{L}+)", "a\U00031350\U0002EBF0\u1C89!") == "a\U00031350\U0002EBF0\u1C89|");
  CHECK(splits(R"([^\p{L}\p{N}]+)", "\u1C89\U00010D40!") == "!|");
  CHECK(splits(R"(\w+)", "a²_\u24B6\u0301\u2160-") == "a²_\u24B6\u0301\u2160|");
  CHECK(splits(R"(\p{Han}+)", "a漢\U0002EBF0\u3042") == "漢\U0002EBF0|");
}

TEST_CASE("from_oniguruma: what it cannot say is refused by name and place") {
  check_contains(refusal(R"(a\bc)"), R"('a\bc' at byte 1: \b is not supported)");
  check_contains(refusal(R"([\p{L}&&[^a]])"), "&& in a class");
  check_contains(refusal("[a[bc]]"), "a class inside a class");
  check_contains(refusal(R"([\S])"), "a negated class inside a class");
  check_contains(refusal(R"(\p{Greek})"), "the property Greek");
  check_contains(refusal(R"(\pL)"), "a property without braces");
  check_contains(refusal("a(?i)b"), "(?i)");
  check_contains(refusal("(?x: a)"), "(?x:");
  check_contains(refusal(R"(\xE2)"), "a byte that is no character");
  check_contains(refusal("a\\"), "a backslash at the end");
  check_contains(refusal("[a"), "a class without end");
  check_contains(refusal("a)"), "a ) without (");
}

}  // namespace graft::text
