"""What the scripts that make adapters share. Imported after recording.start."""

import torch
from transformers import AutoModelForCausalLM


def load_base(path):
    return AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def perturb(model, seed):
    """Moves every trained number, so that nothing in the file is at its starting value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
