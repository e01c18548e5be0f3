"""Models of every architecture that graft reads from GGUF files, beside what transformers answers;
adapters of make_peft_files.py as GGUF files."""

import json
import shutil
from pathlib import Path

from recording import start, versions, write_json, write_tensors

arguments = start(__doc__)

import torch  # noqa: E402
from families import REMOVED, new_rope  # noqa: E402
from gguf import GGMLQuantizationType  # noqa: E402
from gguf_conversion import write_gguf, write_gguf_adapter  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

SEED = 77
ROOT = Path("gguf_models")
PART_TENSORS = {"llama3_other": 8}  # split into files of so many
LENGTH = 24  # more than the windows and the few positions
WINDOW, FEW_POSITIONS = 5, 12
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
FACTORS = {"short_factor": [1.0, 1.1, 1.5, 2.0], "long_factor": [1.0, 2.0, 5.0, 9.0]}
# name: (model of make_families.py, what its config.json says otherwise)
CASES = {
    "llama31": (
        "llama",
        new_rope("llama3", 500000.0, **LLAMA3, original_max_position_embeddings=8192),
    ),
    # Not the settings of any published model: they cannot be told from the factors.
    "llama3_other": (
        "llama",
        new_rope("llama3", 500000.0, **LLAMA3, original_max_position_embeddings=16),
    ),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {}),
    "gpt2": ("gpt2", {}),
    "phi3": (
        "phi3",
        {
            "sliding_window": 16,
            "original_max_position_embeddings": FEW_POSITIONS,
            "rope_parameters": REMOVED,
            "rope_theta": 10000.0,
            "rope_scaling": {"type": "longrope", **FACTORS},
        },
    ),
    # The file says nothing of query_pre_attn_scalar, and which layers have the window by count only.
    "gemma3": (
        "gemma3",
        {
            "query_pre_attn_scalar": 16,
            "sliding_window": WINDOW,
            "layer_types": ["sliding_attention"] * 3,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            },
        },
    ),
    "olmo2": ("olmo2", {}),
}


# name: (adapter, type of its matrices)
ADAPTERS = {
    "lora_f32": ("peft_files/all_linear", GGMLQuantizationType.F32),
    "lora_f16": ("peft_files/fractional_alpha", GGMLQuantizationType.F16),
    "lora_q8_0": ("peft_files/q_v", GGMLQuantizationType.Q8_0),
    "lora_embedding": ("peft_files/embedding", GGMLQuantizationType.F32),
}


def config_of(case):
    model, changes = CASES[case]
    config = json.loads((Path("families") / model / "config.json").read_text(encoding="utf-8"))
    config.pop("dtype")
    return {key: value for key, value in (config | changes).items() if value is not REMOVED}


@torch.no_grad()
def make_case(name, scratch, ids):
    folder = scratch / name
    folder.mkdir(parents=True)
    source = Path("families") / CASES[name][0]
    (folder / "config.json").write_text(json.dumps(config_of(name)), encoding="utf-8")
    shutil.copy(source / "model.safetensors", folder / "model.safetensors")
    tensors = load_file(source / "model.safetensors")
    part_tensors = PART_TENSORS.get(name, 0)
    write_gguf(ROOT / f"{name}.gguf", folder, tensors, GGMLQuantizationType.BF16, part_tensors)
    file = min(ROOT.glob(f"{name}[.-]*"))
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    record = {
        "name": name,
        "file": str(file),
        "model": str(source),
        "config": config_of(name),
    }
    return record, model(input_ids=ids).logits[0]


def make_adapter(name):
    source, type = ADAPTERS[name]
    adapter = json.loads((Path(source) / "adapter_config.json").read_text(encoding="utf-8"))
    base = adapter["base_model_name_or_path"]
    file = ROOT / f"{name}.gguf"
    tensors = load_file(Path(source) / "adapter_model.safetensors")
    pairs = {key: value for key, value in tensors.items() if ".lora_" in key}
    write_gguf_adapter(file, base, adapter, pairs, type)
    return {"name": name, "file": str(file), "adapter": source, "base": base, "type": type.name}


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.mkdir()
    scratch = Path("gguf_models_scratch")
    ids = torch.randint(3, 61, (1, LENGTH), generator=torch.Generator().manual_seed(SEED))
    records, tensors = [], {"input_ids": ids}
    for name in CASES:
        record, tensors[f"{name}.logits"] = make_case(name, scratch, ids)
        records.append(record)
    shutil.rmtree(scratch)
    write_tensors("gguf_models.safetensors", tensors)
    write_json(
        "gguf_models.json",
        {
            "versions": versions("torch", "transformers", "gguf"),
            "seed": SEED,
            "cases": records,
            "adapters": [make_adapter(name) for name in ADAPTERS],
        },
    )


main()
