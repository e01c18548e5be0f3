"""What the check_*.py scripts share: the command line, running graft, counting and reporting.

Each check prints one line, "[ok]", "[FAIL]" or "[skip]" and its name. The last line of a script is
"reference: N passed, M failed, K skipped"; the exit code is 1 where anything failed.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
GRAFT_SECONDS = 900  # the longest call converts and loads SmolLM2
SHOWN_LINES = 20  # of what graft said before it failed


class Failure(Exception):
    """A check that does not hold; the message says what was seen and what was expected."""


class Skip(Exception):
    """A check that cannot be made here; the message says what is missing."""


def parse_options(description):
    """--graft, --data and --model-file; tools/test gives them through the environment."""
    parser = argparse.ArgumentParser(description=description)
    built = ROOT / "build" / "release" / "graft"
    data = ROOT.parent / "shared" / "data"
    parser.add_argument(
        "--graft",
        type=Path,
        default=os.environ.get("GRAFT_COMMAND", built),
        help="the command to check (default: $GRAFT_COMMAND)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("GRAFT_TEST_DATA", data),
        help="the folder with the real models (default: $GRAFT_TEST_DATA)",
    )
    parser.add_argument(
        "--model-file",
        type=Path,
        default=os.environ.get("GRAFT_SMOLLM2_GGUF") or None,
        help="SmolLM2-135M-Instruct as GGUF (default: $GRAFT_SMOLLM2_GGUF)",
    )
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    return options


class Report:
    """Counts and prints the checks of one script."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    @contextlib.contextmanager
    def check(self, name):
        """One check. Yields a list; what is appended to it is printed behind the name."""
        notes = []
        try:
            yield notes
        except Skip as reason:
            self.skipped += 1
            print(f"[skip] {name}: {reason}", flush=True)
        except Failure as reason:
            self.failed += 1
            print(f"[FAIL] {name}: {reason}", flush=True)
        except Exception:
            self.failed += 1
            print(f"[FAIL] {name}: {traceback.format_exc()}", flush=True)
        else:
            self.passed += 1
            print(f"[ok] {name}{': ' if notes else ''}{', '.join(notes)}", flush=True)

    def finish(self):
        """Prints the count and ends the script."""
        print(
            f"reference: {self.passed} passed, {self.failed} failed, {self.skipped} skipped",
            flush=True,
        )
        sys.exit(1 if self.failed else 0)


def run_graft(options, verb, flags):
    """Runs `graft VERB` with {flag: value}, returns its stdout. Fails where its exit code is not 0.

    True stands for a flag without a value, a list for a flag that is repeated.
    """
    if not options.graft.exists():
        raise Failure(f"{options.graft} does not exist; build the command or give --graft")
    command = [str(options.graft), verb]
    for name, value in flags.items():
        for each in value if isinstance(value, list) else [value]:
            command += [f"--{name}"] if each is True else [f"--{name}", str(each)]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=GRAFT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-SHOWN_LINES:])
        raise Failure(f"`{' '.join(command)}` ended with exit code {done.returncode}:\n{said}")
    return done.stdout


def model_folder(options, name):
    """A model of tests/golden ("models/gqa") or, where there is none, of the data folder."""
    for root in (GOLDEN, options.data):
        if (root / name / "config.json").exists():
            return root / name
    raise Skip(f"{options.data / name} is missing")


def require_smollm2(options):
    """Skips the running check where SmolLM2's GGUF file is missing."""
    if options.model_file is None or not options.model_file.exists():
        raise Skip("no SmolLM2: give --model-file or set GRAFT_SMOLLM2_GGUF")


def temporary_folder():
    """A folder that is removed when its `with` block ends."""
    return tempfile.TemporaryDirectory(prefix="graft-reference-")
