"""Prints the rows of text/unicode_additions.cpp: what the regular expressions of the `tokenizers`
package (Unicode 16) know about characters and Unicode 14 does not.

Run with Python 3.11 (whose unicodedata is Unicode 14) and tokenizers 0.23.3.
"""

import unicodedata

from tokenizers import Regex, pre_tokenizers

CATEGORIES = (
    "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()
)
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def members(category):
    splitter = pre_tokenizers.Split(Regex(r"\p{%s}" % category), "removed", invert=True)
    found = set()
    for start in range(0, len(CODE_POINTS), 5000):
        text = "".join(map(chr, CODE_POINTS[start : start + 5000]))
        for piece, _ in splitter.pre_tokenize_str(text):
            found.update(map(ord, piece))
    return found


def main():
    assert unicodedata.unidata_version == "14.0.0"
    known = {}
    for category in CATEGORIES:
        for code_point in members(category):
            known[code_point] = category
    rows = []
    for code_point in CODE_POINTS:
        category = known.get(code_point)
        if category is None or category == unicodedata.category(chr(code_point)):
            continue
        if rows and rows[-1][1] == code_point - 1 and rows[-1][2] == category:
            rows[-1][1] = code_point
        else:
            rows.append([code_point, code_point, category])
    for first, last, category in rows:
        print(f'    {{0x{first:x}, 0x{last:x}, "{category}"}},')


if __name__ == "__main__":
    main()
