// The characters that Unicode 15, 15.1 and 16 added: what PCRE2 and utf8proc of today's
// distributions (Unicode 14 and 15) do not know yet. Rows in order of code points; made by
// tests/golden/make_unicode_additions.py.
#pragma once

#include <span>

namespace graft::text {

/// Code points [first, last], all of one general category.
struct CategoryRange {
  char32_t first = 0;
  char32_t last = 0;
  char category[3] = "";
};

std::span<const CategoryRange> unicode_additions();

}  // namespace graft::text
