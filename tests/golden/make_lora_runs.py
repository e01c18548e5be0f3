"""Twenty training steps of PEFT adapters, and of a whole model, written as a plain torch loop.

Each run leaves what it started from, what it ended with and every step's loss, gradient norm and
learning rate, so that graft can replay it. See README.md for the files and keys.
"""

import json
import shutil
from pathlib import Path

from recording import start, versions, write_json, write_tensors

arguments = start(__doc__, reads=("data",))

import torch  # noqa: E402
from peft import LoraConfig, PeftModel  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from training import read_samples, save_adapter, save_initial_adapter, train  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

SEED = 7
SAMPLES = 48  # six optimizer steps an epoch: the twenty steps pass over the data three times
VOCABULARY = 96
ROOT = Path("lora_runs")
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
COMMON = {
    "batch-size": 4,
    "grad-accum": 2,
    "max-steps": 20,
    "max-seq-len": 64,
    "optim": "adamw",
    "adam-betas": "0.9,0.999",
    "max-grad-norm": 1.0,
    "no-shuffle": True,
    "seed": 0,
    "dtype": "f32",
}


def schedule(name, warmup, lr, weight_decay):
    return {
        "lr-schedule": name,
        "warmup-steps": warmup,
        "learning-rate": lr,
        "weight-decay": weight_decay,
    }


def lora(targets, **changes):
    return LoraConfig(
        **{"r": 4, "lora_alpha": 8, "target_modules": targets, "task_type": "CAUSAL_LM", **changes}
    )


# name: (model, data, adapter or None for the whole model, flags)
RUNS = {
    "q_v": (
        "models/gqa",
        "data.jsonl",
        lora(["q_proj", "v_proj"]),
        schedule("linear", 4, 1e-2, 0.01),
    ),
    "all_linear": (
        "models/gqa",
        "data.jsonl",
        lora("all-linear"),
        schedule("cosine", 3, 5e-3, 0.0),
    ),
    "rslora": (
        "models/gqa",
        "data.jsonl",
        lora([*ATTENTION, "down_proj"], use_rslora=True),
        schedule("constant", 0, 5e-3, 0.1),
    ),
    "lm_head": (
        "models/untied",
        "data.jsonl",
        lora(["q_proj", "down_proj", "lm_head"]),
        schedule("linear", 0, 5e-3, 0.0),
    ),
    "full": ("models/gqa", "data.jsonl", None, schedule("cosine", 2, 2e-3, 0.0)),
    "tinystories": (
        "models/tinystories-656k/fp32",
        "stories.jsonl",
        lora(ATTENTION),
        schedule("cosine", 4, 5e-3, 0.01),
    ),
}
NAMES = ["Ada", "Ben", "Cleo", "Dan", "Eva", "Finn"]
THINGS = ["red ball", "small boat", "warm hat", "blue kite", "big drum", "green frog", "old map"]


def counting_samples():
    """Sequences x -> 3x + k (mod 89) of every length from 6 to 24: there is something to learn.

    The labels cover, in turn: the whole record, what follows a prompt, a record with a hole, one
    token.
    """
    generator = torch.Generator().manual_seed(SEED)
    for index in range(SAMPLES):
        first, step = torch.randint(0, 89, (2,), generator=generator).tolist()
        length = 6 + index * 7 % 19
        values = [first]
        while len(values) < length:
            values.append((3 * values[-1] + step % 5) % 89)
        ids = [3 + value for value in values]
        labels = list(ids)
        if index % 4 == 1:
            labels[: length // 2] = [-100] * (length // 2)
        elif index % 4 == 2:
            labels[2:5] = [-100] * 3
        elif index % 12 == 3:
            labels[:-1] = [-100] * (length - 1)
        yield ids, labels


def story_samples(tokenizer):
    """Short stories of our own; every second one is trained on its second sentence only."""
    for index in range(SAMPLES):
        name, thing = NAMES[index % len(NAMES)], THINGS[index % len(THINGS)]
        prompt = f"One day, {name} found a {thing} in the garden."
        ids = tokenizer.encode(prompt).ids
        answer = tokenizer.encode(
            f" {name} gave the {thing} to a friend and they played.", add_special_tokens=False
        ).ids
        yield ids + answer, ([-100] * len(ids) if index % 2 else ids) + answer


def write_samples(path, samples):
    lines = [json.dumps({"input_ids": ids, "labels": labels}) for ids, labels in samples]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def model_path(model):
    return Path(model) if Path(model).exists() else arguments.data / model


def load_base(model):
    return AutoModelForCausalLM.from_pretrained(
        model_path(model), dtype=torch.float32, attn_implementation="eager"
    )


def load_for_training(base, adapter):
    model = load_base(base)
    if adapter is None:
        return model
    return PeftModel.from_pretrained(model, adapter, is_trainable=True)


def trainable_values(model):
    return {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}


def rounding(base, adapter, samples, flags, steps, final):
    """How far the f32 run is from the same run in f64: what a replay can be asked to reach."""
    model = load_for_training(base, adapter).double()
    exact = train(model, samples, flags)

    def largest(key):
        return max(abs(a[key] - b[key]) / b[key] for a, b in zip(steps, exact))

    drift = [
        ((final[name] - value).norm() / value.norm()).item()
        for name, value in trainable_values(model).items()
    ]
    return {"loss": largest("loss"), "grad_norm": largest("grad_norm"), "tensor": max(drift)}


def make_run(name, seed):
    base, data, config, changes = RUNS[name]
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    flags = {"model": base, "data": str(ROOT / data), "method": "full", **COMMON, **changes}
    adapter = None
    if config:
        adapter = folder / "initial"
        save_initial_adapter(load_base(base), config, adapter, base, seed)
        flags |= {"method": "lora", "adapter": str(adapter)}
    samples = read_samples(ROOT / data)
    model = load_for_training(base, adapter)
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    steps = train(model, samples, flags)
    if config:
        save_adapter(model, folder / "final", base)
    else:
        model.save_pretrained(folder / "final")
    final = trainable_values(model)
    return {
        "name": name,
        "model_in": "golden" if Path(base).exists() else "data",
        "flags": flags,
        "trainable_parameters": count,
        "final": str(folder / "final"),
        "f32_rounding": rounding(base, adapter, samples, flags, steps, final),
        "steps": steps,
    }


def main():
    tokenizer = Tokenizer.from_file(
        str(model_path("models/tinystories-656k/fp32") / "tokenizer.json")
    )
    write_samples(ROOT / "data.jsonl", counting_samples())
    write_samples(ROOT / "stories.jsonl", story_samples(tokenizer))
    runs = [make_run(name, SEED + index) for index, name in enumerate(RUNS)]
    write_json(
        "lora_runs.json",
        {
            "versions": versions("torch", "transformers", "peft", "safetensors", "tokenizers"),
            "seed": SEED,
            "runs": runs,
        },
    )


if __name__ == "__main__":
    main()
