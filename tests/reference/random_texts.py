"""Texts that are hard on tokenizers, made from a seed."""

import random

BLOCKS = [
    0x0020, 0x00A0, 0x0300, 0x0370, 0x0400, 0x0590, 0x0600, 0x0900, 0x0E00, 0x1100, 0x1AB0, 0x1E00,
    0x1F00, 0x2000, 0x2100, 0x2460, 0x3000, 0x3300, 0x4E00, 0xAC00, 0xE000, 0xF900, 0xFB00, 0xFE00,
    0xFF00, 0x1D100, 0x1D400, 0x1F100, 0x1F300, 0x1F900, 0x20000, 0x2F800, 0xE0000, 0x10FF00,
]  # fmt: skip
WORDS = (
    "the of and tensor adapter don't we'll I'M they'RE it'd've Once upon a time, there was LILY "
    "1 23 456 7890 3.14 1e-5 1,000,000 ½ Ⅷ x² é ü ñ ß € — … ‘quote’ „Anführung“ İstanbul ſtraße ﬁne "
    "漢字 かな カタカナ 한국어 привет Ελλάδα שלום مرحبا हिन्दी ไทย snake_case CamelCase HTTPServer "
    "http://x.org/?q=1&r=%20 a@b.c #tag $5 <b> </b> \\n \\u00e9 0x1F -- === ... ?! 'S 'ſ K"
).split()
CODE = [
    "def f(x: int = 0) -> dict:\n    return {'k': [x ** 2, 0x1F], \"s\": f\"{x!r}\"}\n",
    "for (size_t i = 0; i < n; ++i) {\n\tout[i] += a[i] * b[i];  // sum\n}\n",
    "SELECT COUNT(*) FROM t WHERE name LIKE '%x\\'y%' AND n >= 10;\r\n",
    "#include <vector>\n\nstd::vector<std::pair<int, char>> v{{1, 'a'}};\n\n\n",
    '{"a": [1, 2.50, -3e+10, null, true], "\\u00e4": "\\"\\\\"}',
    "<div class=\"a\">\n    <p>&nbsp;&lt;x&gt;</p>\n</div>\n",
    "if [ -f \"$HOME/.rc\" ]; then source ~/.rc 2>/dev/null || exit 1; fi\n",
    "\\begin{align*} \\frac{1}{2} &= \\sum_{i=0}^{n} x_i \\\\ \\end{align*}",
]
EMOJI = [
    "👩🏽\u200d🚀", "👨\u200d👩\u200d👧\u200d👦", "🏳\ufe0f\u200d🌈", "🇩🇪", "🇺🇸🇫", "1\ufe0f\u20e3", "☃\ufe0f", "👍", "👍🏿",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "❤\ufe0f\u200d🔥", "\u200d", "\ufe0f", "🫠", "🤷🏻\u200d♀",
]  # fmt: skip
WHITE = [" ", "  ", "    ", "\t", "\n", "\n\n", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\u00a0", "\u1680",
         "\u2003", "\u2009", "\u2028", "\u2029", "\u202f", "\u3000", "\u180e", "\u200b", "\ufeff"]  # fmt: skip
BROKEN = ["\ufffd", "\ufffd\ufffd", "\ufffe", "\uffff", "\U0010ffff", "\ufdd0", "Ã©", "â‚¬", "\x00", "\x7f",
          "<0x0A>", "<0xE4>", "<0xZZ>", "▁", "▁▁", "Ġ", "Ċ", "Ã", "##", "</w>", "@@"]  # fmt: skip


class RandomTexts:
    """Generates texts; `specials` are tokens whose spelling the tokenizer recognises."""

    def __init__(self, seed, specials=()):
        self.random = random.Random(seed)
        self.specials = list(specials) or ["<s>"]
        self.kinds = [
            self.any_plane, self.one_block, self.marks, self.emoji, self.white, self.control,
            self.broken, self.words, self.words, self.code, self.special, self.repeated, self.digits,
        ]  # fmt: skip

    def texts(self, count):
        return [self.text() for _ in range(count)]

    def text(self):
        if self.random.random() < 0.4:
            return self.random.choice(self.kinds)()
        return "".join(self.random.choice(self.kinds)() for _ in range(self.random.randint(2, 4)))

    def some(self, choose, least=1, most=10):
        return "".join(choose() for _ in range(self.random.randint(least, most)))

    def code_point(self):
        while True:
            code_point = self.random.randrange(0x110000)
            if not 0xD800 <= code_point < 0xE000:
                return chr(code_point)

    def any_plane(self):
        return self.some(self.code_point)

    def one_block(self):
        block = self.random.choice(BLOCKS)
        return self.some(lambda: chr(block + self.random.randrange(256)), 1, 12)

    def marks(self):
        """Letters with marks above each other, and Hangul in parts."""
        choice = self.random.choice
        if self.random.random() < 0.3:
            return self.some(lambda: chr(choice([0x1100, 0x1161, 0x11A8, 0xAC00]) + choice(range(28))))
        mark = lambda: chr(choice([0x300, 0x1AB0, 0x20D0, 0xFE20, 0x64B, 0x5B0, 0x93C]) + choice(range(16)))  # noqa: E731
        return self.some(lambda: choice("aeinoAÅêכبक가 ") + self.some(mark, 0, 4))

    def emoji(self):
        return self.some(lambda: self.random.choice(EMOJI), 1, 4)

    def white(self):
        return self.some(lambda: self.random.choice(WHITE), 1, 6)

    def control(self):
        return self.some(lambda: chr(self.random.choice([*range(0x20), *range(0x7F, 0xA1)])), 1, 5)

    def broken(self):
        return self.some(lambda: self.random.choice(BROKEN), 1, 4)

    def words(self):
        glue = self.random.choice(["", " ", " ", " ", "  ", "\n", ", "])
        return glue.join(self.random.choice(WORDS) for _ in range(self.random.randint(1, 12)))

    def code(self):
        return self.random.choice(CODE)

    def special(self):
        """A special token, whole or with something cut off, alone or with white space around it."""
        token = self.random.choice(self.specials)
        if self.random.random() < 0.3:
            begin = self.random.randint(0, len(token))
            token = token[begin : self.random.randint(begin, len(token))]
        return self.random.choice(["", "", " ", "  ", "\n", "x"]) + token + self.random.choice(["", "", " ", "y"])

    def repeated(self):
        unit = self.random.choice(["a", "ab", " ", "é", "漢", "=", "-", ".", "👍", "\u0301\u0323", "0", "\n", "aA"])
        return unit * self.random.randint(2, self.random.choice([40, 40, 40, 200]))

    def digits(self):
        return self.some(lambda: self.random.choice("0123456789.,-٣७１½²"), 1, 12)
