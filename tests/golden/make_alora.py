"""Adapters of PEFT's that are invoked by tokens (aLoRA): their logits, and what they generate.

See README.md for the files, tensors and keys.
"""

from recording import start, versions, write_json, write_tensors

start(__doc__)

import shutil  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402

import torch  # noqa: E402
from adapting import load_base, perturb  # noqa: E402
from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402

SEED = 241
BASE = "models/gqa"
NEW_TOKENS = 10
LORA = {"r": 2, "lora_alpha": 8, "task_type": "CAUSAL_LM"}
QKVO = ["q_proj", "k_proj", "v_proj", "o_proj"]
# name: what differs from LoraConfig's defaults
ADAPTERS = {
    "three": {**LORA, "target_modules": QKVO, "alora_invocation_tokens": [5, 6, 7]},
    "one": {**LORA, "target_modules": ["q_proj", "down_proj"], "alora_invocation_tokens": [9]},
    "plain": {**LORA, "target_modules": ["v_proj", "up_proj"]},
    "parts": {
        **LORA,
        "target_modules": ["v_proj", "up_proj"],
        "alora_invocation_tokens": [22, 57],
        "lora_bias": True,
        "trainable_token_indices": [31],
    },
}
TEXTS = [
    [20, 31, 5, 6, 40, 6, 7, 22, 57, 13],  # neither "three" nor "one"
    [20, 31, 9, 40, 5, 6, 7, 22, 57, 13],  # both once
    [5, 6, 7, 9, 31, 5, 6, 7, 9, 13],  # both twice
    [20, 31, 9, 40, 22, 57, 13, 5, 6, 7],  # "three" at the very end
]
PROMPTS = [text[index:] for index, text in enumerate(TEXTS)]  # of different lengths
MIXED = ["three", "one", "__base__", "plain"]


def make_adapters():
    for index, (name, changes) in enumerate(ADAPTERS.items()):
        folder = Path("alora") / name
        shutil.rmtree(folder, ignore_errors=True)
        torch.manual_seed(SEED + index)
        model = get_peft_model(load_base(BASE), LoraConfig(**changes))
        perturb(model, SEED + index)
        model.save_pretrained(folder)
        (folder / "README.md").unlink()


def load(names):
    model = PeftModel.from_pretrained(load_base(BASE), f"alora/{names[0]}", names[0])
    for name in names[1:]:
        model.load_adapter(f"alora/{name}", name)
    return model.eval()


def continued(model, **options):
    """What follows each prompt, all in one batch that is padded on the left."""
    model.generation_config.eos_token_id = None
    longest = max(len(prompt) for prompt in PROMPTS)
    missing = [longest - len(prompt) for prompt in PROMPTS]
    made = model.generate(
        input_ids=torch.tensor([[0] * count + row for count, row in zip(missing, PROMPTS)]),
        attention_mask=torch.tensor([[0] * n + [1] * (longest - n) for n in missing]),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        pad_token_id=0,
        **options,
    )
    return made[:, longest:].tolist()


def main():
    warnings.simplefilter("ignore")
    make_adapters()
    ids = torch.tensor(TEXTS)
    tensors, generated = {"input_ids": ids}, {}
    with torch.no_grad():
        for name in ("three", "one", "parts"):
            model = load([name])
            tensors[name] = model(input_ids=ids).logits
            generated[name] = continued(model)
        model = load(["three", "one", "plain"])
        tensors["mixed"] = model(input_ids=ids, adapter_names=MIXED).logits
        generated["mixed"] = continued(model, adapter_names=MIXED)
    write_tensors("alora.safetensors", tensors)
    write_json(
        "alora.json",
        {
            "versions": versions("torch", "transformers", "peft"),
            "seed": SEED,
            "base": BASE,
            "prompts": PROMPTS,
            "mixed": MIXED,
            "generated": generated,
        },
    )


if __name__ == "__main__":
    main()
