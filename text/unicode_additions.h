// Where the reference, Hugging Face's tokenizers library, and the Unicode tables of today's
// distributions (PCRE2: Unicode 14, utf8proc: 15) differ. Its character classes are those of
// Unicode 16, its lower case that of Unicode 17, its normal forms those of Unicode 9. Rows in order
// of code points; made by tests/golden/unicode_additions.py.
#pragma once

#include <cstdint>
#include <span>

namespace graft::text {

/// Code points [first, last], all of one general category.
struct CategoryRange {
  char32_t first = 0;
  char32_t last = 0;
  char category[3] = "";
};
/// The characters that Unicode 15, 15.1 and 16 added, and one that moved.
std::span<const CategoryRange> unicode_additions();

/// Code points [first, last].
struct CodePointRange {
  char32_t first = 0;
  char32_t last = 0;
};
/// Characters of Unicode 10 to 14 that normal forms would change or move, but leave alone as the
/// reference does. Those of unicode_additions are left alone too.
std::span<const CodePointRange> unnormalized_characters();

/// Punctuation that came after Unicode 8.
std::span<const CodePointRange> unpunctuated_characters();

/// Upper-case letters [first, last]; their lower case is `offset` further on.
struct LowercaseRange {
  char32_t first = 0;
  char32_t last = 0;
  int32_t offset = 0;
};
/// The letters whose lower case came with Unicode 15 to 17.
std::span<const LowercaseRange> lowercase_additions();

}  // namespace graft::text
