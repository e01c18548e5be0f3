"""Tokenizers of the `tokenizers` package from what GGUF files of vocabularies say.

How a text is cut, which a file only gives a name for, is written here as the published tokenizer.json of
the model has it.
"""

import json

from gguf import GGUFReader, TokenType
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

SEQUENCE, SPLIT = pre_tokenizers.Sequence, pre_tokenizers.Split
BYTES, DIGITS = pre_tokenizers.ByteLevel, pre_tokenizers.Digits
ADDED = {TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.UNKNOWN}


def cuts(*patterns):
    return [SPLIT(Regex(pattern), "isolated") for pattern in patterns]


# tokenizer.ggml.pre: how the model's tokenizer.json cuts.
CUTS = {
    "gpt-2": lambda: BYTES(add_prefix_space=False),
    "starcoder": lambda: SEQUENCE([DIGITS(True), BYTES(add_prefix_space=False)]),
    "deepseek-coder": lambda: SEQUENCE([
        *cuts("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"),
        DIGITS(True), BYTES(add_prefix_space=False, use_regex=False),
    ]),
}  # fmt: skip


def byte_level(read, tokens):
    merges = [tuple(merge.split(" ")) for merge in read("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = CUTS[read("tokenizer.ggml.pre")]()
    tokenizer.decoder = decoders.ByteLevel()
    if read("tokenizer.ggml.add_bos_token", False):
        bos = read("tokenizer.ggml.bos_token_id")
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[tokens[bos], "$A"], special_tokens=[(tokens[bos], bos)]
        )
    return tokenizer


def sentencepiece(tokens, llama):
    """The pipeline of Llama 2's tokenizer.json, whose merges are of the same vocabulary."""
    document = json.loads(llama.read_text(encoding="utf-8"))
    vocabulary = document["model"]["vocab"]
    assert all(vocabulary.get(token) == i for i, token in enumerate(tokens[: len(vocabulary)]))
    document |= {"truncation": None, "added_tokens": []}
    return Tokenizer.from_str(json.dumps(document))


def tokenizer_of(path, llama):
    """The tokenizer of a GGUF file. `llama` is the tokenizer.json with Llama 2's vocabulary."""
    reader = GGUFReader(path)

    def read(key, missing=None):
        field = reader.get_field(key)
        return missing if field is None else field.contents()

    tokens = read("tokenizer.ggml.tokens")
    if read("tokenizer.ggml.model") == "llama":
        tokenizer = sentencepiece(tokens, llama)
    else:
        tokenizer = byte_level(read, tokens)
    for token, kind in zip(tokens, read("tokenizer.ggml.token_type")):
        if kind in ADDED:
            is_special = kind != TokenType.USER_DEFINED
            tokenizer.add_tokens([AddedToken(token, special=is_special, normalized=False)])
    return tokenizer
