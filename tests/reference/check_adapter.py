"""Adapters cross between graft and PEFT in both directions and give the same logits."""

import json
import warnings
from pathlib import Path

import torch
from comparing import (
    LOGIT_TOLERANCE,
    expect_same_logits,
    graft_logits,
    largest_difference,
    load_base,
    sample_ids,
    torch_logits,
)
from peft import EvaConfig, LoraConfig, PeftModel, get_peft_model
from reporting import (
    GOLDEN,
    Failure,
    Report,
    model_folder,
    parse_options,
    run_graft,
    temporary_folder,
)
from safetensors import safe_open
from transformers.utils import logging

TRAINING = {
    "method": "lora",
    "batch-size": 4,
    "max-steps": 6,
    "learning-rate": 2e-2,
    "lr-schedule": "constant",
    "dtype": "f32",
    "seed": 1,
}
PISSA = {"init-lora-weights": "pissa"}
SUBTRACTED = {"subtract-mutated-init": True}
TYING = {"ensure-weight-tying": True}
QV_FLAGS = {"target-modules": "q_proj,v_proj", "lora-r": 4}
# PEFT rounds what it takes out of a weight and what is left: two roundings of large parts.
TAKEN_OUT_TOLERANCE = 1e-4
GQA, UNTIED, ODD = "models/gqa", "models/untied", "models/odd"
STORIES = "models/tinystories-656k/fp32"
# name: (model, graft's flags)
TRAINED_BY_GRAFT = {
    "all-linear": (GQA, {"lora-r": 4, "lora-alpha": 8}),
    "list of targets": (ODD, {"target-modules": "q_proj,v_proj", "lora-r": 3, "lora-alpha": 5}),
    "regex": (ODD, {"target-modules": r"re:.*\.(k_proj|down_proj)", "lora-r": 2}),
    "exclude": (GQA, {"exclude-modules": "up_proj,o_proj", "lora-r": 2}),
    "rslora": (UNTIED, {"use-rslora": True, "lora-r": 4, "lora-alpha": 8}),
    "dropout": (UNTIED, {"lora-dropout": 0.2, "lora-r": 4}),
    "gaussian": (UNTIED, {"init-lora-weights": "gaussian", "lora-r": 4}),
    "untied head": (UNTIED, {"target-modules": "q_proj,lm_head", "lora-r": 4}),
    "tied head": (GQA, {"target-modules": "q_proj,lm_head", "lora-r": 4}),
    "biases": ("models/biases", {"lora-r": 4}),
    "orthogonal": (UNTIED, {"init-lora-weights": "orthogonal", "lora-r": 4}),
    "dora": (UNTIED, {"use-dora": True, "lora-r": 4}),
    "dora with dropout": (GQA, {"use-dora": True, "lora-dropout": 0.3, "lora-r": 4}),
    "dora of GPT-2": ("families/gpt2", {"use-dora": True, "lora-r": 4}),
    "dora of an embedding": (
        UNTIED,
        {"use-dora": True, "target-modules": "embed_tokens,lm_head", "lora-r": 4},
    ),
    "bf16 base, dora": ("models/bf16", {"use-dora": True, "lora-r": 4}),
    "lora+": (UNTIED, {"loraplus-lr-ratio": 16, "learning-rate": 2e-3, "lora-r": 4}),
    "lora-fa": (UNTIED, {"optim": "lorafa", "lora-r": 4}),
    "pissa": (UNTIED, {**PISSA, "lora-r": 4}),
    "pissa of a head": (UNTIED, {**PISSA, "target-modules": "q_proj,lm_head", "lora-r": 4}),
    "olora": (GQA, {"init-lora-weights": "olora", "lora-r": 4}),
    "pissa, subtracted": (UNTIED, {**PISSA, **SUBTRACTED, "lora-r": 4}),
    "pissa_niter, subtracted": (
        GQA,
        {"init-lora-weights": "pissa_niter_2", **SUBTRACTED, "use-rslora": True, "lora-r": 4},
    ),
    "olora with dora, subtracted": (
        UNTIED,
        {"init-lora-weights": "olora", **SUBTRACTED, "use-dora": True, "lora-r": 4},
    ),
    "eva": (UNTIED, {"init-lora-weights": "eva", "lora-r": 4}),
    "eva with dora": (GQA, {"init-lora-weights": "eva", "use-dora": True, "lora-r": 3}),
    "lion": (UNTIED, {"optim": "lion", "learning-rate": 5e-3, "lora-r": 4}),
    "embedding": (UNTIED, {"target-modules": "embed_tokens,q_proj", "lora-r": 4}),
    "embedding of a tied model": (GQA, {"target-modules": "embed_tokens,q_proj", "lora-r": 4}),
    "tied targets": (GQA, {"target-modules": "q_proj,lm_head", **TYING, "lora-r": 4}),
    "saved head and norms": (UNTIED, {"modules-to-save": "lm_head,norm", "lora-r": 4}),
    "saved block": (UNTIED, {**QV_FLAGS, "modules-to-save": "layers.0.mlp"}),
    "saved head, tied": (GQA, {"modules-to-save": "lm_head", **TYING, "lora-r": 4}),
    "saved head of a tied model": (GQA, {"modules-to-save": "lm_head", "lora-r": 4}),
    "all biases": ("models/biases", {**QV_FLAGS, "bias": "all", "lora-bias": True}),
    "biases of targets": ("models/biases", {**QV_FLAGS, "bias": "lora_only"}),
    "tokens": (UNTIED, {**QV_FLAGS, "trainable-token-indices": "9,70"}),
    "tokens of a tied model": (GQA, {**QV_FLAGS, "trainable-token-indices": "9,70"}),
    "tokens of the head": (UNTIED, {**QV_FLAGS, "trainable-token-indices": "lm_head=9,70"}),
    "bf16 base, all parts": (
        "models/bf16",
        {**QV_FLAGS, "modules-to-save": "mlp", "trainable-token-indices": "9,70"},
    ),
    "bf16 base": ("models/bf16", {"lora-r": 4}),
    "tinystories": (STORIES, {"lora-r": 8, "lora-alpha": 16}),
    **{
        f"the family {name}": (f"families/{name}", {"lora-r": 4})
        for name in ("gemma3", "gpt2", "llama", "mistral", "olmo2", "phi3", "qwen2", "qwen3")
    },
}
ALL = {"energy": 1, "save-rest": True}
# name: (model, graft's flags). With ALL the adapter makes the tuned model of the base.
EXTRACTED_BY_GRAFT = {
    "all": (UNTIED, ALL),
    "all of a tied model": (GQA, ALL),
    "tied targets": (GQA, {**ALL, "target-modules": "q_proj,lm_head"}),
    "embedding and head": (UNTIED, {**ALL, "target-modules": "embed_tokens,lm_head"}),
    "biases": ("models/biases", ALL),
    "GPT-2": ("families/gpt2", ALL),
    "rank": (UNTIED, {"rank": 3}),
    "energy": (GQA, {"energy": 0.9}),
    "energy of GPT-2": ("families/gpt2", {"energy": 0.9, "max-rank": 12}),
}
# name: (model, graft's flags for the two adapters, of the combination)
COMBINED_BY_GRAFT = {
    "cat": (UNTIED, [QV_FLAGS, {"lora-r": 2, "use-rslora": True}], {"method": "cat"}),
    "svd": (GQA, [QV_FLAGS, {"lora-r": 6, "lora-alpha": 3}], {"method": "svd", "rank": 3}),
    "ties": (GQA, [QV_FLAGS, {"lora-r": 4}], {"method": "ties", "density": 0.6}),
    "dare_linear, PEFT's formula": (
        UNTIED,
        [QV_FLAGS, {**QV_FLAGS, "lora-alpha": 2}],
        {"method": "dare_linear", "density": 0.7, "compat": "peft"},
    ),
    "DoRA and PiSSA": (UNTIED, [{**QV_FLAGS, "use-dora": True}, {**PISSA, "lora-r": 2}], {"rank": 8}),
    "embedding and head": (
        UNTIED,
        [
            {"target-modules": "embed_tokens,q_proj", "lora-r": 3},
            {"target-modules": "lm_head,v_proj", "lora-r": 2},
        ],
        {"method": "cat"},
    ),
    "biases, saved modules and tokens": (
        "models/biases",
        [
            {**QV_FLAGS, "lora-bias": True, "modules-to-save": "norm"},
            {"lora-r": 2, "trainable-token-indices": "9,70"},
        ],
        {"method": "cat"},
    ),
}
QV = {"target_modules": ["q_proj", "v_proj"]}
DORA = {"use_dora": True}
# name: (model, PEFT's configuration)
MADE_BY_PEFT = {
    "default targets": (GQA, {}),
    "all-linear": (ODD, {"target_modules": "all-linear", "r": 3}),
    "regex": (GQA, {"target_modules": r".*layers\.1\..*_proj"}),
    "rslora": (UNTIED, {**QV, "use_rslora": True, "r": 5}),
    "patterns": (
        GQA,
        {
            "target_modules": "all-linear",
            # Sorted: PEFT sorts them when saving, and the first pattern that matches wins.
            "rank_pattern": {r"^model\.layers\.1\.mlp\..*": 3, "q_proj": 2},
            "alpha_pattern": {"down_proj": 1, r"layers\.0\..*": 32},
        },
    ),
    "layers_to_transform": (GQA, {**QV, "layers_to_transform": [1]}),
    "exclude_modules": (GQA, {"target_modules": r".*_proj", "exclude_modules": ["up_proj"]}),
    "fractional alpha": (UNTIED, {**QV, "lora_alpha": 0.75}),
    "untied head": (UNTIED, {"target_modules": ["o_proj", "lm_head"]}),
    "tied head": (GQA, {"target_modules": ["o_proj", "lm_head"]}),
    "biases": ("models/biases", {"target_modules": "all-linear"}),
    "embedding": (UNTIED, {"target_modules": ["embed_tokens", "v_proj"], "use_rslora": True}),
    "embedding and tied head": (GQA, {"target_modules": ["embed_tokens", "lm_head"]}),
    "tied targets": (GQA, {"target_modules": ["embed_tokens"], "ensure_weight_tying": True}),
    "saved modules": (ODD, {**QV, "modules_to_save": ["lm_head", "norm", "layers.0.mlp"]}),
    "saved and tied": (GQA, {**QV, "modules_to_save": ["lm_head"], "ensure_weight_tying": True}),
    "all biases": ("models/biases", {**QV, "bias": "all", "lora_bias": True}),
    "biases of targets": ("models/biases", {**QV, "bias": "lora_only"}),
    "saved module with biases": (
        "models/biases",
        {**QV, "bias": "all", "modules_to_save": ["mlp"]},
    ),
    "tokens": (GQA, {**QV, "trainable_token_indices": [4, 80, 11]}),
    "tokens that differ": (
        GQA,
        {**QV, "trainable_token_indices": {"embed_tokens": [4, 80], "lm_head": [80]}},
    ),
    "dora": (GQA, {"target_modules": "all-linear", "use_dora": True, "lora_dropout": 0.1}),
    "dora of an embedding": (UNTIED, {"target_modules": ["embed_tokens", "v_proj"], **DORA}),
    "alora": (
        GQA,
        {**QV, "task_type": "CAUSAL_LM", "alora_invocation_tokens": sample_ids(96)[2][8:10]},
    ),
    "pissa": (GQA, {"target_modules": "all-linear", "init_lora_weights": "pissa"}),
    "pissa of a head": (UNTIED, {"target_modules": ["lm_head"], "init_lora_weights": "pissa"}),
    "olora, rslora": (UNTIED, {**QV, "init_lora_weights": "olora", "use_rslora": True}),
    "eva": (GQA, {**QV, "init_lora_weights": "eva", "eva_config": EvaConfig(rho=1.5)}),
    "bf16 base": ("models/bf16", QV),
    "bf16 base, dora": ("models/bf16", {**QV, **DORA}),
    "tinystories": (STORIES, {"target_modules": "all-linear", "task_type": "CAUSAL_LM"}),
}


def load_adapter(base, folder):
    """PEFT's model; its warning that the file lacks keys is a failure."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(load_base(base), folder).eval()
    for warning in caught:
        if "missing adapter keys" in str(warning.message):
            raise Failure(f"PEFT warns: {warning.message}")
    return model


def takes_from_base(folder):
    return stored_config(folder)["init_lora_weights"] in ("pissa", "olora")


def tolerance_of(folder):
    return TAKEN_OUT_TOLERANCE if takes_from_base(folder) else LOGIT_TOLERANCE


def stored_shapes(folder):
    """The shapes of its tensors. graft writes no base weight of PiSSA and OLoRA, of which PEFT takes
    the adapter's part out again when it loads them, so there they are left out of both."""
    is_taken_out = takes_from_base(folder)
    with safe_open(Path(folder) / "adapter_model.safetensors", "pt") as file:
        return {
            key: tuple(file.get_slice(key).get_shape())
            for key in file.keys()
            if not (is_taken_out and ".base_layer." in key)
        }


def stored_config(folder):
    config = json.loads((Path(folder) / "adapter_config.json").read_text(encoding="utf-8"))
    for key, value in config.items():
        if isinstance(value, list):
            config[key] = sorted(value)
    return config


def expect_same_files(actual, expected):
    """The files graft wrote have the keys, shapes and settings that PEFT's have."""
    for what, read in (("tensors", stored_shapes), ("adapter_config.json", stored_config)):
        ours, theirs = read(actual), read(expected)
        wrong = [
            f"{key} is {ours.get(key, 'missing')!r}, PEFT writes {theirs.get(key, 'nothing')!r}"
            for key in sorted(ours.keys() | theirs.keys())
            if key not in ours or key not in theirs or ours[key] != theirs[key]
        ]
        if wrong:
            raise Failure(f"{what}: {'; '.join(wrong)}")


def training_data(model):
    """Samples whose ids the model has."""
    if model.startswith("families/"):
        return GOLDEN / "families" / "data.jsonl"
    return GOLDEN / "lora_runs" / ("stories.jsonl" if model == STORIES else "data.jsonl")


def check_trained_by_graft(options, model, flags, notes):
    base = model_folder(options, model)
    with temporary_folder() as scratch:
        out = Path(scratch) / "adapter"
        files = {"model": base, "data": training_data(model), "out": out}
        run_graft(options, "train", {**files, **TRAINING, **flags})
        adapted = load_adapter(base, out)
        sequences = sample_ids(adapted.config.vocab_size)
        expected = torch_logits(adapted, sequences)
        plain = torch_logits(load_base(base), sequences)
        if largest_difference(expected, plain) < 1e-3:
            raise Failure("the trained adapter changes no logit by more than 1e-3")
        actual = graft_logits(options, scratch, sequences, model=base, adapter=out)
        expect_same_logits(actual, expected, notes, tolerance_of(out))
        adapted.save_pretrained(Path(scratch) / "again")
        expect_same_files(out, Path(scratch) / "again")


def check_extracted_by_graft(options, model, flags, notes):
    base = model_folder(options, model)
    with temporary_folder() as scratch:
        tuned, out = Path(scratch) / "tuned", Path(scratch) / "adapter"
        files = {"model": base, "data": training_data(model), "out": tuned}
        run_graft(options, "train", {**files, **TRAINING, "method": "full"})
        run_graft(options, "extract", {"base": base, "tuned": tuned, "out": out, **flags})
        adapted = load_adapter(base, out)
        sequences = sample_ids(adapted.config.vocab_size)
        expected = torch_logits(adapted, sequences)
        actual = graft_logits(options, scratch, sequences, model=base, adapter=out)
        expect_same_logits(actual, expected, notes)
        if "save-rest" in flags:
            expect_same_logits(torch_logits(load_base(tuned), sequences), expected, notes)
        if "target-modules" in flags or (flags == ALL and model == "families/gpt2"):
            return  # PEFT adds the base's embedding and head, and drops the head that GPT-2 ties
        adapted.save_pretrained(Path(scratch) / "again")
        expect_same_files(out, Path(scratch) / "again")


def check_combined_by_graft(options, model, adapters, flags, notes):
    base = model_folder(options, model)
    with temporary_folder() as scratch:
        folders = []
        for index, (weight, settings) in enumerate(zip(("0.7", "-0.4"), adapters, strict=True)):
            out = Path(scratch) / f"adapter{index}"
            files = {"model": base, "data": training_data(model), "out": out}
            run_graft(options, "train", {**files, **TRAINING, "seed": index + 1, **settings})
            folders.append(f"{out}@{weight}")
        out = Path(scratch) / "combined"
        run_graft(options, "combine", {"model": base, "adapter": folders, "out": out, **flags})
        adapted = load_adapter(base, out)
        sequences = sample_ids(adapted.config.vocab_size)
        expected = torch_logits(adapted, sequences)
        plain = torch_logits(load_base(base), sequences)
        if largest_difference(expected, plain) < 1e-3:
            raise Failure("the combined adapter changes no logit by more than 1e-3")
        actual = graft_logits(options, scratch, sequences, model=base, adapter=out)
        expect_same_logits(actual, expected, notes)
        adapted.save_pretrained(Path(scratch) / "again")
        expect_same_files(out, Path(scratch) / "again")


def check_made_by_peft(options, model, config, notes):
    base = model_folder(options, model)
    torch.manual_seed(3)
    adapted = get_peft_model(load_base(base), LoraConfig(**config)).eval()
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.1)
    sequences = sample_ids(adapted.config.vocab_size)
    expected = torch_logits(adapted, sequences)
    with temporary_folder() as scratch:
        out = Path(scratch) / "adapter"
        adapted.save_pretrained(out)
        actual = graft_logits(options, scratch, sequences, model=base, adapter=out)
        expect_same_logits(actual, expected, notes, tolerance_of(out))


def main():
    options = parse_options(__doc__)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    report = Report()
    for name, (model, flags) in TRAINED_BY_GRAFT.items():
        with report.check(f"PEFT loads what graft trained: {name}") as notes:
            check_trained_by_graft(options, model, flags, notes)
    for name, (model, flags) in EXTRACTED_BY_GRAFT.items():
        with report.check(f"PEFT loads what graft extracted: {name}") as notes:
            check_extracted_by_graft(options, model, flags, notes)
    for name, (model, adapters, flags) in COMBINED_BY_GRAFT.items():
        with report.check(f"PEFT loads what graft combined: {name}") as notes:
            check_combined_by_graft(options, model, adapters, flags, notes)
    for name, (model, config) in MADE_BY_PEFT.items():
        with report.check(f"graft loads what PEFT made: {name}") as notes:
            check_made_by_peft(options, model, config, notes)
    report.finish()


if __name__ == "__main__":
    main()
