"""What the comparisons share: processes measured whole, and sides that take turns."""

import os
import platform
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Turn:
    """What one process measured: the seconds of each step, and what shows that it did the work."""

    seconds: list
    first_loss: float
    peak_bytes: int


@dataclass
class Result:
    """All turns of a side: the seconds of its counted steps, and the largest peak."""

    seconds: list
    peak_bytes: int


def smollm2():
    """The GGUF file of SmolLM2-135M, which tools/model downloads."""
    found = subprocess.run([ROOT / "tools" / "model"], stdout=subprocess.PIPE, text=True, check=True)
    return Path(found.stdout.splitlines()[-1])


def model_folder(graft, folder):
    """The same as a Hugging Face folder, which graft and transformers read."""
    model = folder / "model"
    command = [graft, "convert", "--from", smollm2(), "--to", "hf", "--out", model]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return model


def measured(command):
    """Runs a command; returns (its output, its largest resident size in bytes)."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{command[0]} ended with exit code {process.returncode}")
        output.seek(0)
        return output.read(), usage.ru_maxrss * 1024


def alternate(sides, turns, warm_up, loss_tolerance):
    """Lets each side run `turns` times, one after the other; {name: Result}. Steps before `warm_up`
    of a turn are not counted. Ends the program where the first losses disagree."""
    results = {name: Result([], 0) for name in sides}
    losses = {}
    for number in range(turns):
        for name, run in sides.items():
            turn = run()
            counted = turn.seconds[warm_up:]
            results[name].seconds += counted
            results[name].peak_bytes = max(results[name].peak_bytes, turn.peak_bytes)
            losses[name] = turn.first_loss
            print(
                f"turn {number + 1} {name:6} median {statistics.median(counted):7.3f} s a step, "
                f"{min(counted):.3f} to {max(counted):.3f}; peak {turn.peak_bytes / 2**30:.2f} GiB; "
                f"first loss {turn.first_loss:.6f}",
                flush=True,
            )
    first, *others = losses.values()
    if any(abs(other - first) > loss_tolerance * abs(first) for other in others):
        raise SystemExit(f"the sides do not do the same work: their first losses are {losses}")
    return results


def machine():
    """What a result depends on besides its settings."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    commit = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "--short", "HEAD"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {"cpu": names[0] if names else platform.machine(), "commit": commit.stdout.strip()}
