"""What PEFT's EVA makes of small models: ranks, scalings and A of each layer.

See README.md for the files, tensors and keys.
"""

from recording import start, versions, write_json, write_tensors

start(__doc__)

import warnings  # noqa: E402

import torch  # noqa: E402
from adapting import load_base  # noqa: E402
from peft import (  # noqa: E402
    EvaConfig,
    LoraConfig,
    get_peft_model,
    initialize_lora_eva_weights,
)

SEED = 212
BATCHES, ROWS, LENGTH, VOCABULARY = 5, 6, 13, 18
GQA, UNTIED, GPT2 = "models/gqa", "models/untied", "families/gpt2"
QKV = ["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"]
# Twice rho times the rank is the size of the inputs: torch.svd_lowrank is exact then.
LORA = {"r": 8, "lora_alpha": 8, "target_modules": QKV, "task_type": "CAUSAL_LM"}
# name: (base model, what differs from LoraConfig's defaults, what does from EvaConfig's)
CASES = {
    "plain": (GQA, LORA, {}),
    # PEFT whitens in place, once for each of the layers with the same input: one of them only.
    "white": (
        UNTIED,
        {**LORA, "lora_alpha": 12, "target_modules": ["q_proj", "up_proj"]},
        {"whiten": True, "tau": 0.999},
    ),
    "unscaled": (UNTIED, {**LORA, "use_rslora": True}, {"adjust_scaling_factors": False}),
    "all_tokens": (
        GQA,
        {**LORA, "r": 4, "rank_pattern": {"k_proj": 3}, "target_modules": [*QKV[:4], "lm_head"]},
        {"rho": 3.9, "use_label_mask": False},
    ),
    "same_ranks": (UNTIED, {**LORA, "r": 16, "target_modules": QKV[:3]}, {"rho": 1.0}),
    "gpt2": (GPT2, {**LORA, "target_modules": ["c_attn"], "fan_in_fan_out": True}, {}),
}


def batches():
    """Few ids, some of them rare: the first block needs fewer directions than the second."""
    generator = torch.Generator().manual_seed(SEED)
    made = []
    for _ in range(BATCHES):
        ids = (torch.rand((ROWS, LENGTH), generator=generator) ** 2 * VOCABULARY).long()
        labels = ids.clone()
        labels[:, :4] = -100
        made.append({"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels})
    return made


def run(base, changes, settings):
    config = LoraConfig(init_lora_weights="eva", eva_config=EvaConfig(**settings), **changes)
    torch.manual_seed(SEED)
    adapted = get_peft_model(load_base(base), config)
    initialize_lora_eva_weights(adapted, batches(), show_progress_bar=False)
    made = adapted.peft_config["default"]
    tensors = {
        name.replace("base_model.model.", "").replace(".lora_A.default.weight", ""): value.clone()
        for name, value in adapted.state_dict().items()
        if "lora_A.default" in name
    }
    return made, tensors


def main():
    warnings.simplefilter("ignore")
    cases, tensors = [], {}
    for name, (base, changes, settings) in CASES.items():
        made, directions = run(base, changes, settings)
        cases.append(
            {
                "name": name,
                "base": base,
                "config": changes,
                "eva_config": settings,
                "target_modules": sorted(made.target_modules),
                "rank_pattern": made.rank_pattern,
                "alpha_pattern": made.alpha_pattern,
                "ranks": {path: a.shape[0] for path, a in directions.items()},
            }
        )
        tensors |= {
            f"{name}.{path}": a
            for path, a in directions.items()
            if ".0." in path or path == "lm_head"  # to keep the file small
        }
    made = batches()
    tensors["input_ids"] = torch.stack([batch["input_ids"] for batch in made])
    tensors["labels"] = torch.stack([batch["labels"] for batch in made])
    write_tensors("eva.safetensors", tensors)
    write_json(
        "eva.json",
        {"versions": versions("torch", "transformers", "peft"), "seed": SEED, "cases": cases},
    )


if __name__ == "__main__":
    main()
