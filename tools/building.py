"""What tools/test, fuzz and quickstart share: setting up, building, getting the model."""

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
    # The assertions see what AddressSanitizer cannot: behind the end of a mapped file are zeros.
    "-Dcpp_args=['-fno-sanitize-recover=all', '-D_GLIBCXX_ASSERTIONS']",
]
CLANG = {"CXX": "clang++-19"}
# Kind of build -> options of tools/setup, options of Meson, environment. Each has its own folder.
KINDS = {
    "release": ([], [], {}),
    "sanitize": (["--sanitize"], SANITIZERS, CLANG),
    "fuzz": (
        ["--sanitize"],
        [*SANITIZERS, "-Dfuzz=true", "-Dtests=false", "-Dexamples=false", "-Dbenchmarks=disabled"],
        CLANG,
    ),
}


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


def build(targets=(), kind="release", reference=False):
    """Installs what is missing, builds the targets, by default all; returns the build folder."""
    needed, options, environment = KINDS[kind]
    step(ROOT / "tools" / "setup", *needed, *["--reference"] * reference)
    folder = ROOT / "build" / kind
    if not (folder / "build.ninja").exists():
        step(MESON, "setup", *options, folder, ROOT, **environment)
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
