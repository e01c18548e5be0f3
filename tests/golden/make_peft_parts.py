"""Adapters with all that PEFT's LoRA can train, five training steps of each, and their logits.

See README.md for the files, tensors and keys.
"""

import shutil
import warnings
from pathlib import Path

from recording import start, versions, write_json, write_tensors

start(__doc__)

import torch  # noqa: E402
from adapting import load_base, perturb  # noqa: E402
from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

SEED = 71
STEPS, ROWS, LENGTH = 5, 3, 9
KEPT = 4  # positions whose logits are kept
ADAMW = {"lr": 1e-2, "weight_decay": 0.01}
ROOT = Path("peft_parts")
GQA, UNTIED, BIASES = "models/gqa", "models/untied", "models/biases"
GPT2, GEMMA = "families/gpt2", "families/gemma3"
LORA = {"r": 2, "lora_alpha": 8, "task_type": "CAUSAL_LM"}
Q = {**LORA, "target_modules": ["q_proj"]}
TIED = {"ensure_weight_tying": True}
IDS = [7, 50, 5]
VOCABULARY = 61  # of the smallest model
# name: (base model, what differs from LoraConfig's defaults)
ADAPTERS = {
    "embedding": (UNTIED, {**LORA, "target_modules": ["embed_tokens", "q_proj"]}),
    "embedding_pattern": (
        UNTIED,
        {
            **LORA,
            "target_modules": r".*embed_tokens",
            "lora_dropout": 0.5,  # embeddings have none
            "use_rslora": True,
            "rank_pattern": {"embed_tokens": 3},
            "alpha_pattern": {"embed_tokens": 5},
        },
    ),
    "both_of_tied": (GQA, {**LORA, "target_modules": ["embed_tokens", "lm_head"]}),
    "targets_tied": (GQA, {**LORA, **TIED, "target_modules": ["lm_head", "q_proj"]}),
    "targets_tied_regex": (GQA, {**LORA, **TIED, "target_modules": r".*(embed_tokens|v_proj)"}),
    "save_norms": (UNTIED, {**Q, "modules_to_save": ["norm"]}),
    "save_block": (UNTIED, {**Q, "modules_to_save": ["layers.1.self_attn"]}),
    "save_biases": (BIASES, {**Q, "modules_to_save": ["k_proj"], "bias": "lora_only"}),
    "save_head_of_tied": (GQA, {**Q, "modules_to_save": ["lm_head"]}),
    "save_tied": (GQA, {**Q, **TIED, "modules_to_save": ["lm_head"]}),
    "bias_all": (BIASES, {**Q, "bias": "all"}),
    "bias_lora_only": (BIASES, {**Q, "bias": "lora_only"}),
    "bias_without_any": (UNTIED, {**Q, "bias": "all"}),
    "lora_bias": (BIASES, {**Q, "lora_bias": True, "bias": "all"}),
    "lora_bias_alone": (UNTIED, {**Q, "lora_bias": True, "init_lora_weights": False}),
    "tokens": (UNTIED, {**Q, "trainable_token_indices": IDS}),
    "tokens_of_tied": (GQA, {**Q, "trainable_token_indices": IDS}),
    "tokens_tied": (GQA, {**Q, **TIED, "trainable_token_indices": {"embed_tokens": IDS}}),
    "tokens_differ": (GQA, {**Q, "trainable_token_indices": {"embed_tokens": IDS, "lm_head": [3]}}),
    "tokens_of_head": (
        UNTIED,
        {**LORA, "target_modules": ["embed_tokens"], "trainable_token_indices": {"lm_head": IDS}},
    ),
    "gpt2_embeddings": (
        GPT2,
        {**LORA, "target_modules": ["wte", "wpe", "mlp.c_proj"], "bias": "lora_only"},
    ),
    "gpt2_biases": (GPT2, {**LORA, "target_modules": ["c_attn"], "bias": "all"}),
    "gpt2_saved": (
        GPT2,
        {
            **LORA,
            "target_modules": ["attn.c_proj"],
            "fan_in_fan_out": True,
            "modules_to_save": ["ln_f", "h.1.attn.c_attn"],
            "trainable_token_indices": IDS,
        },
    ),
    "gemma_embedding": (GEMMA, {**LORA, "target_modules": ["embed_tokens", "q_proj"]}),
    "gemma_tokens": (GEMMA, {**Q, "trainable_token_indices": IDS, "modules_to_save": ["q_norm"]}),
    "orthogonal": (UNTIED, {**Q, "init_lora_weights": "orthogonal"}),
}


def batches():
    """(ids, labels) of each step, the trained tokens among the ids; some labels are -100."""
    generator = torch.Generator().manual_seed(SEED)
    ids = torch.randint(3, VOCABULARY, (STEPS, ROWS, LENGTH), generator=generator)
    ids[:, :, ::4] = torch.tensor(IDS)
    labels = ids.clone()
    labels[:, 0, :4] = -100
    return list(zip(ids, labels))


def shared_pairs(model):
    """[(parameter, its transpose elsewhere)] where a head uses the matrices of the embedding.

    PEFT makes two parameters over one storage of each, which its optimizers then step twice.
    """
    parameters = dict(model.named_parameters())
    if not getattr(model.peft_config["default"], "target_modules_to_tie", None):
        return []
    head = "base_model.model.lm_head."
    table = "base_model.model.model.embed_tokens."
    names = {
        "lora_embedding_A.default": "lora_B.default.weight",
        "lora_embedding_B.default": "lora_A.default.weight",
    }
    return [(parameters[table + one], parameters[head + two]) for one, two in names.items()]


def train(model, steps):
    """The loss of each step, before it. What is shared gets both gradients, and one step."""
    pairs = shared_pairs(model)
    copies = {id(copy) for _, copy in pairs}
    trained = [p for p in model.parameters() if p.requires_grad and id(p) not in copies]
    optimizer = torch.optim.AdamW(trained, **ADAMW)
    model.train()
    losses = []
    for ids, labels in steps:
        logits = model(input_ids=ids).logits
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
        )
        loss.backward()
        for parameter, copy in pairs:
            parameter.grad += copy.grad.T
            copy.grad = None
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, sum(parameter.numel() for parameter in trained)


def make_adapter(name, seed):
    """Saves one adapter folder; returns (record for peft_parts.json, tensors)."""
    base, changes = ADAPTERS[name]
    folder, scratch = ROOT / name, ROOT / "scratch"
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(seed)
    model = get_peft_model(load_base(base), LoraConfig(**changes)).eval()
    perturb(model, seed)
    trainable, total = model.get_nb_trainable_parameters()
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    steps = batches()
    with torch.no_grad():
        logits = model(input_ids=steps[0][0][:1]).logits[0, -KEPT:]
        plain = load_base(base)(input_ids=steps[0][0][:1]).logits[0, -KEPT:]
    loaded = PeftModel.from_pretrained(load_base(base), folder, is_trainable=True)
    losses, trained = train(loaded, steps)
    loaded.save_pretrained(scratch)
    stored = load_file(folder / "adapter_model.safetensors")
    final = load_file(scratch / "adapter_model.safetensors")
    shutil.rmtree(scratch)
    assert final.keys() == stored.keys(), name
    record = {
        "name": name,
        "folder": str(folder),
        "base": base,
        "config": changes,
        "trainable_parameters": trainable,
        "all_parameters": total,
        "trained_once": trained,
        "effect": ((logits - plain).abs().max() / plain.abs().max()).item(),
        "losses": losses,
        "tensors": {key: list(stored[key].shape) for key in sorted(stored)},
    }
    tied = changes.get("ensure_weight_tying", False)  # the head's tensors are the embedding's
    moved = {
        key: value
        for key, value in final.items()
        if not value.equal(stored[key]) and not (tied and "lm_head" in key)
    }
    return record, {f"{name}.logits": logits} | {f"{name}.{k}": v for k, v in moved.items()}


def main():
    warnings.simplefilter("ignore")
    tensors = {}
    records = []
    for index, name in enumerate(ADAPTERS):
        record, made = make_adapter(name, SEED + index)
        records.append(record)
        tensors |= made
    steps = batches()
    tensors["input_ids"] = torch.stack([ids for ids, _ in steps])
    tensors["labels"] = torch.stack([labels for _, labels in steps])
    write_tensors("peft_parts.safetensors", tensors)
    write_json(
        "peft_parts.json",
        {
            "versions": versions("torch", "transformers", "peft", "safetensors"),
            "seed": SEED,
            "adamw": ADAMW,
            "adapters": records,
        },
    )


if __name__ == "__main__":
    main()
