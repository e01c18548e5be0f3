"""A tiny Llama in 4 bits, written by transformers with bitsandbytes, its logits, and twenty training
steps of a PEFT adapter on it.

Rows are multiples of 64 numbers, where bitsandbytes' dequantisation on the CPU is right.
"""

import shutil
from pathlib import Path

import make_lora_runs as runs
from make_models import randomise, sample_batch
from recording import versions, write_json, write_tensors

import torch
from adapting import load_in_4_bits
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

SEED = 31
ROOT = Path("qlora")
CONFIG = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}
QUANTISATION = {
    "nf4": {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
    "fp4": {"bnb_4bit_quant_type": "fp4", "bnb_4bit_use_double_quant": False},
}
FLAGS = {
    **runs.COMMON,
    **runs.schedule("linear", 3, 5e-3, 0.01),
    "model": str(ROOT / "nf4"),
    "data": "lora_runs/data.jsonl",
    "adapter": str(ROOT / "initial"),
    "method": "lora",
}


def logits(model, ids, mask):
    with torch.no_grad():
        return model.eval()(input_ids=ids, attention_mask=mask).logits


def adapted(trainable=False):
    return PeftModel.from_pretrained(
        load_in_4_bits(ROOT / "nf4"), ROOT / "initial", is_trainable=trainable
    )


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    dense = LlamaForCausalLM(LlamaConfig(**CONFIG))
    randomise(dense, SEED)
    dense.to(torch.bfloat16).save_pretrained(ROOT / "dense")
    ids, mask, _ = sample_batch(CONFIG["vocab_size"], SEED + 1)
    tensors = {"input_ids": ids, "attention_mask": mask}
    for name, settings in QUANTISATION.items():
        load_in_4_bits(ROOT / "dense", settings).save_pretrained(ROOT / name)
        tensors[f"{name}.logits"] = logits(load_in_4_bits(ROOT / name), ids, mask)

    torch.manual_seed(SEED)
    model = get_peft_model(
        load_in_4_bits(ROOT / "nf4"),
        LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    runs.save_adapter(model, ROOT / "initial", str(ROOT / "nf4"))
    tensors["nf4.adapted.logits"] = logits(adapted(), ids, mask)

    samples = runs.read_samples(Path("lora_runs") / "data.jsonl")
    model = adapted(trainable=True)
    steps = runs.train(model, samples, FLAGS)
    runs.save_adapter(model, ROOT / "final", str(ROOT / "nf4"))
    write_tensors(ROOT / "logits.safetensors", tensors)
    packages = ("torch", "transformers", "peft", "bitsandbytes", "safetensors")
    run = {"name": "nf4", "model_in": "golden", "flags": FLAGS, "final": str(ROOT / "final")}
    write_json(
        ROOT / "run.json", {"versions": versions(*packages), "seed": SEED, **run, "steps": steps}
    )


if __name__ == "__main__":
    main()
