"""What the make_*.py scripts share: the command line, the versions they print, how they write.

Every script works inside the output folder, so the paths it records (a base model's name in an
adapter_config.json, say) are relative to it and hold on every machine.
"""

import argparse
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
INPUTS = {"data": "GRAFT_TEST_DATA", "model_file": "GRAFT_SMOLLM2_GGUF"}  # and their variables


def start(description, reads=()):
    """Parses the command line, makes the run repeatable and enters the output folder.

    Returns the arguments. `reads` names those of "data" and "model_file" that the script reads: it
    ends with exit code 2 where one of them is missing, because a golden file made without it would
    lack a part silently. Those it does not name are accepted and cannot be read.
    PEFT writes target_modules in the order of a Python set, so the script starts itself again where
    the hash seed is not fixed.
    """
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=HERE, help="where the golden files go")
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("GRAFT_TEST_DATA", HERE.parents[2] / "shared" / "data"),
        help="the folder with the real models (default: $GRAFT_TEST_DATA)",
    )
    parser.add_argument(
        "--model-file",
        type=Path,
        default=os.environ.get("GRAFT_SMOLLM2_GGUF") or None,
        help="SmolLM2-135M-Instruct as GGUF (default: $GRAFT_SMOLLM2_GGUF)",
    )
    arguments = parser.parse_args()
    for name, variable in INPUTS.items():
        path = getattr(arguments, name)
        if name not in reads:
            delattr(arguments, name)
        elif path is None or not path.exists():
            flag = "--" + name.replace("_", "-")
            found = "which was not given" if path is None else f"but {path} does not exist"
            parser.error(f"this script reads {flag} (or ${variable}), {found}")
        else:
            setattr(arguments, name, path.resolve())
    arguments.out.mkdir(parents=True, exist_ok=True)
    os.chdir(arguments.out)
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    import transformers

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return arguments


def versions(*packages):
    """{"python": …, package: version} of the packages that made a file."""
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def write_json(path, value):
    """Writes `value` with one record a line where it fits, for readable differences."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(render(value) + "\n", encoding="utf-8")


def render(value, indent=0):
    """JSON text: what fits into 120 characters and every list of plain values stays on one line."""
    text = json.dumps(value, ensure_ascii=False)
    nested = isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value)
    if len(text) + 2 * indent <= 120 or not (nested or isinstance(value, dict)):
        return text
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {render(item, indent + 1)}" for key, item in value.items()]
    else:
        parts = [render(item, indent + 1) for item in value]
    begin, end = "{}" if isinstance(value, dict) else "[]"
    line = "\n" + "  " * indent
    return begin + ",".join(f"{line}  {part}" for part in parts) + line + end


def write_tensors(path, tensors):
    """Saves {name: tensor} as safetensors, contiguous and sorted by name."""
    from safetensors.torch import save_file

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensors[name].contiguous() for name in sorted(tensors)}, str(path))
