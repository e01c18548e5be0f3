"""Models that graft writes load in transformers with the logits of the models graft read."""

import json
import shutil
from pathlib import Path

from comparing import expect_same_logits, load_base, sample_ids, torch_logits
from reporting import GOLDEN, Report, parse_options, run_graft, temporary_folder

TOKENIZER = GOLDEN / "tokenizers" / "byte_level.json"
VOCABULARY = 60  # of the ids that are tried


def write_model(case, folder):
    """The folder of a case of families.json, with a tokenizer, which graft convert wants."""
    folder.mkdir()
    shutil.copy(GOLDEN / case["model"] / "model.safetensors", folder)
    shutil.copy(TOKENIZER, folder / "tokenizer.json")
    (folder / "config.json").write_text(json.dumps(case["config"]), encoding="utf-8")
    return folder


def main():
    options = parse_options(__doc__)
    report = Report()
    cases = json.loads((GOLDEN / "families.json").read_text(encoding="utf-8"))["cases"]
    sequences = sample_ids(VOCABULARY)
    for case in cases:
        with report.check(f"transformers loads what graft wrote: {case['name']}") as notes:
            with temporary_folder() as scratch:
                model = write_model(case, Path(scratch) / "model")
                out = Path(scratch) / "out"
                run_graft(options, "convert", {"from": model, "to": "hf", "out": out})
                expected = torch_logits(load_base(model), sequences)
                expect_same_logits(torch_logits(load_base(out), sequences), expected, notes)
    report.finish()


if __name__ == "__main__":
    main()
