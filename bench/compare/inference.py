"""graft generate and its peers on the same prompt: until the first token, prompt and new tokens a second.

    build/reference/bin/python bench/compare/inference.py
    build/reference/bin/python bench/compare/inference.py --quant nf4 --dtype bf16
    build/reference/bin/python bench/compare/inference.py --peer llama.cpp --quant nf4 --dtype bf16

SmolLM2-135M (tools/model), greedy, one prompt at a time. The peer is transformers, with bitsandbytes
where the weights have 4 bits, or llama.cpp with the Q4_1 file of the model. Prints one line a turn,
and at the end a JSON object with the medians and their ratios.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from turns import machine, measured, model_folder, smollm2

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORD = " history"  # one token of SmolLM2


@dataclass
class Turn:
    first_token_seconds: float  # of a process that answers a prompt of a few tokens with one
    prompt_rate: float
    rate: float
    peak_bytes: int
    text: str


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", choices=["transformers", "llama.cpp"], default="transformers")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--quant", choices=["none", "nf4"], default="none")
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--turns", type=int, default=5, help="of each side")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--graft", type=Path, default=ROOT / "build" / "release" / "graft")
    options = parser.parse_args()
    if options.peer == "llama.cpp" and options.quant == "none":
        parser.error("llama.cpp reads the model in 4 bits: add --quant nf4")
    return options


def graft_answer(options, model, prompt, new_tokens):
    command = [
        options.graft, "generate", "--model", model, "--raw", "--prompt", prompt, "--json",
        "--max-new-tokens", new_tokens, "--threads", options.threads,
        "--dtype", options.dtype, "--quant", options.quant,
    ]  # fmt: skip
    output, peak = measured(command)
    return json.loads(output), peak


def peer_answer(options, model, prompt, new_tokens):
    script = {"transformers": "transformers_inference.py", "llama.cpp": "llama_cpp_inference.py"}
    command = [
        sys.executable, HERE / script[options.peer], "--model", model, "--prompt", prompt,
        "--new-tokens", new_tokens, "--threads", options.threads,
        "--dtype", options.dtype, "--quant", options.quant,
    ]  # fmt: skip
    output, peak = measured(command)
    return json.loads(output.splitlines()[-1]), peak


def turn(answer, options, model, prompt):
    start = time.perf_counter()
    answer(options, model, "Once upon a time", 1)
    first_token_seconds = time.perf_counter() - start
    result, peak = answer(options, model, prompt, options.new_tokens)
    if result["prompt_tokens"] != options.prompt_tokens:
        raise SystemExit(f"the prompt has {result['prompt_tokens']} tokens")
    return Turn(
        first_token_seconds,
        result["prompt_tokens_per_second"],
        result["tokens_per_second"],
        peak,
        result["text"],
    )


def medians(turns):
    return {
        "first_token_seconds": statistics.median(turn.first_token_seconds for turn in turns),
        "prompt_tokens_per_second": statistics.median(turn.prompt_rate for turn in turns),
        "tokens_per_second": statistics.median(turn.rate for turn in turns),
        "peak_bytes": max(turn.peak_bytes for turn in turns),
    }


def main():
    options = parse_options()
    prompt = "The" + WORD * (options.prompt_tokens - 1)
    with tempfile.TemporaryDirectory() as scratch:
        graft_model = model_folder(options.graft, Path(scratch))
        peer_model = smollm2() if options.peer == "llama.cpp" else graft_model
        sides = {"graft": (graft_answer, graft_model), "peer": (peer_answer, peer_model)}
        turns = {name: [] for name in sides}
        for number in range(options.turns):
            for name, (answer, model) in sides.items():
                one = turn(answer, options, model, prompt)
                turns[name].append(one)
                print(
                    f"turn {number + 1} {name:5} first token {one.first_token_seconds:6.2f} s; "
                    f"prompt {one.prompt_rate:7.1f}, new {one.rate:6.1f} tokens/s; "
                    f"peak {one.peak_bytes / 2**30:.2f} GiB",
                    flush=True,
                )
    graft, peer = medians(turns["graft"]), medians(turns["peer"])
    same = turns["graft"][0].text == turns["peer"][0].text
    if options.dtype == "f32" and options.quant == "none" and not same:
        raise SystemExit("the sides do not do the same work: their texts differ")
    print(json.dumps({
        "settings": {key: value for key, value in vars(options).items() if key != "graft"},
        **machine(),
        "graft": graft,
        "peer": peer,
        "ratios": {
            "first_token": peer["first_token_seconds"] / graft["first_token_seconds"],
            "prompt": graft["prompt_tokens_per_second"] / peer["prompt_tokens_per_second"],
            "new_tokens": graft["tokens_per_second"] / peer["tokens_per_second"],
            "memory": graft["peak_bytes"] / peer["peak_bytes"],
        },
    }, indent=2))  # fmt: skip


if __name__ == "__main__":
    main()
