"""The transformers side of inference.py: continues a prompt and prints what graft generate --json does."""

import json
import time

from peers import parse_inference_options, pretrained

import torch
from transformers import AutoTokenizer


def main():
    options = parse_inference_options(__doc__)
    torch.set_num_threads(options.threads)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = pretrained(options.model, options.dtype, options.quant).eval()
    ids = tokenizer(options.prompt, return_tensors="pt", add_special_tokens=False).input_ids
    new = []
    with torch.inference_mode():
        start = time.perf_counter()
        # Of the prompt only the last logits are wanted.
        output = model(input_ids=ids, use_cache=True, logits_to_keep=1)
        new.append(output.logits[0, -1].argmax())
        first = time.perf_counter()
        while len(new) < options.new_tokens:
            output = model(
                input_ids=new[-1].view(1, 1), past_key_values=output.past_key_values, use_cache=True
            )
            new.append(output.logits[0, -1].argmax())
        end = time.perf_counter()
    print(json.dumps({
        "text": tokenizer.decode(new),
        "prompt_tokens": ids.shape[1],
        "prompt_tokens_per_second": ids.shape[1] / (first - start),
        "tokens_per_second": (len(new) - 1) / (end - first) if len(new) > 1 else 0,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
