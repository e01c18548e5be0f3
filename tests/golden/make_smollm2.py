"""What SmolLM2-135M-Instruct answers when transformers reads it from the GGUF file.

Every weight is checked against the gguf package's own dequantisation, with the rows of q and k put
back into Hugging Face's order by the formula written here. See README.md for the files and keys.
"""

from recording import start, versions, write_json, write_tensors

arguments = start(__doc__, reads=("data", "model_file"))

import gguf  # noqa: E402
import torch  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

NEW_TOKENS = 48
TOP = 8
STRIDE = 64  # every 64th logit is stored
CONVERSATIONS = {
    "default_system": [{"role": "user", "content": "Why is the sky blue?"}],
    "own_system": [
        {"role": "system", "content": "You are a pirate. Answer in one short sentence."},
        {"role": "user", "content": "What is the capital of France?"},
    ],
    "two_turns": [
        {"role": "user", "content": "Name three animals that live in the sea."},
        {"role": "assistant", "content": "Whales, octopuses and sharks."},
        {"role": "user", "content": "Now write a story of 120 words about a naïve octopus."},
    ],
}
GGUF_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_norm": "post_attention_layernorm",
}
GGUF_OUTER_NAMES = {"token_embd": "embed_tokens", "output_norm": "norm"}


def huggingface_name(name):
    """"blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight"."""
    parts = name.split(".")
    if parts[0] != "blk":
        return f"model.{GGUF_OUTER_NAMES[parts[0]]}.weight"
    return f"model.layers.{parts[1]}.{GGUF_NAMES[parts[2]]}.weight"


def unpermute(rows, heads):
    """GGUF interleaves the halves of a rotary head: its row 2i + h is Hugging Face's h D/2 + i."""
    half = rows.shape[0] // heads // 2
    return rows.view(heads, half, 2, -1).transpose(1, 2).reshape(rows.shape)


def check_weights(model, path):
    """Every weight must have, bit for bit, the values that the gguf package decodes."""
    weights = dict(model.named_parameters())
    tensors = gguf.GGUFReader(path).tensors
    assert len(tensors) == len(weights)
    heads = {
        "attn_q": model.config.num_attention_heads,
        "attn_k": model.config.num_key_value_heads,
    }
    for tensor in tensors:
        values = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
        kind = tensor.name.split(".")[-2]
        if kind in heads:
            values = unpermute(values, heads[kind])
        weight = weights[huggingface_name(tensor.name)]
        assert weight.dtype == torch.float32 and torch.equal(weight, values), tensor.name


def answer(model, tokenizer, name):
    """(record for smollm2.json, every 64th logit after the prompt)."""
    messages = CONVERSATIONS[name]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([tokenizer(prompt).input_ids])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0]
        loss = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:])
        generated = model.generate(
            ids,
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            output_scores=True,
            return_dict_in_generate=True,
        )
    new = generated.sequences[0, ids.shape[1] :].tolist()
    last = logits[-1]
    top = last.topk(TOP)
    pairs = [scores[0].topk(2).values for scores in generated.scores]
    margins = [(first - second).item() for first, second in pairs]
    record = {
        "name": name,
        "messages": messages,
        "prompt": prompt,
        "prompt_ids": ids[0].tolist(),
        "prompt_loss": loss.item(),
        "new_ids": new,
        "text": tokenizer.decode(new, skip_special_tokens=True),
        "finish": "stop" if new[-1] == model.config.eos_token_id else "length",
        "smallest_margin": min(margins),
        "top_ids": top.indices.tolist(),
        "top_logits": top.values.tolist(),
        "mean_absolute_logit": last.abs().mean().item(),
        "largest_absolute_logit": last.abs().max().item(),
    }
    return record, last[::STRIDE]


def main():
    path = arguments.model_file
    source = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model = AutoModelForCausalLM.from_pretrained(
        **source, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    check_weights(model, path)
    answers = [answer(model, tokenizer, name) for name in CONVERSATIONS]
    original = Tokenizer.from_file(str(arguments.data / "tokenizers/smollm/tokenizer.json"))
    for record, _ in answers:
        assert original.encode(record["prompt"]).ids == record["prompt_ids"], record["name"]
    write_tensors("smollm2.safetensors", {f"{r['name']}.logits": last for r, last in answers})
    write_json(
        "smollm2.json",
        {
            "versions": versions("torch", "transformers", "gguf", "tokenizers"),
            "file": path.name,
            "new_tokens": NEW_TOKENS,
            "logit_stride": STRIDE,
            "conversations": [record for record, _ in answers],
        },
    )


if __name__ == "__main__":
    main()
