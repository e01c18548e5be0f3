"""The training loop of the make_*.py scripts: plain torch, PEFT's adapters, graft's flags.

Import after `recording.start`, which sets what torch reads when it is first used.
"""

import json

import torch
from peft import get_peft_model
from transformers import get_scheduler


def read_samples(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def collate(records):
    """input_ids, attention_mask and labels (B, longest), padded on the right."""
    length = max(len(record["input_ids"]) for record in records)
    ids = torch.zeros(len(records), length, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for row, record in enumerate(records):
        size = len(record["input_ids"])
        ids[row, :size] = torch.tensor(record["input_ids"])
        labels[row, :size] = torch.tensor(record["labels"])
        mask[row, :size] = 1
    return ids, mask, labels


def save_adapter(model, folder, base):
    """As PEFT saves it, without the model card and with the base's path as this file names it."""
    model.peft_config["default"].base_model_name_or_path = base
    embeddings = "lm_head" in model.peft_config["default"].target_modules
    model.save_pretrained(folder, save_embedding_layers=embeddings)
    (folder / "README.md").unlink()


def save_initial_adapter(model, config, folder, base, seed):
    """A fresh adapter whose B is not zero: the gradient of A matters from the first step on."""
    torch.manual_seed(seed)
    model = get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    save_adapter(model, folder, base)


def step_loss(model, batch, parts):
    """Adds the gradient of one optimizer step; returns (summed loss / trained tokens, tokens).

    `batch` is cut into `parts` micro-batches. All of them are divided by the trained tokens of
    the whole batch, so the cut does not change the gradient.
    """
    size = len(batch) // parts
    collated = [collate(batch[begin : begin + size]) for begin in range(0, len(batch), size)]
    tokens = sum(int((labels[:, 1:] != -100).sum()) for _, _, labels in collated)
    total = 0.0
    for ids, mask, labels in collated:
        logits = model(input_ids=ids, attention_mask=mask).logits
        predictions, targets = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
        loss = torch.nn.functional.cross_entropy(predictions, targets, reduction="sum")
        (loss / tokens).backward()
        total += loss.item()
    return total / tokens, tokens


def train(model, samples, flags):
    """The loop of max-steps steps; returns one record a step."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        trainable, lr=flags["learning-rate"], weight_decay=flags["weight-decay"]
    )
    scheduler = get_scheduler(
        flags["lr-schedule"], optimizer, flags["warmup-steps"], flags["max-steps"]
    )
    per_step = flags["batch-size"] * flags["grad-accum"]
    model.train()
    steps = []
    for step in range(flags["max-steps"]):
        first = step * per_step % len(samples)
        loss, tokens = step_loss(model, samples[first : first + per_step], flags["grad-accum"])
        norm = torch.nn.utils.clip_grad_norm_(trainable, flags["max-grad-norm"])
        lr = optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        record = {"step": step, "loss": loss, "grad_norm": norm.item(), "lr": lr}
        steps.append(record | {"tokens": tokens})
    return steps
