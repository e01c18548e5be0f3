"""`graft convert` writes a folder that transformers loads: same ids, template, logits and text."""

import json
from pathlib import Path

import torch
from comparing import load_base
from reporting import (
    GOLDEN,
    Failure,
    Report,
    Skip,
    parse_options,
    require_smollm2,
    run_graft,
    temporary_folder,
)
from tokenizers import Tokenizer
from transformers import AutoTokenizer
from transformers.utils import logging

# Both sides run torch in f32 on weights that must have the same bits, but perhaps on two processors,
# for which torch picks its kernels.
LOGIT_TOLERANCE = 4e-6
TEXTS = [
    "",
    " ",
    "Hello  world\n\n\ttabs and   spaces ",
    "It's 12345 o'clock, isn't it? I'LL see.",
    "naïve café, größe, 模型, 🙂👍🏽, e\u0301",
    "<|im_start|>user\nhi<|im_end|>\n<|endoftext|>",
    "def f(x):\n    return x**2  # 3.14e-10\r\n",
]


def check_tokenizer(options, tokenizer, golden, notes):
    original = options.data / "tokenizers" / "smollm" / "tokenizer.json"
    if not original.exists():
        raise Skip(f"{original} is missing")
    original = Tokenizer.from_file(str(original))
    for text in TEXTS + [record["prompt"] for record in golden]:
        ids, expected = tokenizer(text).input_ids, original.encode(text).ids
        if ids != expected:
            raise Failure(f"{text!r} has the ids {ids}, expected {expected}")
        if tokenizer.decode(ids) != original.decode(ids, skip_special_tokens=False):
            raise Failure(f"{text!r} is decoded to {tokenizer.decode(ids)!r}")
    notes.append(f"{len(TEXTS) + len(golden)} texts")


def check_template(tokenizer, golden):
    for record in golden:
        prompt = tokenizer.apply_chat_template(
            record["messages"], tokenize=False, add_generation_prompt=True
        )
        if prompt != record["prompt"]:
            raise Failure(f"{record['name']}: {prompt!r}, expected {record['prompt']!r}")


@torch.no_grad()
def check_logits(model, record, notes):
    last = model(input_ids=torch.tensor([record["prompt_ids"]])).logits[0, -1]
    expected = torch.tensor(record["top_logits"])
    difference = (last[record["top_ids"]] - expected).abs().max() / expected.abs().max()
    if not difference <= LOGIT_TOLERANCE:
        raise Failure(f"top logits differ by {difference:.1e}, allowed is {LOGIT_TOLERANCE:.0e}")
    notes.append(f"{difference:.1e} of {LOGIT_TOLERANCE:.0e}")


@torch.no_grad()
def check_text(model, tokenizer, record):
    ids = torch.tensor([record["prompt_ids"]])
    new = model.generate(ids, do_sample=False, max_new_tokens=len(record["new_ids"]))
    new = new[0, ids.shape[1] :].tolist()
    text = tokenizer.decode(new, skip_special_tokens=True)
    if new != record["new_ids"] or text != record["text"]:
        raise Failure(f"answers {text!r}, expected {record['text']!r}")


def main():
    options = parse_options(__doc__)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    report = Report()
    golden = json.loads((GOLDEN / "smollm2.json").read_text(encoding="utf-8"))["conversations"]
    model = tokenizer = None
    with temporary_folder() as scratch:
        with report.check("transformers loads what graft converted from GGUF"):
            require_smollm2(options)
            out = Path(scratch) / "hf"
            run_graft(options, "convert", {"from": options.model_file, "to": "hf", "out": out})
            model, tokenizer = load_base(out), AutoTokenizer.from_pretrained(out)
        if model is not None:
            with report.check("converted tokenizer") as notes:
                check_tokenizer(options, tokenizer, golden, notes)
            with report.check("converted chat template"):
                check_template(tokenizer, golden)
            for record in golden:
                with report.check(f"converted model's logits: {record['name']}") as notes:
                    check_logits(model, record, notes)
                with report.check(f"converted model's greedy text: {record['name']}"):
                    check_text(model, tokenizer, record)
    report.finish()


if __name__ == "__main__":
    main()
