"""The llama.cpp side of inference.py: continues a prompt and prints what graft generate --json does."""

import json

import xllamacpp
from peers import parse_inference_options


def main():
    options = parse_inference_options(__doc__)
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(options.model)
    parameters.n_ctx = 2048  # positions; what has more is refused
    parameters.n_parallel = 1
    parameters.n_gpu_layers = 0
    parameters.cpuparams.n_threads = options.threads
    parameters.cpuparams_batch.n_threads = options.threads
    parameters.warmup = False
    parameters.verbosity = 0
    server = xllamacpp.Server(parameters)
    request = {
        "prompt": options.prompt, "temperature": 0.0, "max_tokens": options.new_tokens,
        "ignore_eos": True, "timings_per_token": True,
    }  # fmt: skip
    answer = server.handle_completions(request)
    timings = answer["timings"]
    print(json.dumps({
        "text": answer["choices"][0]["text"],
        "prompt_tokens": timings["prompt_n"],
        "prompt_tokens_per_second": timings["prompt_per_second"],
        "tokens_per_second": timings["predicted_per_second"],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
