"""graft train and PEFT on the same training steps: time per step and peak memory, turn by turn.

    build/reference/bin/python bench/compare/training.py
    build/reference/bin/python bench/compare/training.py --quant nf4 --dtype bf16 --checkpointing

SmolLM2-135M (tools/model) with LoRA of rank 16 on all linear layers, on batches of random tokens.
Prints one line a turn, and at the end a JSON object with the medians and their ratios.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from pathlib import Path

from turns import Turn, alternate, machine, measured, model_folder

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
VOCABULARY = 49152  # of SmolLM2
# Of the first step's loss between both: f32 differs by rounding alone, bf16 keeps 8 bits.
LOSS_TOLERANCE = {"f32": 1e-4, "bf16": 2e-2}


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--quant", choices=["none", "nf4"], default="none")
    parser.add_argument("--checkpointing", action="store_true", help="of activations, on both sides")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--length", type=int, default=512, help="tokens of a sample")
    parser.add_argument("--warm-up", type=int, default=4, help="steps of a turn not counted")
    parser.add_argument("--steps", type=int, default=5, help="steps of a turn that are counted")
    parser.add_argument("--turns", type=int, default=2, help="of each side")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--graft", type=Path, default=ROOT / "build" / "release" / "graft")
    return parser.parse_args()


def write_samples(path, options):
    """Random tokens: how long a step takes does not depend on what the text says."""
    draw = random.Random(0)
    count = options.batch_size * (options.warm_up + options.steps)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            ids = [draw.randrange(VOCABULARY) for _ in range(options.length)]
            file.write(json.dumps({"input_ids": ids, "labels": ids}) + "\n")


def graft_turn(options, model, samples, folder):
    out = folder / "run"
    command = [
        options.graft, "train", "--model", model, "--data", samples, "--out", out, "--overwrite",
        "--lora-r", 16, "--lora-alpha", 32, "--target-modules", "all-linear",
        "--learning-rate", 1e-4, "--lr-schedule", "constant", "--max-grad-norm", 1,
        "--batch-size", options.batch_size, "--max-seq-len", options.length, "--no-shuffle",
        "--max-steps", options.warm_up + options.steps, "--threads", options.threads,
        "--dtype", options.dtype, "--quant", options.quant,
    ]  # fmt: skip
    command += ["--gradient-checkpointing"] * options.checkpointing
    _, peak = measured(command)
    lines = (out / "log.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [record for record in map(json.loads, lines) if "loss" in record]
    tokens = options.batch_size * options.length
    return Turn([tokens / step["tokens_per_second"] for step in steps], steps[0]["loss"], peak)


def peft_turn(options, model, samples):
    command = [
        sys.executable, HERE / "peft_training.py", "--model", model, "--data", samples,
        "--batch-size", options.batch_size, "--threads", options.threads,
        "--dtype", options.dtype, "--quant", options.quant,
    ]  # fmt: skip
    command += ["--checkpointing"] * options.checkpointing
    output, peak = measured(command)
    result = json.loads(output.splitlines()[-1])
    return Turn(result["seconds"], result["losses"][0], peak)


def main():
    options = parse_options()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = model_folder(options.graft, folder)
        samples = folder / "samples.jsonl"
        write_samples(samples, options)
        sides = {
            "graft": lambda: graft_turn(options, model, samples, folder),
            "peft": lambda: peft_turn(options, model, samples),
        }
        results = alternate(sides, options.turns, options.warm_up, LOSS_TOLERANCE[options.dtype])
    graft, peft = results["graft"], results["peft"]
    tokens = options.batch_size * options.length
    settings = {key: value for key, value in vars(options).items() if key != "graft"}
    print(json.dumps({
        "settings": settings,
        **machine(),
        "graft_tokens_per_second": tokens / statistics.median(graft.seconds),
        "peft_tokens_per_second": tokens / statistics.median(peft.seconds),
        "speed_ratio": statistics.median(peft.seconds) / statistics.median(graft.seconds),
        "graft_peak_bytes": graft.peak_bytes,
        "peft_peak_bytes": peft.peak_bytes,
        "memory_ratio": graft.peak_bytes / peft.peak_bytes,
    }, indent=2))  # fmt: skip


if __name__ == "__main__":
    main()
