"""Prints the rows of text/unicode_additions.cpp: what the `tokenizers` package knows about characters
and Unicode 14 does not, and the other way around.

Run with Python 3.11 (whose unicodedata is Unicode 14) and tokenizers 0.23.3.
"""

import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

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


def print_ranges(title, rows):
    """rows: (code point, what to print behind the range), ascending."""
    print(f"// {title}")
    ranges = []
    for code_point, tail in rows:
        if ranges and ranges[-1][1] == code_point - 1 and ranges[-1][2] == tail:
            ranges[-1][1] = code_point
        else:
            ranges.append([code_point, code_point, tail])
    for first, last, tail in ranges:
        print(f"    {{0x{first:x}, 0x{last:x}{tail}}},")


def main():
    assert unicodedata.unidata_version == "14.0.0"
    known = {}
    for category in CATEGORIES:
        for code_point in members(category):
            known[code_point] = category
    print_ranges(
        "additions",
        [
            (code_point, f', "{known[code_point]}"')
            for code_point in CODE_POINTS
            if code_point in known and known[code_point] != unicodedata.category(chr(code_point))
        ],
    )

    strip, nfkd = normalizers.StripAccents(), normalizers.NFKD()
    print_ranges(
        "unnormalized",
        [
            (c, "")
            for c in CODE_POINTS
            if unicodedata.category(chr(c)) != "Cn"
            and (
                (known.get(c, "Cn")[0] == "M" and strip.normalize_str("a" + chr(c)) != "a")
                or nfkd.normalize_str(chr(c)) != unicodedata.normalize("NFKD", chr(c))
            )
        ],
    )

    splitter = pre_tokenizers.Punctuation("isolated")
    print_ranges(
        "unpunctuated",
        [
            (c, "")
            for c in CODE_POINTS
            if known.get(c, "Cn")[0] == "P" and len(splitter.pre_tokenize_str(f"a{chr(c)}a")) == 1
        ],
    )

    lower = normalizers.Lowercase()
    rows = []
    for code_point in CODE_POINTS:
        text = lower.normalize_str(chr(code_point))
        if text != chr(code_point).lower():
            rows.append((code_point, f", {ord(text) - code_point}"))
    print_ranges("lowercase", rows)


if __name__ == "__main__":
    main()
