"""What single stages of Hugging Face's tokenizers library make of texts: normalisers, pre-tokenisers,
decoders, and BPE models with affixes, unknown characters and byte fallback."""

import io
import itertools
import json
from pathlib import Path

from recording import start, versions, write_json

arguments = start(__doc__)

import sentencepiece  # noqa: E402
from sentencepiece import sentencepiece_model_pb2  # noqa: E402
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers  # noqa: E402

TEXTS = [
    " Don't PANIC:  1,000 cafés,\tİstanbul\u00a0ﬁne — e\u0301e x² ",
    "漢字▁カナ ｶﾞﾷￎ 각\u1161 👩🏽\u200d🚀 \u200b\x07\x85\r\n\ufffd\ufeff",
    "a",
]
BEHAVIORS = ["removed", "isolated", "contiguous", "merged_with_previous", "merged_with_next"]
SCHEMES = ["always", "first", "never"]
TOKENS = ["▁the", "the", "▁", "e", "Ġa", "Ã©", "<0xC3>", "<0xA9>", "<0xff>", "w</w>", "é", "x</w>"]
# Rules of normalisation as SentencePiece takes them: characters, and what they become.
RULES = [("A", "a"), ("é", "e"), ("ﬁ", "fi"), ("²", "2"), ("\u200b", ""), ("E \u0301", "É")]


def charsmap():
    """SentencePiece's compiled table for RULES."""
    spelled = ["\t".join(" ".join(f"{ord(c):X}" for c in side.replace(" ", "")) for side in r) for r in RULES]
    Path("rules.tsv").write_text("\n".join(spelled) + "\n", encoding="utf-8")
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c"] * 9), model_writer=written, vocab_size=12, model_type="bpe",
        hard_vocab_limit=False, normalization_rule_tsv="rules.tsv", minloglevel=2,
    )  # fmt: skip
    Path("rules.tsv").unlink()
    model = sentencepiece_model_pb2.ModelProto.FromString(written.getvalue())
    return model.normalizer_spec.precompiled_charsmap


def all_normalizers():
    n = normalizers
    return [
        n.NFC(), n.NFD(), n.NFKC(), n.NFKD(), n.Lowercase(), n.Nmt(), n.ByteLevel(), n.Prepend("▁"),
        n.Strip(left=True, right=False), n.Strip(left=False, right=True), n.Replace("", "-"),
        n.Replace(Regex(r"\d+|(?<=e)s"), "<n>"), n.Replace(" ", "▁"), n.Precompiled(charsmap()),
        n.Sequence([n.NFD(), n.StripAccents(), n.NFC()]),
    ]  # fmt: skip


def all_pre_tokenizers():
    p = pre_tokenizers
    splits = itertools.product([Regex(r"\p{L}+|\p{N}"), ""], BEHAVIORS, [False, True])
    return [
        p.Whitespace(), p.WhitespaceSplit(), p.BertPreTokenizer(), p.CharDelimiterSplit("a"),
        p.Digits(True), p.Digits(False), p.FixedLength(3), p.Split("e", "isolated"),
        *(p.ByteLevel(add_prefix_space=a, use_regex=b) for a in (False, True) for b in (False, True)),
        *(p.Metaspace(prepend_scheme=a, split=b) for a in SCHEMES for b in (False, True)),
        *(p.Punctuation(behavior) for behavior in BEHAVIORS),
        *(p.Split(pattern, behavior, invert) for pattern, behavior, invert in splits if pattern or not invert),
        p.Sequence([p.WhitespaceSplit(), p.Punctuation(), p.ByteLevel(True, use_regex=False)]),
    ]  # fmt: skip


def all_decoders():
    d = decoders
    return [
        d.ByteLevel(), d.Fuse(), d.ByteFallback(), d.Strip("e", 1, 0), d.Strip("e", 0, 1), d.BPEDecoder(),
        d.Replace("▁", " "), d.Replace(Regex("[ae]+"), "*"),
        *(d.Metaspace(prepend_scheme=scheme) for scheme in SCHEMES),
        d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)]),
    ]  # fmt: skip


def small_model(prefix="", suffix="", **options):
    """A model of the letters a, b, c and a few merges, each spelled with its affixes."""
    continued = [prefix + letter for letter in "abc"]
    ended = [letter + suffix for letter in [*"abc", *continued]] if suffix else []
    merges = [("a", continued[1]), (continued[1], continued[2]), ("ab", continued[2] + suffix)]
    tokens = ["<unk>", *"abc", *continued, *ended]
    tokens += [left + right.removeprefix(prefix) for left, right in merges]
    tokens += [f"<0x{byte:02X}>" for byte in (0x64, 0x23, 0xC3, 0xA9)]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    affixes = {"continuing_subword_prefix": prefix, "end_of_word_suffix": suffix}
    affixes = {name: affix for name, affix in affixes.items() if affix}
    return Tokenizer(models.BPE(vocabulary, merges, **affixes, **options))


def all_models():
    unknown = {"unk_token": "<unk>"}
    return [
        small_model(), small_model(**unknown), small_model(**unknown, fuse_unk=True),
        small_model(byte_fallback=True, **unknown), small_model(ignore_merges=True, **unknown),
        small_model("##", **unknown), small_model("", "</w>", **unknown),
        small_model("##", "</w>", **unknown), small_model("##", byte_fallback=True, **unknown),
    ]  # fmt: skip


FIRST_WORDS = ["a b", " a b", "  a", "xa b", "xxa", "éa", "\u0301a", "A a", "a<s>a", " <s> a", "x<s>xa", ""]


def first_words():
    """Tokenizers whose Metaspace marks the first word alone, behind what changes the beginning of a text."""
    n, p = normalizers, pre_tokenizers
    strip, remove = n.Strip(), n.Replace("x", "")
    marks = p.Metaspace(prepend_scheme="first")
    stages = [
        (None, marks), (strip, marks), (remove, marks), (n.Lowercase(), marks), (n.Prepend("c"), marks),
        (n.Sequence([n.NFD(), n.StripAccents()]), marks), (n.Replace("a", "ab"), marks),
        (n.Sequence([strip, n.Prepend("c")]), marks), (n.Sequence([n.Prepend("c"), n.Replace("c", "")]), marks),
        (None, p.Sequence([p.WhitespaceSplit(), marks])), (remove, p.Sequence([p.Split("b", "isolated"), marks])),
    ]  # fmt: skip
    for normalizer, pre_tokenizer in stages:
        vocabulary = {token: i for i, token in enumerate(["<unk>", *"abc▁", "<s>"])}
        tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
        if normalizer is not None:
            tokenizer.normalizer = normalizer
        tokenizer.pre_tokenizer = pre_tokenizer
        tokenizer.add_tokens([AddedToken("<s>", normalized=False)])
        yield json.loads(tokenizer.to_str()), [tokenizer.encode(text).ids for text in FIRST_WORDS]

def stage(component):
    return json.loads(component.__getstate__())


def main():
    words = ["abc", "cab", "abcabc", "bc", "ab", "b", "axxbéc", "addc"]
    write_json(
        "tokenizer_parts.json",
        {
            "versions": versions("tokenizers", "sentencepiece"),
            "texts": TEXTS,
            "normalizers": [
                {"stage": stage(n), "results": [n.normalize_str(text) for text in TEXTS]}
                for n in all_normalizers()
            ],
            "pre_tokenizers": [
                {"stage": stage(p), "pieces": [[s for s, _ in p.pre_tokenize_str(t)] for t in TEXTS]}
                for p in all_pre_tokenizers()
            ],
            "tokens": TOKENS,
            "decoders": [{"stage": stage(d), "result": d.decode(TOKENS)} for d in all_decoders()],
            "words": words,
            "models": [
                {"model": json.loads(m.to_str())["model"], "ids": [m.encode(word).ids for word in words]}
                for m in all_models()
            ],
            "first_words": FIRST_WORDS,
            "first_word_tokenizers": [
                {"normalizer": tokenizer["normalizer"], "pre_tokenizer": tokenizer["pre_tokenizer"], "ids": ids}
                for tokenizer, ids in first_words()
            ],
        },
    )


main()
