"""Multiple choice and exact match by lm-eval's conventions, written here from their description.

The log-likelihoods are those of stories260k in f64. See README.md for the keys.
"""

from recording import start, versions, write_json

arguments = start(__doc__, reads=("data",))

import math  # noqa: E402
import re  # noqa: E402
import string  # noqa: E402

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast  # noqa: E402

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
STORIES = [
    ("Once upon a time, there was a little girl named", ["Lily", "Timmy the dog", "Zebra"], 0),
    ("The sun was very bright, so Tom put on his", ["hat", "nose of cheese", "moon"], "A"),
    ("Lily saw a big, red", ["ball", "happy", "ball in the park with her mom"], 2),
    ("Sara was sad because", ["she lost her toy.", "the the the", "café"], "she lost her toy."),
    ("One day, a cat said: ", ["“Hello!”", "meow", "nothing at all."], "b"),  # a blank at the end
    ("They went home.\n\n", ["The end.", "Tom and his mom were happy."], "1"),
    ("", ["Once upon a time", "Zzzz"], 0),
]
QUESTIONS = [
    ("What did Lily see in the park?", ["a bird", "a tall glass building"], "a bird"),
    ("Who is Tom's best friend?", ["Sam", "the moon", "Sam the dog"], 2),
    ("Where do fish live?", ["in the water", "in the tree", "in a box"], "A"),
]
CASES = [
    {"name": "context", "flags": [], "key": "context", "rows": STORIES},
    {"name": "question", "flags": [], "key": "question", "rows": QUESTIONS},
    {
        "name": "delimiter",
        "flags": ["--target-delimiter", "\n"],
        "key": "query",
        "rows": QUESTIONS,
        "delimiter": "\n",
    },
    {"name": "template", "flags": [], "key": "question", "rows": QUESTIONS, "template": True},
]
# Prediction, reference, and what is ignored of both.
MATCHES = [
    ("Paris", "Paris", {}),
    (" Paris\n", "Paris", {}),
    ("paris", "Paris", {}),
    ("PARIS", "paris", {"ignore_case": True}),
    ("ÉCOLE", "école", {"ignore_case": True}),
    ("Paris.", "Paris", {}),
    ("Paris.", "Paris", {"ignore_punctuation": True}),
    ("“Paris”", "Paris", {"ignore_punctuation": True}),  # no ASCII
    ("P-a_r`i~s!", "$Paris", {"ignore_punctuation": True}),
    ("It is 6 * 7.\n#### 42", "6 * 7 = 42\n#### 42", {"answer_pattern": r"#### (-?[0-9.,]+)"}),
    ("#### 42\n\n#### 7", "#### 42", {"answer_pattern": r"#### (-?[0-9.,]+)"}),
    ("It is 42.", "#### 42", {"answer_pattern": r"#### (-?[0-9.,]+)"}),
    ("The answer is 1,234", "so 1234", {"answer_pattern": r"-?[0-9.,]+"}),
    (
        "The answer is 1,234",
        "so 1234",
        {"answer_pattern": r"-?[0-9.,]+", "ignored_patterns": [","]},
    ),
    ("$1,234.", "1234", {"ignored_patterns": [",", r"\$", r"\.$"]}),
    ("the THE cat", "cat", {"ignored_patterns": ["the"], "ignore_case": True}),
    ("", " ", {}),
]


def asked(tokenizer, case, text):
    """The context of a question, as its key says."""
    if case.get("template"):
        messages = [{"role": "user", "content": text}]
        return tokenizer.apply_chat_template(
            messages, chat_template=TEMPLATE, add_generation_prompt=True, tokenize=False
        )
    return f"Question: {text}\nAnswer:" if case["key"] == "question" else text


def encode(tokenizer, text):
    """With <s> in front once."""
    written_out = text.startswith(tokenizer.bos_token)
    return tokenizer.encode(text, add_special_tokens=not written_out)


def encode_pair(tokenizer, context, continuation):
    """Blanks at the end of the context go to the continuation, whose tokens are those of both
    without as many as the context has."""
    if not context:
        return [tokenizer.bos_token_id], tokenizer.encode(continuation, add_special_tokens=False)
    blanks = len(context) - len(context.rstrip())
    if blanks:
        context, continuation = context[:-blanks], context[-blanks:] + continuation
    before = encode(tokenizer, context)
    return before, encode(tokenizer, context + continuation)[len(before) :]


def log_likelihood(model, before, own):
    ids = torch.tensor([before + own])
    with torch.no_grad():
        scores = torch.log_softmax(model(ids).logits[0, :-1], dim=-1)
    return sum(scores[len(before) - 1 + i, own_id].item() for i, own_id in enumerate(own))


def number_of(choices, gold):
    """Which choice the record calls right: the rows above say it in each way."""
    if isinstance(gold, int):
        return gold
    if gold in choices:
        return choices.index(gold)
    return int(gold) if gold.isdigit() else ord(gold.upper()) - ord("A")


def largest(values):
    return max(range(len(values)), key=lambda i: (values[i], -i))


def evaluate(model, tokenizer, case):
    delimiter = case.get("delimiter", "" if case.get("template") else " ")
    found = {"log_likelihoods": [], "tokens": [], "pick": [], "pick_norm": []}
    right = right_norm = 0
    for text, choices, gold in case["rows"]:
        context = asked(tokenizer, case, text)
        pairs = [encode_pair(tokenizer, context, delimiter + choice) for choice in choices]
        sums = [log_likelihood(model, *pair) for pair in pairs]
        found["log_likelihoods"].append(sums)
        found["tokens"].append([len(own) for _, own in pairs])
        found["pick"].append(largest(sums))
        found["pick_norm"].append(largest([s / len(c) for s, c in zip(sums, choices)]))
        right += found["pick"][-1] == number_of(choices, gold)
        right_norm += found["pick_norm"][-1] == number_of(choices, gold)
    count = len(case["rows"])
    for name, hits in (("acc", right), ("acc_norm", right_norm)):
        mean = hits / count
        deviation = hits * (1 - mean) ** 2 + (count - hits) * mean**2
        found[name] = mean
        found[f"{name}_stderr"] = math.sqrt(deviation / (count - 1)) / math.sqrt(count)
    return found


def compared(text, options):
    """What exact match compares of a text; None where the answer is not found."""
    if pattern := options.get("answer_pattern"):
        match = re.search(pattern, text)
        if match is None:
            return None
        text = match.group(1 if match.re.groups else 0)
    for pattern in options.get("ignored_patterns", []):
        text = re.sub(pattern, "", text)
    if options.get("ignore_case"):
        text = text.lower()
    if options.get("ignore_punctuation"):
        text = text.translate(str.maketrans("", "", string.punctuation))
    return text.strip()


folder = arguments.data / "models" / "stories260k" / "hf"
# As the file has it: transformers' class for Llama takes no second blank at the beginning.
tokenizer = PreTrainedTokenizerFast(
    tokenizer_file=str(folder / "tokenizer.json"), bos_token="<s>", eos_token="</s>"
)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
cases = []
for case in CASES:
    records = [
        {case["key"]: text, "choices": choices, "answer": gold}
        for text, choices, gold in case["rows"]
    ]
    cases.append(
        {
            "name": case["name"],
            "flags": case["flags"],
            "template": case.get("template", False),
            "records": records,
            **evaluate(model, tokenizer, case),
        }
    )
matches = [
    {
        "prediction": prediction,
        "reference": reference,
        "options": options,
        "compared": [compared(text, options) for text in (prediction, reference)],
    }
    for prediction, reference, options in MATCHES
]
write_json(
    "evaluation.json",
    {
        "versions": versions("torch", "transformers", "tokenizers"),
        "template": TEMPLATE,
        "cases": cases,
        "matches": matches,
    },
)
