"""Tokenizers of the `tokenizers` package from what GGUF files of vocabularies say.

How a text is cut, which a file only gives a name for, is written here as the published tokenizer.json of
the model has it.
"""

import json

from gguf import GGUFReader, GGUFWriter, TokenType
from random_tokenizers import GPT4O, LLAMA3, QWEN2, TEKKEN
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

SEQUENCE, SPLIT = pre_tokenizers.Sequence, pre_tokenizers.Split
BYTES, DIGITS = pre_tokenizers.ByteLevel, pre_tokenizers.Digits
ADDED = {TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.UNKNOWN}


def cuts(*patterns):
    return [SPLIT(Regex(pattern), "isolated") for pattern in patterns]


def whole(pattern):
    return lambda: SEQUENCE([*cuts(pattern), BYTES(add_prefix_space=False, use_regex=False)])


# tokenizer.ggml.pre: how the model's tokenizer.json cuts.
CUTS = {
    **dict.fromkeys(["gpt-2", "phi-2", "olmo"], lambda: BYTES(add_prefix_space=False)),
    **dict.fromkeys(["smollm", "starcoder"], lambda: SEQUENCE([DIGITS(True), BYTES(add_prefix_space=False)])),
    **dict.fromkeys(["llama-bpe", "dbrx"], whole(LLAMA3)),
    **dict.fromkeys(["qwen2", "deepseek-r1-qwen"], whole(QWEN2)),
    "gpt-4o": whole(GPT4O),
    "tekken": whole(TEKKEN),
    "deepseek-coder": lambda: SEQUENCE([
        *cuts("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"),
        DIGITS(True), BYTES(add_prefix_space=False, use_regex=False),
    ]),
}  # fmt: skip
NFC = {"olmo", "qwen2", "deepseek-r1-qwen"}
WHOLE_WORDS = {"llama-bpe", "tekken"}  # that are in the vocabulary are not merged
BEGIN_WITH_BOS = {"llama-bpe", "tekken"}


def byte_level(read, tokens):
    merges = [tuple(merge.split(" ")) for merge in read("tokenizer.ggml.merges")]
    pre = read("tokenizer.ggml.pre")
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=pre in WHOLE_WORDS))
    if pre in NFC:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = CUTS[pre]()
    tokenizer.decoder = decoders.ByteLevel()
    if read("tokenizer.ggml.add_bos_token", pre in BEGIN_WITH_BOS):
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


def write_with_pre(path, source, pre):
    """Writes the vocabulary of the GGUF file `source` as one that is cut in another way."""
    reader = GGUFReader(source)
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(reader.get_field("tokenizer.ggml.tokens").contents())
    writer.add_token_types(reader.get_field("tokenizer.ggml.token_type").contents())
    writer.add_token_merges(reader.get_field("tokenizer.ggml.merges").contents())
    writer.add_bos_token_id(reader.get_field("tokenizer.ggml.bos_token_id").contents())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
