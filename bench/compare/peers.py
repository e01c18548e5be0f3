"""What the peers' sides of the comparisons share."""

import argparse
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

DTYPES = ("f32", "bf16")


def parse_inference_options(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--new-tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--dtype", choices=DTYPES, required=True)
    parser.add_argument("--quant", choices=["none", "nf4"], required=True)
    return parser.parse_args()


def pretrained(folder, dtype, quant):
    """A causal language model of transformers, with bitsandbytes' weights where they have 4 bits."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    torch_dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[dtype]
    if quant == "none":
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch_dtype)
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quant,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch_dtype,
    )
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch_dtype, quantization_config=quantization
    )
