"""Compares ids and decoded texts with the `tokenizers` package: ten thousand random texts a tokenizer."""

import json
import shutil
import subprocess
from pathlib import Path

import sentencepiece
import transformers
from gguf_tokenizers import CUTS, tokenizer_of, write_with_pre
from random_texts import RandomTexts
from random_tokenizers import random_tokenizers, sentencepiece_model
from reporting import Failure, Report, Skip, parse_options, temporary_folder
from tokenizers import Tokenizer

TEXTS = 10000
TEXTS_OF_SMALL = 500  # of each of about a hundred and thirty
SEED = 4
# Tokenizers of the data folder that have a tokenizer.json.
FOLDERS = [
    "tokenizers/gpt2",
    "tokenizers/llama3",
    "tokenizers/smollm",
    "tokenizers/tinyllama-chat",
    "models/stories260k/hf",
    "models/tinystories-656k/bf16",
]
# Those of which graft knows how they cut a text.
GGUF = [
    f"ggml-vocab-{name}.gguf" for name in ("gpt-2", "starcoder", "deepseek-coder", "llama-spm", "phi-3")
]
QWEN = ["vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json"]
SMOLLM = ["vocab.json", "merges.txt", "special_tokens_map.json"]
# What transformers makes of a vocabulary: (name, folder of the data, files, tokenizer_config.json; None
# takes that of the folder).
CONVERTED = [
    ("Qwen2.5, vocab.json", "qwen2.5", [*QWEN, "tokenizer_config.json"], None),
    ("Qwen2.5, added_tokens.json", "qwen2.5", QWEN, {"tokenizer_class": "Qwen2Tokenizer"}),
    ("SmolLM, vocab.json", "smollm", [*SMOLLM, "tokenizer_config.json"], None),
    ("GPT2Tokenizer", "smollm", SMOLLM[:2], {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True}),
]  # fmt: skip


def ask_graft(options, tokenizer, questions):
    """What graft answers to texts and lists of ids: [ids, text, text without special tokens] each."""
    program = options.graft.parent / "tests" / "text" / "tokenize-lines"
    if not program.exists():
        raise Failure(f"{program} does not exist; build it")
    done = subprocess.run(
        [str(program), str(tokenizer)],
        input="".join(json.dumps(question) + "\n" for question in questions).encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failure(done.stderr.decode(errors="replace")[-2000:])
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(questions):
        raise Failure(f"{len(answers)} answers to {len(questions)} questions")
    return answers


def special_tokens(reference):
    return [token.content for token in reference.get_added_tokens_decoder().values()]


def compare(options, path, reference, count, notes):
    """Compares `count` random texts, some with special tokens around, and for decoding random ids."""
    reference.no_truncation()
    reference.no_padding()
    generate = RandomTexts(SEED, special_tokens(reference))
    texts = generate.texts(count)
    limit = max(reference.get_vocab().values()) + 1
    lists = [
        [generate.random.randrange(limit) for _ in range(generate.random.randint(0, 20))]
        for _ in range(count // 10)
    ]
    framed = texts[: count // 100]
    questions = texts + [{"framed": text} for text in framed] + lists
    ids = [e.ids for e in reference.encode_batch(texts, add_special_tokens=False)]
    ids += [e.ids for e in reference.encode_batch(framed)] + lists
    expected = zip(
        ids,
        reference.decode_batch(ids, skip_special_tokens=False),
        reference.decode_batch(ids, skip_special_tokens=True),
    )
    for question, ours, theirs in zip(questions, ask_graft(options, path, questions), expected):
        if ours != list(theirs):
            raise Failure(f"{question!r}:\n  graft      {ours}\n  tokenizers {list(theirs)}")
    notes.append(f"{len(texts)} texts and {len(lists)} lists of ids, {sum(map(len, ids))} tokens")


def check_converted(options, report, name, files, config):
    """Compares with transformers' tokenizer for a folder of these files."""
    with report.check(name) as notes, temporary_folder() as scratch:
        folder = Path(scratch)
        for file in files:
            if not file.exists():
                raise Skip(f"{file} is missing")
            shutil.copy(file, folder)
        if config is not None:
            (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        reference = transformers.AutoTokenizer.from_pretrained(folder)
        compare(options, folder, reference.backend_tokenizer, TEXTS, notes)


def compare_with_sentencepiece(options, folder, notes):
    """Compares with SentencePiece itself, which does not look for special tokens in a text."""
    reference = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    texts = RandomTexts(SEED, ["[INST]"]).texts(TEXTS)
    for text, ours in zip(texts, ask_graft(options, folder, texts)):
        expected = reference.encode(text)
        decoded = reference.decode(expected)
        # A file that removes spaces also decodes without those that a text spells as pieces.
        if ours[0] != expected or ours[1].lstrip(" ") != decoded.lstrip(" "):
            raise Failure(f"{text!r}:\n  graft         {ours[:2]}\n  sentencepiece {[expected, decoded]}")
    notes.append(f"{len(texts)} texts")


def check_sentencepiece(options, report):
    """tokenizer.model files: one of the data, and some that SentencePiece trains."""
    kept = {"remove_extra_whitespaces": False}
    for name, tokenizer_class, model_options in [
        ("tokenizer.model of TinyLlama", None, None),
        ("tokenizer.model, trained", None, kept),
        ("tokenizer.model, trained, without extra spaces", "LlamaTokenizer", {}),
        ("tokenizer.model, trained, as Gemma's", "GemmaTokenizer", {"add_dummy_prefix": False, **kept}),
    ]:
        with report.check(name) as notes, temporary_folder() as scratch:
            folder = Path(scratch)
            if model_options is None:
                shutil.copy(options.data / "tokenizers/tinyllama-chat/tokenizer.model", folder)
            else:
                gemma = tokenizer_class == "GemmaTokenizer"
                (folder / "tokenizer.model").write_bytes(sentencepiece_model(gemma, **model_options))
            if tokenizer_class:
                config = json.dumps({"tokenizer_class": tokenizer_class})
                (folder / "tokenizer_config.json").write_text(config, encoding="utf-8")
            compare_with_sentencepiece(options, folder, notes)
    with report.check("tokenizer.model that is not legacy") as notes, temporary_folder() as scratch:
        source = options.data / "tokenizers" / "tinyllama-chat"
        for file in ("tokenizer.model", "tokenizer_config.json"):
            shutil.copy(source / file, scratch)
        reference = transformers.AutoTokenizer.from_pretrained(scratch).backend_tokenizer
        # transformers 5.23 goes by the pieces' ids, where SentencePiece goes by their scores.
        reference.model = Tokenizer.from_file(str(source / "tokenizer.json")).model
        compare(options, Path(scratch), reference, TEXTS, notes)


def check_gguf(options, report):
    """Vocabularies in GGUF files, against tokenizers made of the same files."""
    llama = options.data / "tokenizers" / "tinyllama-chat" / "tokenizer.json"
    for name in GGUF:
        with report.check(name) as notes:
            path = options.data / "tokenizers" / "llama.cpp-models" / name
            if not path.exists():
                raise Skip(f"{path} is missing")
            compare(options, path, tokenizer_of(path, llama), TEXTS, notes)
    source = options.data / "tokenizers" / "llama.cpp-models" / GGUF[0]
    for pre in CUTS:
        with report.check(f"GPT-2's vocabulary, cut as {pre}") as notes, temporary_folder() as scratch:
            path = Path(scratch) / "model.gguf"
            write_with_pre(path, source, pre)
            compare(options, path, tokenizer_of(path, llama), TEXTS_OF_SMALL, notes)


def main():
    options = parse_options(__doc__)
    report = Report()
    for folder in FOLDERS:
        with report.check(folder) as notes:
            path = options.data / folder
            if not path.exists():
                raise Skip(f"{path} is missing")
            reference = Tokenizer.from_file(str(path / "tokenizer.json"))
            compare(options, path, reference, TEXTS, notes)
    check_gguf(options, report)
    for name, folder, files, config in CONVERTED:
        paths = [options.data / "tokenizers" / folder / file for file in files]
        check_converted(options, report, name, paths, config)
    check_sentencepiece(options, report)
    with temporary_folder() as folder:
        for name, reference in random_tokenizers(SEED):
            with report.check(name) as notes:
                path = Path(folder) / "tokenizer.json"
                reference.save(str(path))
                compare(options, path, reference, TEXTS_OF_SMALL, notes)
    report.finish()


if __name__ == "__main__":
    main()
