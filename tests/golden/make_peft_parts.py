"""Adapters with all that PEFT's LoRA can train, five training steps of each, and their logits.

See README.md for the files, tensors and keys.
"""

from recording import start

start(__doc__)

from adapting import IDS, make_adapters  # noqa: E402

SEED = 71
GQA, UNTIED, BIASES = "models/gqa", "models/untied", "models/biases"
GPT2, GEMMA = "families/gpt2", "families/gemma3"
LORA = {"r": 2, "lora_alpha": 8, "task_type": "CAUSAL_LM"}
Q = {**LORA, "target_modules": ["q_proj"]}
TIED = {"ensure_weight_tying": True}
# name: (base model, what differs from LoraConfig's defaults)
ADAPTERS = {
    "embedding": (UNTIED, {**LORA, "target_modules": ["embed_tokens", "q_proj"]}),
    "embedding_pattern": (
        UNTIED,
        {
            **LORA,
            "target_modules": r".*embed_tokens",
            "lora_dropout": 0.5,  # embeddings have none
            "use_rslora": True,
            "rank_pattern": {"embed_tokens": 3},
            "alpha_pattern": {"embed_tokens": 5},
        },
    ),
    "both_of_tied": (GQA, {**LORA, "target_modules": ["embed_tokens", "lm_head"]}),
    "targets_tied": (GQA, {**LORA, **TIED, "target_modules": ["lm_head", "q_proj"]}),
    "targets_tied_regex": (GQA, {**LORA, **TIED, "target_modules": r".*(embed_tokens|v_proj)"}),
    "save_norms": (UNTIED, {**Q, "modules_to_save": ["norm"]}),
    "save_block": (UNTIED, {**Q, "modules_to_save": ["layers.1.self_attn"]}),
    "save_biases": (BIASES, {**Q, "modules_to_save": ["k_proj"], "bias": "lora_only"}),
    "save_head_of_tied": (GQA, {**Q, "modules_to_save": ["lm_head"]}),
    "save_tied": (GQA, {**Q, **TIED, "modules_to_save": ["lm_head"]}),
    "bias_all": (BIASES, {**Q, "bias": "all"}),
    "bias_lora_only": (BIASES, {**Q, "bias": "lora_only"}),
    "bias_without_any": (UNTIED, {**Q, "bias": "all"}),
    "lora_bias": (BIASES, {**Q, "lora_bias": True, "bias": "all"}),
    "lora_bias_alone": (UNTIED, {**Q, "lora_bias": True, "init_lora_weights": False}),
    "tokens": (UNTIED, {**Q, "trainable_token_indices": IDS}),
    "tokens_of_tied": (GQA, {**Q, "trainable_token_indices": IDS}),
    "tokens_tied": (GQA, {**Q, **TIED, "trainable_token_indices": {"embed_tokens": IDS}}),
    "tokens_differ": (GQA, {**Q, "trainable_token_indices": {"embed_tokens": IDS, "lm_head": [3]}}),
    "tokens_of_head": (
        UNTIED,
        {**LORA, "target_modules": ["embed_tokens"], "trainable_token_indices": {"lm_head": IDS}},
    ),
    "gpt2_embeddings": (
        GPT2,
        {**LORA, "target_modules": ["wte", "wpe", "mlp.c_proj"], "bias": "lora_only"},
    ),
    "gpt2_biases": (GPT2, {**LORA, "target_modules": ["c_attn"], "bias": "all"}),
    "gpt2_saved": (
        GPT2,
        {
            **LORA,
            "target_modules": ["attn.c_proj"],
            "fan_in_fan_out": True,
            "modules_to_save": ["ln_f", "h.1.attn.c_attn"],
            "trainable_token_indices": IDS,
        },
    ),
    "gemma_embedding": (GEMMA, {**LORA, "target_modules": ["embed_tokens", "q_proj"]}),
    "gemma_tokens": (GEMMA, {**Q, "trainable_token_indices": IDS, "modules_to_save": ["q_norm"]}),
    "orthogonal": (UNTIED, {**Q, "init_lora_weights": "orthogonal"}),
    "other_tokens_of_tied": (GQA, {**Q, "trainable_token_indices": [9, 11]}),
    # The head is no part of all-linear, so there is nothing to tie.
    "all_linear_tied": (GQA, {**LORA, **TIED, "target_modules": "all-linear"}),
}


if __name__ == "__main__":
    make_adapters("peft_parts", ADAPTERS, SEED)
