"""GGUF files of every architecture: graft's logits from the file, and transformers' from what
`graft convert` makes of it, are those of the Hugging Face folder it was written from."""

import json
import shutil
import sys
from pathlib import Path

from comparing import expect_same_logits, graft_logits, load_base, sample_ids, torch_logits
from reporting import GOLDEN, Report, parse_options, run_graft, temporary_folder
from safetensors.torch import load_file
from transformers import AutoTokenizer

sys.path.insert(0, str(GOLDEN))
from gguf_conversion import write_gguf  # noqa: E402

VOCABULARY = 60  # of the ids that are tried
# Those of families.json whose configuration a GGUF file can say.
FAMILIES = [
    "llama",
    "llama_old_theta",
    "llama_linear",
    "llama_llama3",
    "llama_yarn",
    "qwen2",
    "qwen2_yarn_old",
    "qwen2_odd",
    "mistral",
    "qwen3",
    "qwen3_biases",
    "gpt2",
    "phi3",
    "phi3_longrope",
    "phi3_odd",
    "olmo2",
    "olmo2_odd",
]


def write_model(case, folder):
    """The Hugging Face folder of a case and the GGUF file made from it."""
    folder.mkdir()
    shutil.copy(GOLDEN / case["model"] / "model.safetensors", folder)
    (folder / "config.json").write_text(json.dumps(case["config"]), encoding="utf-8")
    if "file" in case:
        return GOLDEN / case["file"]
    file = folder.parent / f"{case['name']}.gguf"
    write_gguf(file, folder, load_file(folder / "model.safetensors"))
    return file


def read_cases():
    cases = json.loads((GOLDEN / "families.json").read_text(encoding="utf-8"))["cases"]
    written = json.loads((GOLDEN / "gguf_models.json").read_text(encoding="utf-8"))["cases"]
    for case in written:
        case["name"] += " of the golden files"
    return [case for case in cases if case["name"] in FAMILIES] + written


def main():
    options = parse_options(__doc__)
    report = Report()
    sequences = sample_ids(VOCABULARY)
    for case in read_cases():
        with temporary_folder() as scratch:
            scratch = Path(scratch)
            folder, out = scratch / "hf", scratch / "out"
            expected = None
            with report.check(f"graft's logits from GGUF: {case['name']}") as notes:
                file = write_model(case, folder)
                expected = torch_logits(load_base(folder), sequences)
                actual = graft_logits(options, scratch, sequences, model=file)
                expect_same_logits(actual, expected, notes)
            if expected is not None:
                with report.check(f"transformers loads what was converted: {case['name']}") as notes:
                    run_graft(options, "convert", {"from": file, "to": "hf", "out": out})
                    expect_same_logits(torch_logits(load_base(out), sequences), expected, notes)
                    AutoTokenizer.from_pretrained(out)
    report.finish()


if __name__ == "__main__":
    main()
