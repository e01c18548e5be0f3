"""What Hugging Face's tokenizers library makes of texts: ids, places in the text, and back.

The texts are our own. The tokenizers of the data folder are only named; three small ones that use the
rarer stages of a pipeline are made here and written to tokenizers/.
"""

import json
import random
from pathlib import Path

from recording import start, versions, write_json

arguments = start(__doc__, reads=("data",))

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers  # noqa: E402
from tokenizers import pre_tokenizers, processors, trainers  # noqa: E402

SEED = 20
NAMED = {
    "gpt2": "tokenizers/gpt2",
    "llama3": "tokenizers/llama3",
    "smollm": "tokenizers/smollm",
    "tinyllama": "tokenizers/tinyllama-chat",
    "stories260k": "models/stories260k/hf",
    "tinystories": "models/tinystories-656k/bf16",
}

OWN_TEXTS = [
    "",
    " ",
    "a",
    "The quick brown fox didn't jump; it'll've THOUGHT about 12345.678 lazy dogs!!!",
    "  two leading spaces, a tab\there, and a trailing space ",
    "line one\nline two\r\n\r\n   indented\n\n\n",
    "def f(x: int) -> dict:\n    return {'k': [x ** 2, 0x1F], \"s\": f\"{x!r}\"}\n",
    "Straße, naïve café, e\u0301 and o\u0308, ﬁ, Ⅷ, ½, ①, x²",
    "Grüße aus Köln — „Anführung“ … ‘quote’",
    "Москва́ и Санкт-Петербург; Ελληνικά· ᾅ",
    "漢字かなカナ混じり文。中文，没有空格。한국어 띄어쓰기",
    "हिन्दी में लिखा है, ภาษาไทยไม่มีช่องว่าง, العربيّة, עִבְרִית",
    "👩🏽\u200d🚀🇩🇪🏴\U000E0067\U000E0062\U000E007F 1️⃣ ☃\ufe0f",
    "\u1100\u1161\u11a8 각 \u0f71\u0f72 \u0eba\u0eb8",
    "nul \x00 bell \x07 del \x7f nel \x85 zwsp \u200b bom \ufeff nbsp\u00a0ideographic\u3000ls\u2028",
    "<s>[INST] literal </s> specials <|endoftext|><|im_start|>user\n<|im_end|> <|begin_of_text|>",
    "<s><s> <unk>▁Ġ<0x0A><|end_story|> x<|start_story|>y",
    "\u1c89\U00010d41\U0002ebf0\U00031350 new letters, \U000114d0 and unassigned \u0378\U000e0fff",
    "'S 'ſ 'LL don'T K\u212a İstanbul",
    "\u180e mongolian, \ue000 private, \ufffd replacement, \U0010ffff last",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "                                                                ",
    "=================== 1000000 ... ... ...... ???? -- --- ----",
]
WORDS = (
    "the of graft tensor adapter Once upon a time, there was little Lily. don't we'll 1 23 456 7890 "
    "3.14 1e-5 é ü ñ ß € — … 漢字 かな 한국어 привет שלום 👍 <s> </s> <|im_end|> <|eot_id|> ▁ Ġ _ snake_case "
    "CamelCase http://x.org/?q=1&r=%20 {\"a\":[1,2]} \\n \t \n \n\n \r\n"
).split(" ") + ["  ", "   ", "\u00a0", "\u2028", "\u0301", "\u200d"]


def random_texts(count):
    generate = random.Random(SEED)
    code_points = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    blocks = [0x00A0, 0x0300, 0x0900, 0x0E00, 0x1E00, 0x2000, 0x3000, 0xAC00, 0xFB00, 0x1F300]
    texts = []
    for i in range(count):
        if i % 4 == 0:
            texts.append("".join(chr(generate.choice(code_points)) for _ in range(12)))
        elif i % 4 == 1:
            block = generate.choice(blocks)
            texts.append("".join(chr(block + generate.randrange(256)) for _ in range(12)))
        else:
            glue = generate.choice(["", " "])
            texts.append(glue.join(generate.choice(WORDS) for _ in range(12)))
    return texts


def byte_level_tokenizer():
    """Normal form, a literal split, digits, punctuation, a prefix space; tokens that strip."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"\d{2,}"), "#"),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Punctuation("merged_with_next"),
            pre_tokenizers.Digits(False),
            pre_tokenizers.Split("a", "merged_with_previous"),
            pre_tokenizers.ByteLevel(add_prefix_space=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    ))
    tokenizer.add_tokens(
        [
            AddedToken("graft", lstrip=True, normalized=True),
            AddedToken("tensor", single_word=True, normalized=False, rstrip=True),
            AddedToken("Lily", normalized=True),
        ]
    )
    tokenizer.add_special_tokens(["<|im_end|>"])
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<|im_end|> $A <|im_end|> <|im_end|>",
                pair="$A $B",
                special_tokens=[("<|im_end|>", tokenizer.token_to_id("<|im_end|>"))],
            ),
        ]
    )
    return tokenizer


def fallback_tokenizer(complete):
    """Metaspace; byte fallback, complete or with missing bytes, and an unknown token."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.NFC()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("e", "contiguous"),
            pre_tokenizers.Metaspace(prepend_scheme="first" if complete else "always"),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")]
    )
    train(tokenizer, trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<unk>"], limit_alphabet=60, show_progress=False
    ))
    parts = json.loads(tokenizer.to_str())
    vocabulary = parts["model"]["vocab"]
    for byte in range(256 if complete else 0xC4):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    tokenizer = Tokenizer.from_str(json.dumps(parts))
    tokenizer.add_tokens([AddedToken("graft", lstrip=True, rstrip=True, normalized=True)])
    return tokenizer


def train(tokenizer, trainer):
    generate = random.Random(SEED)
    tokenizer.train_from_iterator(
        [" ".join(generate.choice(WORDS) for _ in range(40)) for _ in range(200)], trainer
    )


def byte_offsets(text, offsets):
    starts = [0]
    for character in text:
        starts.append(starts[-1] + len(character.encode("utf-8", "surrogatepass")))
    return [[starts[begin], starts[end]] for begin, end in offsets]


def record(name, file, tokenizer, texts):
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with_frame = tokenizer.encode("graft").ids
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", pair="$A $B", special_tokens=[]
    )
    encodings = [tokenizer.encode(text) for text in texts]
    decoded = [tokenizer.decode(e.ids, skip_special_tokens=False) for e in encodings]
    return {
        "name": name,
        **file,
        "graft": with_frame,
        "ids": [e.ids for e in encodings],
        "decoded": {str(i): d for i, (d, t) in enumerate(zip(decoded, texts)) if d != t},
        "offsets": [byte_offsets(t, e.offsets) for t, e in zip(texts[:24], encodings)],
    }


def main():
    texts = OWN_TEXTS + random_texts(48)
    made = {
        "byte_level": byte_level_tokenizer(),
        "fallback": fallback_tokenizer(True),
        "unknown": fallback_tokenizer(False),
    }
    records = []
    for name, folder in NAMED.items():
        tokenizer = Tokenizer.from_file(str(arguments.data / folder / "tokenizer.json"))
        records.append(record(name, {"data": folder}, tokenizer, texts))
    for name, tokenizer in made.items():
        path = f"tokenizers/{name}.json"
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(tokenizer.to_str(pretty=False) + "\n", encoding="utf-8")
        records.append(record(name, {"golden": path}, tokenizer, texts))
    write_json(
        "tokenizer.json",
        {"versions": versions("tokenizers"), "seed": SEED, "texts": texts, "tokenizers": records},
    )


main()
