"""Tiny random models of every family in several configurations, and what transformers makes of them.

Logits with padding and with a cache, greedy continuations, and five LoRA training steps by PEFT.
See README.md for the files and keys.
"""

import json
import shutil
import warnings
from pathlib import Path

from recording import start, versions, write_json, write_tensors

arguments = start(__doc__)

import torch  # noqa: E402
from families import CASES, MODELS, REMOVED, RUNS  # noqa: E402
from peft import LoraConfig, PeftModel  # noqa: E402
from training import read_samples, save_initial_adapter, train  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

SEED = 60
ROOT = Path("families")
LENGTH, SHORT_LENGTH = 20, 9  # of the two rows
PREFILL = 8  # tokens that the cache gets at once; the others come one by one
PROMPTS = (7, 3)  # lengths; continued by more tokens than windows and few positions have
NEW_TOKENS = 14
LEAST_MARGIN = 1e-3  # of the best greedy logit to the second, relative to the best
FLAGS = {
    "data": str(ROOT / "data.jsonl"),
    "method": "lora",
    "batch-size": 2,
    "grad-accum": 2,
    "max-steps": 5,
    "max-seq-len": 64,
    "optim": "adamw",
    "adam-betas": "0.9,0.999",
    "max-grad-norm": 1.0,
    "no-shuffle": True,
    "seed": 0,
    "dtype": "f32",
    "lr-schedule": "constant",
    "warmup-steps": 0,
    "learning-rate": 5e-3,
    "weight-decay": 0.01,
}


def randomise(model, seed):
    """Weights large enough that a wrong formula shows."""
    generator = torch.Generator().manual_seed(seed)
    gemma = model.config.model_type == "gemma3_text"
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1 and name.endswith("weight"):  # a norm
                parameter.copy_((0 if gemma else 1) + 0.2 * noise)
            elif gemma and "embed_tokens" in name:  # the model multiplies it by 5.7
                parameter.copy_(0.03 * noise)
            else:
                parameter.copy_(0.3 * noise)


def make_model(name, config, seed):
    model = AutoModelForCausalLM.from_config(config)
    randomise(model, seed)
    model.to(torch.bfloat16).save_pretrained(ROOT / name)
    (ROOT / name / "generation_config.json").unlink()


def case_config(case):
    """The text of a case's config.json as a dictionary."""
    model, changes = CASES[case]
    config = json.loads((ROOT / model / "config.json").read_text(encoding="utf-8"))
    config.pop("dtype")
    return {key: value for key, value in (config | changes).items() if value is not REMOVED}


def write_case(case, folder):
    """A folder with the case's config.json and its model's weights."""
    folder.mkdir(parents=True, exist_ok=True)
    model = ROOT / CASES[case][0] / "model.safetensors"
    shutil.copy(model, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(case_config(case)), encoding="utf-8")
    return folder


def load(folder):
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def cached_logits(model, ids):
    """Logits of row 0 from the last prefilled token on: the rest goes through the cache."""
    output = model(input_ids=ids[:1, :PREFILL], use_cache=True)
    logits = [output.logits[0, -1:]]
    for at in range(PREFILL, LENGTH):
        output = model(
            input_ids=ids[:1, at : at + 1], past_key_values=output.past_key_values, use_cache=True
        )
        logits.append(output.logits[0])
    return torch.cat(logits)


def left_padded_logits(model, ids):
    """Row 1 with its padding on the left, positions counted from its first token."""
    padding = LENGTH - SHORT_LENGTH
    left = torch.stack([ids[0], torch.cat([ids[1, SHORT_LENGTH:], ids[1, :SHORT_LENGTH]])])
    mask = torch.ones_like(left)
    mask[1, :padding] = 0
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    logits = model(input_ids=left, attention_mask=mask, position_ids=positions).logits
    return logits[1, padding:]


def greedy(model, prompt):
    """The ids that continue a prompt, and how sure the least sure of them is."""
    output = model.generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=NEW_TOKENS,
        eos_token_id=None,
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    best = torch.stack(output.logits)[:, 0].topk(2).values
    margin = ((best[:, 0] - best[:, 1]) / best[:, 0].abs()).min().item()
    return output.sequences[0, prompt.shape[1] :].tolist(), margin


@torch.no_grad()
def make_case(name, scratch, seed):
    """Returns (record, tensors) of one case."""
    model = load(write_case(name, scratch / name))
    vocabulary = model.config.vocab_size
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocabulary, (2, LENGTH), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, SHORT_LENGTH:] = 0
    ids = ids * mask
    whole = model(input_ids=ids, attention_mask=mask).logits
    logits = torch.cat([whole[0], whole[1, :SHORT_LENGTH]])
    cached = cached_logits(load(scratch / name), ids)
    # Without padding: in f64 a row of it that sees no key would be NaN.
    exact = load(scratch / name).double()(input_ids=ids[:1]).logits[0]
    left = left_padded_logits(load(scratch / name), ids)
    largest = logits.abs().max()
    assert (left - whole[1, :SHORT_LENGTH]).abs().max() < 2e-6 * largest
    prompts, answers, margins = [], [], []
    for length in PROMPTS:
        # Prompts whose continuation hangs on a rounding are passed over.
        while True:
            prompt = torch.randint(3, vocabulary, (1, length), generator=generator)
            new, margin = greedy(load(scratch / name), prompt)
            if margin > LEAST_MARGIN:
                break
        prompts.append(prompt[0].tolist())
        answers.append(new)
        margins.append(margin)
    record = {
        "name": name,
        "model": str(ROOT / CASES[name][0]),
        "config": case_config(name),
        "input_ids": [ids[0].tolist(), ids[1, :SHORT_LENGTH].tolist()],
        "largest_logit": largest.item(),
        "f32_rounding": ((whole[0] - exact).abs().max() / largest).item(),
        "prompts": prompts,
        "greedy_ids": answers,
        "smallest_margin": min(margins),
    }
    return record, {f"{name}.logits": logits, f"{name}.cached": cached}


def write_samples():
    """Random texts of lengths 6 to 24; of every second one the first half is not trained."""
    generator = torch.Generator().manual_seed(SEED)
    lines = []
    for index in range(FLAGS["max-steps"] * FLAGS["batch-size"] * FLAGS["grad-accum"]):
        length = 6 + index * 7 % 19
        ids = torch.randint(3, 61, (length,), generator=generator).tolist()
        labels = [-100] * (length // 2) + ids[length // 2 :] if index % 2 else ids
        lines.append(json.dumps({"input_ids": ids, "labels": labels}))
    (ROOT / "data.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_run(name, scratch, seed):
    case, options = RUNS[name]
    config = LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **options)
    adapter = ROOT / "runs" / name
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        save_initial_adapter(load(scratch / case), config, adapter, str(ROOT / case), seed)
    said = [str(entry.message) for entry in caught if "fan_in_fan_out" in str(entry.message)]
    model = PeftModel.from_pretrained(load(scratch / case), adapter, is_trainable=True)
    steps = train(model, read_samples(ROOT / "data.jsonl"), FLAGS)
    record = {"name": name, "case": case, "adapter": str(adapter), "warnings": said}
    return record | {"steps": steps}


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    for index, (name, config) in enumerate(MODELS.items()):
        make_model(name, config, SEED + index)
    write_samples()
    scratch = Path("families_scratch")
    cases, tensors = [], {}
    for index, name in enumerate(CASES):
        record, answers = make_case(name, scratch, SEED + 100 + index)
        cases.append(record)
        tensors |= answers
    runs = [make_run(name, scratch, SEED + 200 + index) for index, name in enumerate(RUNS)]
    shutil.rmtree(scratch)
    write_tensors("families.safetensors", tensors)
    write_json(
        "families.json",
        {
            "versions": versions("torch", "transformers", "peft", "safetensors"),
            "seed": SEED,
            "prefill": PREFILL,
            "flags": FLAGS,
            "cases": cases,
            "runs": runs,
        },
    )


if __name__ == "__main__":
    main()
