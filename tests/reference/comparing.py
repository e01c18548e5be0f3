"""How the check_*.py scripts compare logits: PyTorch's own and those `graft logits` writes."""

import json
from pathlib import Path

import torch
from reporting import Failure, run_graft
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

# Both sides compute in f32. The golden models' own f32 logits are up to 2e-6 of the largest logit
# away from f64, ten times less than this.
LOGIT_TOLERANCE = 2e-5


def load_base(folder):
    """The model of a folder in f32, in eval mode."""
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def sample_ids(vocabulary, lengths=(1, 7, 24), seed=5):
    """Random id sequences of these lengths."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, vocabulary, (n,), generator=generator).tolist() for n in lengths]


@torch.no_grad()
def torch_logits(model, sequences):
    """One (T, V) tensor for each sequence."""
    return [model(input_ids=torch.tensor([ids])).logits[0] for ids in sequences]


def graft_logits(options, folder, sequences, **flags):
    """The same through the command; `folder` is a scratch folder."""
    data, out = Path(folder) / "ids.jsonl", Path(folder) / "logits.safetensors"
    out.unlink(missing_ok=True)
    lines = [json.dumps({"input_ids": ids, "labels": ids}) for ids in sequences]
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run_graft(options, "logits", {**flags, "data": data, "out": out, "dtype": "f32"})
    tensors = load_file(out)
    names = {f"logits.{index}" for index in range(len(sequences))}
    if set(tensors) != names:
        raise Failure(f"graft logits wrote {sorted(tensors)}, expected {sorted(names)}")
    return [tensors[f"logits.{index}"] for index in range(len(sequences))]


def largest_difference(actual, expected):
    """max |actual - expected| / max |expected| over all tensors of two lists."""
    for a, e in zip(actual, expected, strict=True):
        if a.shape != e.shape:
            raise Failure(f"logits have shape {tuple(a.shape)}, expected {tuple(e.shape)}")
    difference = max((a - e).abs().max().item() for a, e in zip(actual, expected))
    return difference / max(e.abs().max().item() for e in expected)


def expect_same_logits(actual, expected, notes, tolerance=LOGIT_TOLERANCE):
    """Fails where they differ by more than the tolerance; notes how close they are."""
    difference = largest_difference(actual, expected)
    if not difference <= tolerance:
        raise Failure(f"logits differ by {difference:.1e}, allowed is {tolerance:.0e}")
    notes.append(f"{difference:.1e} of {tolerance:.0e}")
