"""graft replays the golden training runs through its command: losses, norms, rates, weights."""

import json
from pathlib import Path

from reporting import (
    GOLDEN,
    Failure,
    Report,
    model_folder,
    parse_options,
    run_graft,
    temporary_folder,
)
from safetensors.torch import load_file

# Relative. The runs themselves differ from f64 by 2e-7, 2e-6 and 4e-5 (f32_rounding in
# lora_runs.json).
TOLERANCES = {"loss": 1e-5, "grad_norm": 1e-4, "lr": 1e-9}
TENSOR_TOLERANCE = 1e-3  # relative norm
PATH_FLAGS = ("data", "adapter")


def replay_flags(options, run):
    """The flags of the golden run with the paths that hold here."""
    flags = {**run["flags"], "model": model_folder(options, run["flags"]["model"])}
    return flags | {name: GOLDEN / flags[name] for name in PATH_FLAGS if name in flags}


def compare_steps(log, expected):
    """{key: largest relative difference}; fails where one is above its tolerance."""
    steps = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    if len(steps) != len(expected):
        raise Failure(f"log.jsonl has {len(steps)} steps, expected {len(expected)}")
    largest = {}
    for key, tolerance in TOLERANCES.items():
        for index, (ours, theirs) in enumerate(zip(steps, expected)):
            size = abs(theirs[key]) or 1.0
            difference = abs(ours[key] - theirs[key]) / size
            largest[key] = max(difference, largest.get(key, 0.0))
            if not difference <= tolerance:
                raise Failure(f"step {index}: {key} is {ours[key]}, expected {theirs[key]}")
    return largest


def compare_tensors(actual, expected):
    """The largest relative norm of a difference; fails where it is above the tolerance."""
    ours, theirs = load_file(actual), load_file(expected)
    if ours.keys() != theirs.keys():
        raise Failure(f"tensors that only one side has: {sorted(ours.keys() ^ theirs.keys())}")
    largest = 0.0
    for name, value in theirs.items():
        difference = ((ours[name].float() - value).norm() / value.norm()).item()
        largest = max(largest, difference)
        if not difference <= TENSOR_TOLERANCE:
            raise Failure(f"{name} differs by {difference:.1e} of its norm")
    return largest


def check_run(options, run, notes):
    with temporary_folder() as scratch:
        out = Path(scratch) / "out"
        run_graft(options, "train", {**replay_flags(options, run), "out": out})
        largest = compare_steps(out / "log.jsonl", run["steps"])
        file = "adapter_model.safetensors" if "adapter" in run["flags"] else "model.safetensors"
        largest["tensor"] = compare_tensors(out / file, GOLDEN / run["final"] / file)
    notes.extend(f"{key} {difference:.1e}" for key, difference in largest.items())


def main():
    options = parse_options(__doc__)
    report = Report()
    for run in json.loads((GOLDEN / "lora_runs.json").read_text(encoding="utf-8"))["runs"]:
        with report.check(f"replay of {run['name']}") as notes:
            check_run(options, run, notes)
    report.finish()


if __name__ == "__main__":
    main()
