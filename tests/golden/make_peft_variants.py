"""Adapters of PEFT's variants of LoRA, five training steps of each, and their logits.

See README.md for the files, tensors and keys.
"""

from recording import start

start(__doc__)

from adapting import make_adapters  # noqa: E402

SEED = 171
GQA, UNTIED, BIASES = "models/gqa", "models/untied", "models/biases"
GPT2, GEMMA = "families/gpt2", "families/gemma3"
LORA = {"r": 2, "lora_alpha": 8, "task_type": "CAUSAL_LM"}
Q = {**LORA, "target_modules": ["q_proj"]}
DORA = {"use_dora": True}
PISSA = {"init_lora_weights": "pissa"}
OLORA = {"init_lora_weights": "olora"}
# name: (base model, what differs from LoraConfig's defaults)
ADAPTERS = {
    "dora": (UNTIED, {**LORA, **DORA, "target_modules": ["q_proj", "down_proj"]}),
    "dora_rslora": (GQA, {**Q, **DORA, "use_rslora": True, "rank_pattern": {"layers.0.*": 3}}),
    "dora_biases": (BIASES, {**Q, **DORA, "bias": "lora_only"}),
    "dora_embedding": (UNTIED, {**LORA, **DORA, "target_modules": ["embed_tokens", "v_proj"]}),
    "dora_of_tied": (GQA, {**LORA, **DORA, "target_modules": ["embed_tokens", "lm_head"]}),
    "dora_gpt2": (GPT2, {**LORA, **DORA, "target_modules": ["wte", "c_attn", "c_proj"]}),
    "dora_gemma": (GEMMA, {**LORA, **DORA, "target_modules": ["embed_tokens", "q_proj"]}),
    "pissa": (UNTIED, {**LORA, **PISSA, "target_modules": ["q_proj", "down_proj"]}),
    # As many iterations as it takes to the exact values: the directions are random.
    "pissa_niter": (UNTIED, {**Q, "init_lora_weights": "pissa_niter_200"}),
    "pissa_rslora": (GQA, {**Q, **PISSA, "use_rslora": True}),
    "pissa_gpt2": (GPT2, {**LORA, **PISSA, "target_modules": ["wte", "c_attn"]}),
    "pissa_dora": (UNTIED, {**Q, **PISSA, **DORA}),
    "olora": (UNTIED, {**LORA, **OLORA, "target_modules": ["q_proj", "down_proj"]}),
    "olora_patterns": (
        BIASES,
        {
            **LORA,
            **OLORA,
            "target_modules": ["k_proj", "up_proj"],
            "rank_pattern": {"k_proj": 3},
            "alpha_pattern": {"up_proj": 1},
        },
    ),
    "alora": (
        GQA,
        {**LORA, "target_modules": ["q_proj", "down_proj"], "alora_invocation_tokens": [50]},
    ),
    # On a base that is put in 4 bits elsewhere.
    "dora_4bit": ("qlora/dense", {**LORA, **DORA, "target_modules": ["k_proj", "up_proj"]}),
}


if __name__ == "__main__":
    make_adapters("peft_variants", ADAPTERS, SEED)
