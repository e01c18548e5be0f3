"""llama.cpp loads the GGUF files that graft writes, and answers as graft does: models, adapters, and
models that have their adapter merged."""

import json
from pathlib import Path

import xllamacpp
from reporting import (
    ROOT,
    Failure,
    Report,
    parse_options,
    require_smollm2,
    run_graft,
    temporary_folder,
)

NEW_TOKENS = 16
QUESTIONS = ["What is the capital of France?", "Write one sentence about the sea."]
# How many of them are answered alike. With other weights llama.cpp rounds the activations, too, so
# that only an answer without doubts stays.
DTYPES = {"f32": 2, "f16": 2, "bf16": 1, "q8_0": 1, "q4_0": 1}
TRAINING = {
    "data": ROOT / "examples" / "quickstart" / "train.jsonl",
    "lora-r": 4,
    "max-steps": 8,
    "batch-size": 4,
    "learning-rate": 4e-3,
    "lr-schedule": "constant",
    "seed": 1,
}


def llama_cpp_answers(model, prompts, adapter=None):
    """Greedy, with the tokenizer of the file."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.n_ctx = 256
    parameters.n_parallel = 1
    parameters.n_gpu_layers = 0
    parameters.warmup = False
    parameters.verbosity = 0
    if adapter:
        parameters.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
    server = xllamacpp.Server(parameters)
    request = {"temperature": 0.0, "max_tokens": NEW_TOKENS}
    return [
        server.handle_completions({**request, "prompt": prompt})["choices"][0]["text"]
        for prompt in prompts
    ]


class Conversations:
    """The questions as graft takes them, and as the chat template spells them."""

    def __init__(self, scratch):
        template = "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n"
        self.system = "You are a helpful assistant."
        self.prompts = [
            template.format(self.system, question) + "<|im_start|>assistant\n"
            for question in QUESTIONS
        ]
        self.file = Path(scratch) / "questions.txt"
        self.file.write_text("\n".join(QUESTIONS) + "\n", encoding="utf-8")

    def answers(self, options, **flags):
        out = run_graft(
            options,
            "generate",
            {
                "prompts": self.file,
                "system": self.system,
                "max-new-tokens": NEW_TOKENS,
                "json": True,
                **flags,
            },
        )
        return [answer["text"] for answer in json.loads(out)["results"]]


def expect_same(actual, expected, notes):
    for ours, theirs in zip(expected, actual, strict=True):
        if ours != theirs:
            raise Failure(f"llama.cpp answers {theirs!r}, graft {ours!r}")
    notes.append(f"{len(actual)} answers, the first {actual[0]!r}")


def main():
    options = parse_options(__doc__)
    report = Report()
    with temporary_folder() as scratch:
        scratch = Path(scratch)
        conversations = Conversations(scratch)
        model, adapter = scratch / "model", scratch / "adapter"
        plain = {}
        for dtype, count in DTYPES.items():
            with report.check(f"a model in {dtype}") as notes:
                require_smollm2(options)
                if not model.exists():
                    run_graft(options, "convert", {"from": options.model_file, "out": model})
                file = scratch / f"{dtype}.gguf"
                run_graft(options, "convert", {"from": model, "dtype": dtype, "out": file})
                answers = conversations.answers(options, model=file)
                actual = llama_cpp_answers(file, conversations.prompts[:count])
                expect_same(actual, answers[:count], notes)
                plain[dtype] = answers
        with report.check("an adapter") as notes:
            require_smollm2(options)
            run_graft(options, "train", {**TRAINING, "model": model, "out": adapter})
            file = scratch / "adapter.gguf"
            run_graft(options, "convert", {"from": adapter, "model": model, "out": file})
            answers = conversations.answers(options, model=model, adapter=adapter)
            if answers == plain.get("f32"):
                raise Failure("the adapter changes no answer")
            actual = llama_cpp_answers(scratch / "f32.gguf", conversations.prompts, file)
            expect_same(actual, answers, notes)
        merged = scratch / "merged"
        for dtype, count in DTYPES.items():
            with report.check(f"a model with its adapter merged, in {dtype}") as notes:
                require_smollm2(options)
                if not merged.exists():
                    run_graft(options, "merge", {"model": model, "adapter": adapter, "out": merged})
                file = scratch / f"merged_{dtype}.gguf"
                run_graft(options, "convert", {"from": merged, "dtype": dtype, "out": file})
                answers = conversations.answers(options, model=file)
                if answers == plain.get(dtype):
                    raise Failure("the merged adapter changes no answer")
                if dtype == "f32" and answers != conversations.answers(
                    options, model=model, adapter=adapter
                ):
                    raise Failure("the merged model answers otherwise than model and adapter")
                actual = llama_cpp_answers(file, conversations.prompts[:count])
                expect_same(actual, answers[:count], notes)
    report.finish()


if __name__ == "__main__":
    main()
