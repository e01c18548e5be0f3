"""4-bit checkpoints in both directions: what transformers with bitsandbytes writes gives graft the
same logits, and what `graft quantize` writes gives transformers graft's.

Rows are multiples of 128 numbers and the repacking for processors with AVX-512-BF16 is switched
off: bitsandbytes' CPU code is wrong without the one and with the other.
"""

import logging
from pathlib import Path

import torch
from bitsandbytes.nn import Linear4bit
from comparing import expect_same_logits, graft_logits, largest_difference, sample_ids, torch_logits
from reporting import Failure, Report, parse_options, require_smollm2, run_graft, temporary_folder
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)
from transformers.utils import logging as transformers_logging

VOCABULARY = 96
MODELS = {
    "llama, own head": (
        LlamaForCausalLM,
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            tie_word_embeddings=False,
        ),
    ),
    "llama, tied head": (
        LlamaForCausalLM,
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=64,
            tie_word_embeddings=True,
        ),
    ),
    "gpt2": (
        GPT2LMHeadModel,
        GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=128,
            n_layer=2,
            n_head=4,
            n_positions=64,
            bos_token_id=1,
            eos_token_id=2,
        ),
    ),
}
# As transformers calls them, and as graft does.
FORMS = {
    "nf4": ({"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}, {"quant": "nf4"}),
    "fp4, scales in f32": (
        {"bnb_4bit_quant_type": "fp4"},
        {"quant": "fp4", "no-double-quant": True},
    ),
}
STORED_OTHERWISE = {
    "codes as bf16": {"bnb_4bit_quant_type": "nf4", "bnb_4bit_quant_storage": "bfloat16"},
    "head in 4 bits, first layer not": {
        "bnb_4bit_quant_type": "nf4",
        "llm_int8_skip_modules": ["model.layers.0"],
    },
}
# transformers rounds each decoded weight to the dtype that the model had before (8 bits of bf16,
# over two layers); graft multiplies the decoded f32.
ROUNDED_TOLERANCE = 3e-2


def load(folder, settings=None):
    """In 4 bits with f32 products; as its files say where no settings are given."""
    wanted = {}
    if settings is not None:
        wanted["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32, **settings
        )
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", device_map="cpu", **wanted
    ).eval()
    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False
        layer.compute_dtype = torch.float32
    if not layers:
        raise Failure(f"no layer of {folder} is in 4 bits")
    return model


def random_model(name, folder, dtype=torch.float32):
    """Weights large enough that every layer counts."""
    torch.manual_seed(11)
    kind, config = MODELS[name]
    model = kind(config)
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            center = 1.0 if "norm" in path or "ln_" in path else 0.0
            parameter.normal_(center, 0.1)
    model.to(dtype).save_pretrained(folder)
    return folder


def check_read(options, report, sequences, name, form, settings):
    with report.check(f"graft reads transformers' checkpoint: {name}, {form}") as notes:
        with temporary_folder() as scratch:
            dense = random_model(name, Path(scratch) / "dense")
            stored = Path(scratch) / "stored"
            load(dense, settings).save_pretrained(stored)
            expected = torch_logits(load(stored), sequences)
            actual = graft_logits(options, scratch, sequences, model=stored)
            expect_same_logits(actual, expected, notes)


def check_written(options, report, sequences, name, form, flags):
    with report.check(f"transformers reads `graft quantize`: {name}, {form}") as notes:
        with temporary_folder() as scratch:
            dense = random_model(name, Path(scratch) / "dense")
            out = Path(scratch) / "out"
            run_graft(options, "quantize", {"model": dense, "out": out, **flags})
            actual = graft_logits(options, scratch, sequences, model=out)
            expect_same_logits(torch_logits(load(out), sequences), actual, notes)
            while_loading = graft_logits(options, scratch, sequences, model=dense, **flags)
            if largest_difference(while_loading, actual) != 0:
                raise Failure("quantised while loading, the model has other logits")


def check_rounded(options, report, sequences):
    with report.check("transformers reads `graft quantize` of a bf16 model") as notes:
        with temporary_folder() as scratch:
            dense = random_model("llama, own head", Path(scratch) / "dense", torch.bfloat16)
            out = Path(scratch) / "out"
            run_graft(options, "quantize", {"model": dense, "out": out})
            actual = graft_logits(options, scratch, sequences, model=out)
            difference = largest_difference(torch_logits(load(out), sequences), actual)
            if not difference <= ROUNDED_TOLERANCE:
                raise Failure(f"logits differ by {difference:.1e} of {ROUNDED_TOLERANCE:.0e}")
            notes.append(f"{difference:.1e} of {ROUNDED_TOLERANCE:.0e}")


def check_smollm2(options, report):
    with report.check("transformers reads `graft quantize` of SmolLM2 from GGUF") as notes:
        require_smollm2(options)
        with temporary_folder() as scratch:
            out = Path(scratch) / "out"
            run_graft(options, "quantize", {"model": options.model_file, "out": out})
            sequences = sample_ids(49152)
            actual = graft_logits(options, scratch, sequences, model=out)
            expect_same_logits(torch_logits(load(out), sequences), actual, notes)


def main():
    options = parse_options(__doc__)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    report = Report()
    sequences = sample_ids(VOCABULARY)
    for name in MODELS:
        for form, (settings, flags) in FORMS.items():
            check_read(options, report, sequences, name, form, settings)
            check_written(options, report, sequences, name, form, flags)
    flags = {"quant": "nf4", "blocksize": 128}
    check_written(options, report, sequences, "llama, own head", "blocks of 128", flags)
    for form, settings in STORED_OTHERWISE.items():
        check_read(options, report, sequences, "llama, own head", form, settings)
    check_rounded(options, report, sequences)
    check_smollm2(options, report)
    report.finish()


if __name__ == "__main__":
    main()
