#include "graft/tests/support/test.h"
#include "graft/text/unicode.h"

namespace graft::text {

TEST_CASE("utf8: the first invalid byte is found") {
  CHECK(first_invalid_byte("") == 0);
  CHECK(first_invalid_byte("aä漢\U0001F600") == 10);
  CHECK(first_invalid_byte("a\x80") == 1);
  CHECK(first_invalid_byte("\xc0\x80") == 0);          // overlong
  CHECK(first_invalid_byte("ab\xed\xa0\x80") == 2);    // surrogate
  CHECK(first_invalid_byte("\xf4\x90\x80\x80") == 0);  // beyond U+10FFFF
  CHECK(first_invalid_byte("x\xe2\x82") == 1);         // cut short
  CHECK(first_invalid_byte("\xf0\x8f\xbf\xbf") == 0);  // overlong
  CHECK(first_invalid_byte(std::string_view("a\0b", 3)) == 3);
}

TEST_CASE("utf8: each longest broken run becomes one U+FFFD") {
  // Expectations: Python's bytes.decode("utf-8", "replace"), which follows the same rule.
  CHECK(replace_invalid_bytes("a\xe2\x82z") == "a\uFFFDz");
  CHECK(replace_invalid_bytes("\xf0\x9f\x98") == "\uFFFD");
  CHECK(replace_invalid_bytes("\xff\xfe") == "\uFFFD\uFFFD");
  CHECK(replace_invalid_bytes("\xed\xa0\x80") == "\uFFFD\uFFFD\uFFFD");
  CHECK(replace_invalid_bytes("\xe2\x82\xe2\x82\xac") == "\uFFFD€");
}

TEST_CASE("utf8: every code point survives the way out and back") {
  for (char32_t code_point = 0; code_point < 0x110000; ++code_point) {
    if (code_point >= 0xd800 && code_point < 0xe000)
      continue;
    const std::string text = to_utf8(code_point);
    if (first_invalid_byte(text) != text.size() || code_point_at(text, 0).value != code_point ||
        code_point_at(text, 0).size != text.size() ||
        last_code_point("x" + text).value != code_point)
      FAIL("code point ", static_cast<uint32_t>(code_point));
  }
}

TEST_CASE("classes: those of Unicode 16, whatever the libraries know") {
  CHECK(category(U'A') == "Lu");
  CHECK(category(0x1c89) == "Lu");   // Unicode 16
  CHECK(category(0x2ee5d) == "Lo");  // Unicode 15.1
  CHECK(category(0x1fae9) == "So");  // Unicode 16
  CHECK(category(0x1171e) == "Mc");  // Mn until Unicode 15
  CHECK(category(0x323b0) == "Cn");
  CHECK(is_numeric(U'½'));
  CHECK(is_numeric(0x10d40));
  CHECK_FALSE(is_numeric(U'a'));
  CHECK(is_punctuation(U'$'));
  CHECK(is_punctuation(U'—'));
  CHECK_FALSE(is_punctuation(U'€'));
  CHECK(is_whitespace(0x85));
  CHECK(is_whitespace(0x3000));
  CHECK_FALSE(is_whitespace(0x180e));
  CHECK_FALSE(is_whitespace(0x200b));
  CHECK(is_word_character(U'_'));
  CHECK(is_word_character(0x24b6));
  CHECK_FALSE(is_word_character(U'-'));
}

TEST_CASE("lower case: character by character, İ becomes two") {
  std::string text;
  for (const char32_t code_point : {U'A', U'Ä', U'İ', U'Σ', U'ß', U'a'})
    append_lowercase(text, code_point);
  CHECK(text == "aäi\u0307σßa");
}

TEST_CASE("normal forms: composed, decomposed, compatible") {
  CHECK(normalized("e\u0301", NormalForm::nfc) == "é");
  CHECK(normalized("é", NormalForm::nfd) == "e\u0301");
  CHECK(normalized("ﬁ①", NormalForm::nfkc) == "fi1");
  CHECK(normalized("ﬁ①", NormalForm::nfc) == "ﬁ①");
  CHECK(normalized("\u1100\u1161\u11a8", NormalForm::nfc) == "각");
  CHECK(normalized(std::string_view("a\0e\u0301", 5), NormalForm::nfc) ==
        std::string_view("a\0é", 4));
}

TEST_CASE("normal forms: a chunk may be normalised apart") {
  // Every character behind each of these either starts a chunk or is normalised with what is
  // before.
  const auto check = [](const std::string& before, char32_t code_point, NormalForm form) {
    const std::string after = to_utf8(code_point);
    if (normalized(before + after, form) != normalized(before, form) + normalized(after, form))
      FAIL(before, " and code point ", static_cast<uint32_t>(code_point));
  };
  for (const std::string before :
       {"e", "ᄀ", "ㄱ", "가", "\u0bc6", "\u09c7", "\u1025", "漢", "か", "ｶ"})
    for (char32_t code_point = 0; code_point < 0x30000; ++code_point) {
      if ((code_point >= 0xd800 && code_point < 0xe000) || !starts_normalization_chunk(code_point))
        continue;
      check(before, code_point, NormalForm::nfc);
      check(before, code_point, NormalForm::nfkc);
    }
}

}  // namespace graft::text
