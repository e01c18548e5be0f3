"""Five training steps of adapters with PEFT's optimizers for LoRA: LoRA+ and LoRA-FA.

See README.md for the files, tensors and keys.
"""

import shutil
import warnings
from pathlib import Path

from recording import start, versions, write_json, write_tensors

start(__doc__)

import peft.optimizers.lorafa as lorafa  # noqa: E402
import torch  # noqa: E402
from adapting import batches, make_adapter  # noqa: E402
from peft.optimizers import create_lorafa_optimizer, create_loraplus_optimizer  # noqa: E402

SEED = 271
ROOT = Path("lora_optimizers")
UNTIED, BIASES, GPT2 = "models/untied", "models/biases", "families/gpt2"
LORA = {"r": 2, "lora_alpha": 8, "task_type": "CAUSAL_LM"}
Q = {**LORA, "target_modules": ["q_proj"]}
PLUS = {"kind": "loraplus", "lr": 2e-3, "loraplus_lr_ratio": 8.0, "loraplus_weight_decay": 0.1}
FA = {"kind": "lorafa", "lr": 1e-2, "weight_decay": 0.1}
# name: (base model, what differs from LoraConfig's defaults, optimizer)
RUNS = {
    "plus": (UNTIED, {**LORA, "target_modules": ["q_proj", "down_proj"]}, PLUS),
    "plus_embedding": (
        UNTIED,
        {**LORA, "target_modules": ["embed_tokens", "q_proj"], "modules_to_save": ["norm"]},
        {**PLUS, "loraplus_lr_embedding": 5e-3},
    ),
    "plus_biases": (BIASES, {**Q, "bias": "all", "lora_bias": True}, PLUS),
    "plus_gpt2": (
        GPT2,
        {**LORA, "target_modules": ["c_attn"], "modules_to_save": ["ln_f"], "bias": "lora_only"},
        PLUS,
    ),
    "plus_dora": (UNTIED, {**Q, "use_dora": True, "trainable_token_indices": [7, 50, 5]}, PLUS),
    "fa": (UNTIED, {**LORA, "target_modules": ["q_proj", "down_proj"]}, FA),
    "fa_patterns": (
        BIASES,
        {**LORA, "target_modules": ["q_proj", "v_proj"], "rank_pattern": {"v_proj": 3}},
        FA,
    ),
    "fa_others": (
        BIASES,
        {**Q, "use_rslora": True, "modules_to_save": ["norm"], "bias": "lora_only"},
        FA,
    ),
}


def optimizer_of(settings):
    """A function that makes the optimizer for a model."""
    settings = dict(settings)
    kind = settings.pop("kind")

    def make(model):
        if kind == "loraplus":
            return create_loraplus_optimizer(model, torch.optim.AdamW, **settings)
        config = model.peft_config["default"]
        return create_lorafa_optimizer(model, config.r, config.lora_alpha, **settings)

    return make


def main():
    warnings.simplefilter("ignore")
    # PEFT multiplies the gradient of B in bf16 where it can; in f32 the result can be compared.
    lorafa.is_bf16_available = lambda: False
    shutil.rmtree(ROOT, ignore_errors=True)
    steps = batches(SEED)
    tensors = {}
    records = []
    for index, (name, (base, changes, optimizer)) in enumerate(RUNS.items()):
        record, made = make_adapter(
            ROOT / name, base, changes, steps, SEED + index, optimizer_of(optimizer)
        )
        records.append(record | {"optimizer": optimizer})
        del made[f"{name}.logits"]
        tensors |= made
    tensors["input_ids"] = torch.stack([ids for ids, _ in steps])
    tensors["labels"] = torch.stack([labels for _, labels in steps])
    write_tensors("lora_optimizers.safetensors", tensors)
    write_json(
        "lora_optimizers.json",
        {
            "versions": versions("torch", "transformers", "peft", "safetensors"),
            "seed": SEED,
            "adapters": records,
        },
    )


if __name__ == "__main__":
    main()
