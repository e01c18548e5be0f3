"""Adapter folders exactly as PEFT saves them, and the logits of the model with each adapter active.

See README.md for the files, tensors and keys.
"""

import shutil
from pathlib import Path

from recording import start, versions, write_json, write_tensors

start(__doc__)

import torch  # noqa: E402
from adapting import load_base, perturb  # noqa: E402
from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402
from peft.tuners.lora.layer import LoraLayer  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

SEED = 31
LENGTH = 12
SETTINGS = {"r": "r", "alpha": "lora_alpha", "scaling": "scaling"}
ROOT = Path("peft_files")
MODEL_CARDS = ["default", "no_task_type"]  # the card depends on the base and the task type only
CAUSAL_LM = {"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM"}
ALL_QV = {**CAUSAL_LM, "target_modules": ["q_proj", "v_proj"]}
# name: (base model, what differs from LoraConfig's defaults)
ADAPTERS = {
    "default": ("models/gqa", {"task_type": "CAUSAL_LM"}),
    "no_task_type": ("models/gqa", {}),
    "q_v": ("models/gqa", ALL_QV),
    "all_linear": ("models/gqa", {**CAUSAL_LM, "target_modules": "all-linear"}),
    "regex": ("models/odd", {**CAUSAL_LM, "target_modules": r".*\.(q_proj|down_proj)"}),
    "rslora": ("models/gqa", {**ALL_QV, "use_rslora": True}),
    "patterns": (
        "models/gqa",
        {
            **CAUSAL_LM,
            "target_modules": ["q_proj", "v_proj", "up_proj"],
            "rank_pattern": {"v_proj": 2, "layers.1.mlp.up_proj": 6},
            "alpha_pattern": {r"layers\.0\..*": 16, "up_proj": 3},
        },
    ),
    "patterns_rslora": (
        "models/gqa",
        {
            **ALL_QV,
            "use_rslora": True,
            "rank_pattern": {"v_proj": 2},
            "alpha_pattern": {"q_proj": 5},
        },
    ),
    "layers_to_transform": ("models/gqa", {**ALL_QV, "layers_to_transform": [1]}),
    "exclude_modules": (
        "models/gqa",
        {**CAUSAL_LM, "target_modules": r".*_proj", "exclude_modules": r".*layers\.0\.mlp.*"},
    ),
    "dropout": ("models/gqa", {**ALL_QV, "lora_dropout": 0.25}),
    "gaussian": ("models/gqa", {**ALL_QV, "init_lora_weights": "gaussian"}),
    "fractional_alpha": ("models/gqa", {**ALL_QV, "r": 3, "lora_alpha": 1.5}),
    "lm_head_untied": ("models/untied", {**CAUSAL_LM, "target_modules": ["lm_head", "o_proj"]}),
    "lm_head_tied": ("models/gqa", {**CAUSAL_LM, "target_modules": ["lm_head", "o_proj"]}),
    "embedding": ("models/untied", {**CAUSAL_LM, "target_modules": ["embed_tokens", "q_proj"]}),
    "modules_to_save": ("models/untied", {**ALL_QV, "modules_to_save": ["lm_head"]}),
    "bias_all": ("models/biases", {**ALL_QV, "bias": "all"}),
    "bias_lora_only": ("models/biases", {**ALL_QV, "bias": "lora_only"}),
    "lora_bias": ("models/biases", {**ALL_QV, "lora_bias": True}),
    "dora": ("models/gqa", {**ALL_QV, "use_dora": True}),
}


def layer_settings(model):
    """{path: {"r", "alpha", "scaling"}} of every adapted layer."""
    return {
        path: {key: getattr(layer, attribute)["default"] for key, attribute in SETTINGS.items()}
        for path, layer in model.base_model.model.named_modules()
        if isinstance(layer, LoraLayer)
    }


def make_adapter(name, ids, seed):
    """Saves one adapter folder; returns (record for peft_files.json, logits)."""
    base, changes = ADAPTERS[name]
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(seed)
    model = get_peft_model(load_base(base), LoraConfig(**changes)).eval()
    perturb(model, seed)
    trainable, total = model.get_nb_trainable_parameters()
    model.save_pretrained(folder)
    if name not in MODEL_CARDS:
        (folder / "README.md").unlink()
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0]
        plain = load_base(base)(input_ids=ids).logits[0]
        loaded = PeftModel.from_pretrained(load_base(base), folder).eval()(input_ids=ids).logits[0]
    assert torch.equal(logits, loaded), name
    stored = load_file(folder / "adapter_model.safetensors")
    record = {
        "name": name,
        "folder": str(folder),
        "base": base,
        "config": changes,
        "trainable_parameters": trainable,
        "all_parameters": total,
        "effect": ((logits - plain).abs().max() / plain.abs().max()).item(),
        "layers": layer_settings(model),
        "tensors": {key: list(stored[key].shape) for key in sorted(stored)},
    }
    return record, logits


def main():
    ids = torch.randint(3, 96, (1, LENGTH), generator=torch.Generator().manual_seed(SEED))
    made = [make_adapter(name, ids, SEED + 1 + index) for index, name in enumerate(ADAPTERS)]
    logits = {f"{record['name']}.logits": values for record, values in made}
    write_tensors("peft_files.safetensors", {"input_ids": ids[0], **logits})
    write_json(
        "peft_files.json",
        {
            "versions": versions("torch", "transformers", "peft", "safetensors"),
            "seed": SEED,
            "adapters": [record for record, _ in made],
        },
    )


if __name__ == "__main__":
    main()
