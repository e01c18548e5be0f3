"""Makes the golden files again in a temporary folder and compares them with the committed ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from reporting import (
    GOLDEN,
    Failure,
    Report,
    Skip,
    parse_options,
    require_smollm2,
    temporary_folder,
)
from safetensors.torch import load_file

# Others read what these make, the models before the adapters.
FIRST = [
    "make_models.py",
    "make_families.py",
    "make_lora_runs.py",
    "make_qlora.py",
    "make_peft_files.py",
    "make_peft_parts.py",
    "make_peft_variants.py",
]
# Relative to the largest number of a tensor. Torch picks its kernels by the processor, so sums may
# be rounded differently: the golden logits are 2e-6 exact.
TENSOR_TOLERANCE = 2e-5
# Of what is made of singular vectors: rounding turns them, the more the nearer their values are; two
# processors are 4e-5 apart.
DECOMPOSED_TOLERANCE = 2e-4
# Relative norm of a tensor after twenty training steps; the runs are 4e-5 exact.
TRAINED_TOLERANCE = 1e-3
NUMBER_TOLERANCE = 1e-4  # of a number in a JSON file: gradient norms need it, losses a tenth of it
# Numbers that are differences or rounding errors themselves: (allowed relative, allowed absolute).
SPECIAL_NUMBERS = {"f32_rounding": (0.0, 1e-4), "smallest_margin": (0.05, 0.0)}
SHOWN = 5  # differences of a file


def close(actual, expected, relative=NUMBER_TOLERANCE, absolute=1e-9):
    return abs(actual - expected) <= relative * abs(expected) + absolute


def json_differences(actual, expected, path="", tolerance=()):
    """Yields "path: actual, expected" for everything that differs beyond its tolerance."""
    key = path.rsplit(".", 1)[-1]
    tolerance = SPECIAL_NUMBERS.get(key, tolerance)
    if key == "versions":
        actual, expected = ({**value, "python": ""} for value in (actual, expected))
    if isinstance(actual, dict) and isinstance(expected, dict) and actual.keys() == expected.keys():
        for name, value in expected.items():
            yield from json_differences(actual[name], value, f"{path}.{name}", tolerance)
    elif isinstance(actual, list) and isinstance(expected, list) and len(actual) == len(expected):
        if key == "target_modules":  # a set in PEFT: its order means nothing
            actual, expected = sorted(actual), sorted(expected)
        for index, pair in enumerate(zip(actual, expected)):
            yield from json_differences(*pair, f"{path}[{index}]", tolerance)
    elif isinstance(actual, float) and isinstance(expected, float):
        if not close(actual, expected, *tolerance):
            yield f"{path} is {actual}, committed is {expected}"
    elif actual != expected or type(actual) is not type(expected):
        yield f"{path} is {actual!r:.80}, committed is {expected!r:.80}"


def tensor_difference(actual, expected, trained, decomposed):
    """(difference, allowed) of two tensors."""
    if not expected.is_floating_point() or expected.numel() == 0:
        return float(not actual.equal(expected)), 0.0
    # Where sums differ in their last bits, numbers of 16 bits may be neighbours.
    rounding = torch.finfo(expected.dtype).eps if expected.dtype.itemsize == 2 else 0.0
    actual, expected = actual.double(), expected.double()
    if trained:
        return ((actual - expected).norm() / expected.norm()).item(), TRAINED_TOLERANCE
    size = expected.abs().max().item() or 1.0
    allowed = DECOMPOSED_TOLERANCE if decomposed else TENSOR_TOLERANCE
    allowed = max(allowed, rounding)
    return (actual - expected).abs().max().item() / size, allowed


def comparable(name, tensor):
    """A tensor without what rounding alone decides: moving all keys by a constant changes no
    attention, so the gradient of GPT-2's key bias is noise, which AdamW makes whole steps of."""
    if not name.endswith(("c_attn.bias", "c_attn.base_layer.bias")):
        return tensor
    query, _, value = tensor.chunk(3)
    return torch.cat([query, value])


def tensor_differences(actual_path, expected_path):
    actual, expected = load_file(actual_path), load_file(expected_path)
    if actual.keys() != expected.keys():
        yield f"tensors that only one side has: {sorted(actual.keys() ^ expected.keys())}"
        return
    for name, value in expected.items():
        # Rotated keys that all move alike change attention a little: the gradient of their bias is
        # small beside its parts, and AdamW makes whole steps of it.
        trained = expected_path.parent.name == "final" or name.endswith("k_proj.bias")
        if (actual[name].shape, actual[name].dtype) != (value.shape, value.dtype):
            yield f"{name} has another shape or dtype"
            continue
        decomposed = "pissa" in f"{expected_path.parent.name}/{name}"
        difference, allowed = tensor_difference(
            comparable(name, actual[name]), comparable(name, value), trained, decomposed
        )
        if not difference <= allowed:
            yield f"{name} differs by {difference:.1e}, allowed is {allowed:.0e}"


def differences(actual, expected):
    """What differs between a file made now and the committed one."""
    if actual.read_bytes() == expected.read_bytes():
        return []
    if expected.suffix == ".json":
        ours, theirs = (json.loads(path.read_text(encoding="utf-8")) for path in (actual, expected))
        return list(json_differences(ours, theirs))
    if expected.suffix == ".safetensors":
        return list(tensor_differences(actual, expected))
    return ["the bytes differ"]


def files_in(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def committed_files():
    """The golden files: all that is not a script of this folder or its README."""
    files = {path for path in files_in(GOLDEN) if "__pycache__" not in path.parts}
    return {path for path in files if path.suffix != ".py" and path != Path("README.md")}


def scripts():
    """The scripts that write golden files, those that others depend on first."""
    others = {path.name for path in GOLDEN.glob("make_*.py")} - set(FIRST)
    return [*FIRST, *sorted(others)]


def reads_model(name):
    return "model_file" in (GOLDEN / name).read_text(encoding="utf-8")


def run_without_model(name, folder):
    """Fails unless the script refuses to run without SmolLM2's file and writes nothing."""
    environment = {key: os.environ[key] for key in os.environ if key != "GRAFT_SMOLLM2_GGUF"}
    done = subprocess.run(
        [sys.executable, str(GOLDEN / name), "--out", str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 2 or "--model-file" not in done.stderr:
        raise Failure(f"{name}: exit code {done.returncode}, stderr {done.stderr[-500:]!r}")
    if folder.exists():
        raise Failure(f"{name} wrote into {folder}")


def run_script(options, name, folder):
    """Runs one script into `folder`; returns the files it made."""
    if reads_model(name):
        require_smollm2(options)
    if not options.data.exists():
        raise Skip(f"{options.data} is missing")
    before = files_in(folder)
    command = [sys.executable, "-W", "ignore", GOLDEN / name, "--out", folder]
    command += ["--data", options.data]
    if options.model_file is not None:
        command += ["--model-file", options.model_file]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Failure(f"exit code {done.returncode}:\n{done.stderr[-3000:]}")
    return files_in(folder) - before


def compare_made(made, folder):
    """Fails where a made file is not committed or differs from the committed one."""
    problems = []
    for path in sorted(made):
        if not (GOLDEN / path).exists():
            problems.append(f"{path} is not committed")
            continue
        found = differences(folder / path, GOLDEN / path)
        problems += [f"{path}: {difference}" for difference in found[:SHOWN]]
        if len(found) > SHOWN:
            problems.append(f"{path}: and {len(found) - SHOWN} more differences")
    if problems:
        raise Failure("\n".join(["", *problems]))


def main():
    options = parse_options(__doc__)
    report = Report()
    with temporary_folder() as scratch:
        folder = Path(scratch)
        for name in scripts():
            with report.check(name) as notes:
                made = run_script(options, name, folder)
                compare_made(made, folder)
                notes.append(f"{len(made)} files agree")
        with report.check("scripts that read SmolLM2 do not run without it"):
            for name in filter(reads_model, scripts()):
                run_without_model(name, folder / "without_model")
        with report.check("every committed file is made by a script"):
            missing = sorted(str(path) for path in committed_files() - files_in(folder))
            if missing and report.skipped + report.failed:
                raise Skip(f"not all scripts could be run, {len(missing)} files were not made")
            if missing:
                raise Failure(f"no script makes {' '.join(missing)}")
    report.finish()


if __name__ == "__main__":
    main()
