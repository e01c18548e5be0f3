"""What tools/test and tools/quickstart share: setting up, building, getting the model."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MESON = ROOT / "build" / "venv" / "bin" / "meson"
SANITIZERS = [
    "-Db_sanitize=address,undefined",
    "-Db_lundef=false",
    "-Dbuildtype=debugoptimized",
    "-Doptimization=1",
    "-Dcpp_args=-fno-sanitize-recover=all",
]


class StepFailed(Exception):
    """A command that everything after it depends on did not succeed; its output was shown."""


def step(*command, **environment):
    """Runs a command without input, showing its output."""
    words = [str(word) for word in command]
    sys.stdout.flush()
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, env={**os.environ, **environment}, check=False
    )
    if done.returncode != 0:
        raise StepFailed(f"{' '.join(words)} ended with exit code {done.returncode}")


def build(targets=(), sanitize=False, reference=False):
    """Installs what is missing, builds the targets, by default all; returns the build folder."""
    step(ROOT / "tools" / "setup", *["--sanitize"] * sanitize, *["--reference"] * reference)
    folder = ROOT / "build" / ("sanitize" if sanitize else "release")
    if not (folder / "build.ninja").exists():
        compiler = {"CXX": "clang++-19"} if sanitize else {}
        step(MESON, "setup", *SANITIZERS * sanitize, folder, ROOT, **compiler)
    step("ninja", "-C", folder, *targets)
    return folder


def smollm2():
    """The path of SmolLM2-135M-Instruct, or None where it cannot be had."""
    done = subprocess.run(
        [ROOT / "tools" / "model"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.stdout.splitlines()[-1] if done.returncode == 0 else None
