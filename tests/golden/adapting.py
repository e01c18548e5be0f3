"""What the scripts that make adapters share. Imported after recording.start."""

import shutil
import warnings
from pathlib import Path

import torch
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import Linear
from recording import versions, write_json, write_tensors
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

STEPS, ROWS, LENGTH = 5, 3, 9
KEPT = 4  # positions whose logits are kept
ADAMW = {"lr": 1e-2, "weight_decay": 0.01}
IDS = [7, 50, 5]  # tokens that can be trained
VOCABULARY = 61  # of the smallest model


def load_base(path):
    return AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def load_in_4_bits(folder, settings=None):
    """A model in f32 that is stored in 4 bits, or put in 4 bits by these settings of bitsandbytes.

    Its CPU code for processors with AVX-512-BF16 repacks weights at the first evaluation and is
    wrong from then on, so it is switched off.
    """
    wanted = {}
    if settings is not None:
        wanted["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32, **settings
        )
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation="eager",
        device_map={"": "cpu"},
        **wanted,
    )
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
    return model


def perturb(model, seed):
    """Moves every trained number, so that nothing in the file is at its starting value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)


def batches(seed):
    """(ids, labels) of each step, the trained tokens among the ids; some labels are -100."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCABULARY, (STEPS, ROWS, LENGTH), generator=generator)
    ids[:, :, ::4] = torch.tensor(IDS)
    labels = ids.clone()
    labels[:, 0, :4] = -100
    return list(zip(ids, labels))


def starting_products(model, changes):
    """{"start.<path>": scaling · B A, (out, in)} of an adapter that begins with a part of the weights."""
    if not str(changes.get("init_lora_weights", "")).startswith(("pissa", "olora")):
        return {}
    starts = {}
    for path, layer in model.base_model.model.named_modules():
        if isinstance(layer, Linear) and ".0." in path:  # of one block, to keep the file small
            delta = layer.get_delta_weight("default").detach()
            starts[f"start.{path}"] = (delta.T if layer.fan_in_fan_out else delta).clone()
    return starts


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


def train(model, steps, make_optimizer=None):
    """The loss of each step, before it. What is shared gets both gradients, and one step."""
    pairs = shared_pairs(model)
    copies = {id(copy) for _, copy in pairs}
    trained = [p for p in model.parameters() if p.requires_grad and id(p) not in copies]
    optimizer = make_optimizer(model) if make_optimizer else torch.optim.AdamW(trained, **ADAMW)
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


def make_adapter(folder, base, changes, steps, seed, make_optimizer=None):
    """Saves one adapter folder; returns (its record, tensors)."""
    name, scratch = folder.name, folder.parent / "scratch"
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(seed)
    model = get_peft_model(load_base(base), LoraConfig(**changes)).eval()
    starts = starting_products(model, changes)
    perturb(model, seed)
    trainable, total = model.get_nb_trainable_parameters()
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    with torch.no_grad():
        logits = model(input_ids=steps[0][0][:1]).logits[0, -KEPT:]
        plain = load_base(base)(input_ids=steps[0][0][:1]).logits[0, -KEPT:]
    loaded = PeftModel.from_pretrained(load_base(base), folder, is_trainable=True)
    losses, trained = train(loaded, steps, make_optimizer)
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
    made = {"logits": logits} | starts | moved
    return record, {f"{name}.{key}": value for key, value in made.items()}


def make_adapters(stem, adapters, seed):
    """Writes <stem>/<name>/ for each {name: (base, changes)}, <stem>.json and <stem>.safetensors."""
    warnings.simplefilter("ignore")
    steps = batches(seed)
    tensors = {}
    records = []
    for index, (name, (base, changes)) in enumerate(adapters.items()):
        record, made = make_adapter(Path(stem) / name, base, changes, steps, seed + index)
        records.append(record)
        tensors |= made
    tensors["input_ids"] = torch.stack([ids for ids, _ in steps])
    tensors["labels"] = torch.stack([labels for _, labels in steps])
    write_tensors(f"{stem}.safetensors", tensors)
    write_json(
        f"{stem}.json",
        {
            "versions": versions("torch", "transformers", "peft", "safetensors"),
            "seed": seed,
            "adamw": ADAMW,
            "adapters": records,
        },
    )
