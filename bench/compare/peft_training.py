"""The PEFT side of training.py: trains and prints {"seconds": [...], "losses": [...]}."""

import argparse
import json
import time
from pathlib import Path

from peers import DTYPES, pretrained

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--dtype", choices=DTYPES, required=True)
    parser.add_argument("--quant", choices=["none", "nf4"], required=True)
    parser.add_argument("--checkpointing", action="store_true")
    return parser.parse_args()


def load(options):
    model = pretrained(options.model, options.dtype, options.quant)
    if options.quant == "none":
        return model
    return prepare_model_for_kbit_training(
        model, use_gradient_checkpointing=options.checkpointing
    )


def adapted(options):
    model = load(options)
    if options.checkpointing and options.quant == "none":
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    config = LoraConfig(
        r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config).train()


def main():
    options = parse_options()
    torch.set_num_threads(options.threads)
    lines = options.data.read_text(encoding="utf-8").splitlines()
    ids = torch.tensor([json.loads(line)["input_ids"] for line in lines])
    model = adapted(options)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-4, weight_decay=0)
    seconds, losses = [], []
    for batch in ids.split(options.batch_size):
        start = time.perf_counter()
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds, "losses": losses}))


if __name__ == "__main__":
    main()
