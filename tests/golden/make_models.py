"""Tiny random Llama models as Hugging Face folders, with their logits and losses in f32.

Also the logits and the greedy text of the small real models, read from the data folder. See
README.md for the files, tensors and keys.
"""

from pathlib import Path

from recording import start, versions, write_json, write_tensors

arguments = start(__doc__, reads=("data",))

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM  # noqa: E402

SEED = 20
BATCH, LENGTH, SHORT_LENGTH = 2, 17, 11  # the second row ends in padding
WHOLE = "1GB"  # the largest file; smaller for the model that is to be in shards
BASE = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}
GQA = {**BASE, "num_key_value_heads": 2, "tie_word_embeddings": True}
ODD = {
    **BASE,
    "vocab_size": 101,
    "hidden_size": 36,
    "intermediate_size": 52,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "rms_norm_eps": 1e-6,
}
HEAD_DIM = {**BASE, "head_dim": 16, "num_key_value_heads": 2}
BIASES = {**BASE, "attention_bias": True, "mlp_bias": True}
THETA = {"rope_type": "default", "rope_theta": 500000.0}
MODELS = {
    "tied": ({**BASE, "tie_word_embeddings": True}, torch.float32, WHOLE),
    "untied": (BASE, torch.float32, WHOLE),
    "gqa": (GQA, torch.float32, WHOLE),
    "odd": (ODD, torch.float32, WHOLE),
    "head_dim": ({**HEAD_DIM, "rope_parameters": THETA}, torch.float32, WHOLE),
    "biases": (BIASES, torch.float32, WHOLE),
    "sharded": (BASE, torch.float32, "40KB"),
    "bf16": (GQA, torch.bfloat16, WHOLE),
    "f16": (GQA, torch.float16, WHOLE),
}
REAL = {
    "stories260k": "models/stories260k/hf",
    "tinystories-656k-fp32": "models/tinystories-656k/fp32",
    "tinystories-656k-bf16": "models/tinystories-656k/bf16",
}
REAL_TEXT = "Once upon a time, there was a little fox named Tim. Tim liked to play in the rain."
REAL_POSITIONS = 4
REAL_NEW_TOKENS = 32


def randomise(model, seed):
    """Weights large enough that a wrong formula shows: N(0, 0.3²), norms N(1, 0.1²)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.1 * noise if name.endswith("norm.weight") else 0.3 * noise)


def sample_batch(vocab_size, seed):
    """Ids, mask and labels (2, 17): row 1 is padded on the right, both have a masked prompt."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocab_size, (BATCH, LENGTH), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, SHORT_LENGTH:] = 0
    ids[mask == 0] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[0, :5] = -100
    labels[0, 9] = -100
    labels[1, :3] = -100
    return ids, mask, labels


def token_losses(logits, labels):
    """(B, T): what predicting labels[b, t] from the tokens before t costs; 0 where not trained."""
    shifted = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="none"
    )
    return torch.cat([torch.zeros(labels.shape[0], 1), shifted.view(labels.shape[0], -1)], dim=1)


def load_f32(path):
    return AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def make_tiny(name, config, dtype, shard_size, seed):
    """Saves one model and what it answers; returns its record for models.json."""
    model = LlamaForCausalLM(LlamaConfig(**config))
    randomise(model, seed)
    folder = Path("models") / name
    model.to(dtype).save_pretrained(folder, max_shard_size=shard_size)

    model = load_f32(folder)
    ids, mask, labels = sample_batch(config["vocab_size"], seed + 1)
    output = model(input_ids=ids, attention_mask=mask, labels=labels)
    losses = token_losses(output.logits, labels).detach()
    trained = int((labels[:, 1:] != -100).sum())
    assert torch.allclose(losses.sum() / trained, output.loss, rtol=1e-6)

    output.loss.backward()
    if name in ("gqa", "untied"):
        gradients = {key: value.grad for key, value in model.named_parameters()}
        write_tensors(f"models/{name}_gradients.safetensors", gradients)
    logits = output.logits.detach()
    with torch.no_grad():
        exact = model.double()(input_ids=ids, attention_mask=mask).logits
    valid = mask.bool()
    rounding = (logits - exact)[valid].abs().max() / exact[valid].abs().max()
    write_tensors(
        f"models/{name}.safetensors",
        {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": labels,
            "logits": logits * valid.unsqueeze(-1),
            "token_losses": losses,
        },
    )
    return {
        "name": name,
        "folder": str(folder),
        "loss": output.loss.item(),
        "trained_tokens": trained,
        "largest_logit": logits[valid].abs().max().item(),
        "f32_rounding": rounding.item(),
    }


def check_loaded(model, folder):
    """The tied matrix has another name in each of the real folders: it must have been read."""
    for name, stored in load_file(folder / "model.safetensors").items():
        used = dict(model.named_parameters(remove_duplicate=False))[name]
        assert torch.equal(used, stored.float()), name
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def make_real(name, folder):
    """The last logits of a sentence and its greedy continuation; returns (record, last logits)."""
    model = load_f32(folder)
    check_loaded(model, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = torch.tensor([tokenizer.encode(REAL_TEXT).ids])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0]
        losses = token_losses(logits.unsqueeze(0), ids)[0, 1:]
        greedy = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=REAL_NEW_TOKENS,
            eos_token_id=None,
            pad_token_id=0,
        )[0, ids.shape[1] :]
    record = {
        "name": name,
        "folder": REAL[name],
        "text": REAL_TEXT,
        "input_ids": ids[0].tolist(),
        "loss": losses.mean().item(),
        "largest_logit": logits.abs().max().item(),
        "greedy_ids": greedy.tolist(),
        "greedy_text": tokenizer.decode(greedy.tolist()),
    }
    return record, logits[-REAL_POSITIONS:]


def main():
    tiny = [
        make_tiny(name, config, dtype, shards, SEED + 10 * index)
        for index, (name, (config, dtype, shards)) in enumerate(MODELS.items())
    ]
    real = [make_real(name, arguments.data / folder) for name, folder in REAL.items()]
    write_tensors("real_models.safetensors", {f"{r['name']}.logits": last for r, last in real})
    write_json(
        "models.json",
        {
            "versions": versions("torch", "transformers", "safetensors", "tokenizers"),
            "seed": SEED,
            "models": tiny,
            "real_models": [record for record, _ in real],
        },
    )


if __name__ == "__main__":
    main()
