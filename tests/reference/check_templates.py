"""Compares what chat templates render with Jinja2: those published in Python packages and in the shared
data, and thousands of random small ones."""

import copy
import json
import subprocess
import sys
import warnings

from random_templates import RandomTemplates
from reporting import GOLDEN, ROOT, Failure, Report, Skip, parse_options

sys.path.insert(0, str(GOLDEN))
import chat_cases  # noqa: E402
import chat_snippets  # noqa: E402

RANDOM = 4000
SEED = 11
# Errors in Jinja2's own words, which graft says too.
SAME_WORDS = {"TemplateError", "UndefinedError"}
# What graft refuses where Jinja2 goes on. Slices of constants go through another path in Jinja2, where
# a wrong one is undefined.
REFUSALS = [
    "not supported",
    "exceeds 64 bits",
    "is printed",
    "its place is not known",
    "cannot be sliced",
    "slice indices must be",
]
# What graft lets pass where nothing runs it: Jinja2 allows that in conditions, but not in all blocks
# inside of them.
UNKNOWN = ("No filter named", "No test named")


def published_folder():
    """The folder tools/templates makes."""
    done = subprocess.run(
        [ROOT / "tools" / "templates"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Skip("the packages with templates cannot be had")
    return ROOT / done.stdout.splitlines()[-1]


def ask_graft(options, requests):
    """What graft makes of requests to render."""
    program = options.graft.parent / "tests" / "text" / "render-template"
    if not program.exists():
        raise Failure(f"{program} does not exist; build it")
    done = subprocess.run(
        [str(program)],
        input="".join(json.dumps(request) + "\n" for request in requests).encode(),
        capture_output=True,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode != 0 or len(answers) != len(requests):
        source = requests[min(len(answers), len(requests) - 1)]["source"]
        raise Failure(f"exit code {done.returncode} at {source!r}: {done.stderr[-2000:]!r}")
    return answers


def ask_jinja(request):
    try:
        template = chat_cases.compile_template(request["source"])
    except Exception as error:  # what is no template for Jinja2
        return {"error": str(error), "kind": type(error).__name__}
    # Jinja2 lets the filter indent change a list that it is given.
    return chat_cases.render(template, *copy.deepcopy([request["messages"], request["variables"]]))


def difference(answer, expected, same_words):
    """What is unlike, or None."""
    if ("error" in answer) != ("error" in expected):
        return f"graft: {answer}, Jinja2: {expected}"
    if "error" in expected:
        same = expected["kind"] not in same_words or expected["error"] in answer["error"]
        return None if same else f"graft says {answer['error']!r}, Jinja2 {expected['error']!r}"
    for key in ("text", "generation"):
        if answer[key] != expected[key]:
            return f"{key} is {answer[key]!r}, expected {expected[key]!r}"
    return None


def request(source, messages, variables):
    return {
        "source": source,
        "messages": messages,
        "variables": variables,
        "now": chat_cases.NOW,
    }


def compare(options, requests, same_words=SAME_WORDS, may_refuse=False):
    """Compares the answers; returns how many texts and how many errors agree."""
    errors = refused = 0
    expected = [ask_jinja(each) for each in requests]
    for each, answer, wanted in zip(requests, ask_graft(options, requests), expected, strict=True):
        if may_refuse and refuses(answer, wanted):
            refused += 1
            continue
        what = difference(answer, wanted, same_words)
        if what:
            raise Failure(f"{each['source'][:2000]}\n{json.dumps(each['messages'])}\n{what}")
        errors += "error" in wanted
    return len(requests) - errors - refused, errors


def refuses(answer, expected):
    """Jinja2 shows an address in memory, or one of the two refuses on purpose."""
    if " at 0x" in expected.get("text", "") or expected.get("error", "").startswith(UNKNOWN):
        return True
    return any(words in answer.get("error", "") for words in REFUSALS)


def check_published(options, folder, notes):
    counts = [0, 0]
    files = sorted(folder.glob("*.jinja"))
    if not files:
        raise Skip(f"{folder} is missing")
    for path in files:
        source = path.read_bytes().decode("utf-8")
        requests = [
            request(source, case["messages"], chat_cases.variables_of(case, path.name))
            for case in chat_cases.CASES
        ]
        try:
            counts = [a + b for a, b in zip(counts, compare(options, requests))]
        except Failure as failure:
            raise Failure(f"{path.name}: {failure}") from None
    notes.append(f"{len(files)} templates, {counts[0]} texts and {counts[1]} errors agree")


def check_random(options, notes):
    conversation = chat_cases.CASES[4]["messages"]
    sources = RandomTemplates(SEED, chat_snippets.SNIPPETS).sources(RANDOM)
    requests = [request(source, conversation, chat_snippets.VARIABLES) for source in sources]
    # Where several things are wrong, Jinja2's order of looking at them is its own.
    texts, errors = compare(options, requests, same_words=set(), may_refuse=True)
    notes.append(f"{texts} texts and {errors} errors agree")


def main():
    warnings.simplefilter("ignore")  # Python's, about expressions that cannot go well
    options = parse_options(__doc__)
    report = Report()
    for package in ("trl", "axolotl"):
        with report.check(f"templates of {package}") as notes:
            check_published(options, published_folder() / package, notes)
    with report.check("templates of the shared data") as notes:
        folder = options.data / "tokenizers" / "llama.cpp-models" / "templates"
        check_published(options, folder, notes)
    with report.check("random templates") as notes:
        check_random(options, notes)
    report.finish()


if __name__ == "__main__":
    main()
