"""Compares ids and decoded texts with the `tokenizers` package: ten thousand random texts a tokenizer."""

import json
import subprocess
from pathlib import Path

from random_texts import RandomTexts
from random_tokenizers import random_tokenizers
from reporting import Failure, Report, Skip, parse_options, temporary_folder
from tokenizers import Tokenizer

TEXTS = 10000
TEXTS_OF_SMALL = 300  # of each of about a hundred and thirty
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
    """Compares `count` random texts and, for decoding, lists of random ids."""
    reference.no_truncation()
    reference.no_padding()
    generate = RandomTexts(SEED, special_tokens(reference))
    texts = generate.texts(count)
    limit = max(reference.get_vocab().values()) + 1
    lists = [
        [generate.random.randrange(limit) for _ in range(generate.random.randint(0, 20))]
        for _ in range(count // 10)
    ]
    ids = [e.ids for e in reference.encode_batch(texts, add_special_tokens=False)] + lists
    expected = zip(
        ids,
        reference.decode_batch(ids, skip_special_tokens=False),
        reference.decode_batch(ids, skip_special_tokens=True),
    )
    for question, ours, theirs in zip(texts + lists, ask_graft(options, path, texts + lists), expected):
        if ours != list(theirs):
            raise Failure(f"{question!r}:\n  graft      {ours}\n  tokenizers {list(theirs)}")
    notes.append(f"{len(texts)} texts and {len(lists)} lists of ids, {sum(map(len, ids))} tokens")


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
    with temporary_folder() as folder:
        for name, reference in random_tokenizers(SEED):
            with report.check(name) as notes:
                path = Path(folder) / "tokenizer.json"
                reference.save(str(path))
                compare(options, path, reference, TEXTS_OF_SMALL, notes)
    report.finish()


if __name__ == "__main__":
    main()
