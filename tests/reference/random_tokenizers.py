"""Small BPE tokenizers of every component that the `tokenizers` package has for them."""

import io
import itertools
import random

import sentencepiece
from random_texts import CODE, WORDS
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, trainers

BEHAVIORS = ["removed", "isolated", "contiguous", "merged_with_previous", "merged_with_next"]
PATTERNS = ["a", "", " ", "the", Regex(r"\s+"), Regex("(?=[A-Z])"), Regex(r"\p{N}{1,3}|\p{L}+| ?[^\s\p{L}\p{N}]+")]
# How published models split.
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# And those of GPT-4, Qwen3.5, DeepSeek, BLOOM and Falcon.
PUBLISHED = [
    GPT4O, LLAMA3, QWEN2, TEKKEN,
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
    "[一-龥ࠀ-一가-퟿]+", r"\s?\p{P}+", r"\s+$", r" ?[^(\s|.,!?…。，、।۔،)]+", "[0-9][0-9][0-9]",
]  # fmt: skip
SCHEMES = ["always", "first", "never"]


def corpus(seed):
    choose = random.Random(seed)
    texts = [" ".join(choose.choice(WORDS) for _ in range(40)) for _ in range(100)]
    return texts + CODE * 3


def sentencepiece_model(gemma=False, **options):
    """The bytes of a tokenizer.model."""
    written = io.BytesIO()
    names = {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "pad_piece": "<pad>", "eos_piece": "<eos>",
             "bos_piece": "<bos>", "control_symbols": ["<mask>"]}  # fmt: skip
    sentencepiece.SentencePieceTrainer.train(
        **{
            "sentence_iterator": iter(corpus(0)), "model_writer": written, "vocab_size": 900,
            "model_type": "bpe", "byte_fallback": True, "minloglevel": 2, "split_digits": True,
            "normalization_rule_name": "identity", **(names if gemma else {}), **options,
        }  # fmt: skip
    )
    return written.getvalue()


def charsmap(rule):
    """SentencePiece's compiled table for one of its rules of normalisation."""
    model = sentencepiece_model_pb2.ModelProto.FromString(
        sentencepiece_model(normalization_rule_name=rule)
    )
    return model.normalizer_spec.precompiled_charsmap


def all_normalizers():
    n = normalizers
    return [
        None, n.NFC(), n.NFD(), n.NFKC(), n.NFKD(), n.Lowercase(), n.Nmt(), n.ByteLevel(),
        n.Strip(left=True, right=False), n.Strip(left=False, right=True), n.Strip(), n.Prepend("▁"),
        n.Sequence([n.NFD(), n.StripAccents()]), n.StripAccents(), n.Replace(" ", "▁"),
        n.Replace("", "-"), n.Replace(Regex(r"\d+|(?<=e)l"), "<n>"), n.Replace(Regex(" {2,}"), " "),
        n.Precompiled(charsmap("nmt_nfkc")), n.Precompiled(charsmap("nmt_nfkc_cf")),
        n.Sequence([n.Nmt(), n.NFKC(), n.Replace(Regex("  +"), " "), n.Lowercase()]),
    ]  # fmt: skip


def all_pre_tokenizers():
    p = pre_tokenizers
    splits = itertools.product(PATTERNS, BEHAVIORS, [False, True])
    return [
        None, p.Whitespace(), p.WhitespaceSplit(), p.BertPreTokenizer(), p.CharDelimiterSplit("e"),
        p.Digits(True), p.Digits(False), p.FixedLength(1), p.FixedLength(7),
        *(p.ByteLevel(add_prefix_space=a, use_regex=b) for a in (False, True) for b in (False, True)),
        *(p.Metaspace(prepend_scheme=a, split=b) for a in SCHEMES for b in (False, True)),
        p.Metaspace("_"), *(p.Punctuation(b) for b in BEHAVIORS),
        *(p.Split(pattern, behavior, invert) for pattern, behavior, invert in splits),
        p.Sequence([p.WhitespaceSplit(), p.Punctuation(), p.ByteLevel(True, use_regex=False)]),
        p.Sequence([p.Digits(True), p.Split(" ", "merged_with_next"), p.Metaspace()]),
    ]  # fmt: skip


def all_decoders():
    d = decoders
    return [
        None, d.ByteLevel(), d.Fuse(), d.ByteFallback(), d.Strip("e", 3, 0), d.Strip("e", 0, 1), d.Replace("▁", " "),
        d.Replace(Regex("[ae]+"), "*"), d.BPEDecoder(),
        *(d.Metaspace(prepend_scheme=scheme) for scheme in SCHEMES),
        d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)]),
    ]  # fmt: skip


def model_options(choose):
    """Options of the model, and which byte tokens its vocabulary has."""
    options = {"unk_token": "<unk>", "fuse_unk": choose.random() < 0.5}
    if choose.random() < 0.3:
        del options["unk_token"]
    if choose.random() < 0.3:
        options["ignore_merges"] = True
    if choose.random() < 0.25:
        options["continuing_subword_prefix"] = "##"
    if choose.random() < 0.25:
        options["end_of_word_suffix"] = "</w>"
    if choose.random() < 0.4:
        options["byte_fallback"] = True
    return options


def added_tokens(choose):
    # None of white space alone: where one takes the space behind it and the next begins there, the
    # package gives that space twice.
    spellings = ["the", "<|end|>", "LILY", " user", "a b", "ﬁne", "e", "<s>", "\n\n-", "漢字"]
    flags = ["single_word", "lstrip", "rstrip", "normalized", "special"]
    return [
        AddedToken(spelling, **{flag: choose.random() < 0.4 for flag in flags})
        for spelling in choose.sample(spellings, choose.randint(0, 5))
    ]


def trained(choose, normalizer, pre_tokenizer, decoder):
    options = model_options(choose)
    tokenizer = Tokenizer(models.BPE(**options))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    affixes = {k: v for k, v in options.items() if k.endswith(("prefix", "suffix"))}
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>"], limit_alphabet=choose.choice([60, 1000]),
        show_progress=False, max_token_length=16, **affixes,
    )  # fmt: skip
    tokenizer.train_from_iterator(corpus(choose.random()), trainer)
    if options.get("byte_fallback"):
        tokens = [f"<0x{byte:02X}>" for byte in range(choose.choice([256, 256, 0xC4]))]
        vocabulary = tokenizer.get_vocab()
        vocabulary |= {token: len(vocabulary) + i for i, token in enumerate(tokens)}
        merges = merges_of(tokenizer)
        tokenizer.model = models.BPE(vocabulary, merges, **options)
    tokenizer.add_tokens(added_tokens(choose))
    if decoder is not None:
        tokenizer.decoder = decoder
    return tokenizer


def merges_of(tokenizer):
    import json

    return [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


def published_pre_tokenizers():
    p = pre_tokenizers
    return [
        p.Sequence([p.Split(Regex(pattern), "isolated"), p.ByteLevel(False, use_regex=False)])
        for pattern in PUBLISHED
    ]


def random_tokenizers(seed):
    """(name, tokenizer): each component at least once, with others by chance; then the ways in which
    published models split, alone."""
    choose = random.Random(seed)
    kinds = [all_normalizers(), all_pre_tokenizers(), all_decoders()]
    for kind, components in enumerate(kinds):
        for i, component in enumerate(components):
            parts = [choose.choice(others) for others in kinds]
            parts[kind] = component
            name = f"{('normalizer', 'pre-tokenizer', 'decoder')[kind]} {i}"
            yield name, trained(choose, *parts)
    for i, pre_tokenizer in enumerate(published_pre_tokenizers()):
        yield f"published {i}", trained(choose, None, pre_tokenizer, None)
