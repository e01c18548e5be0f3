"""The models, configurations and training runs of make_families.py, as tables."""

from transformers import (
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

REMOVED = object()  # a key that a case's config.json has not
BASE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": True,
}
ODD = {
    **BASE,
    "vocab_size": 61,
    "hidden_size": 36,
    "intermediate_size": 44,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "tie_word_embeddings": False,
}
GPT2 = {
    "vocab_size": 64,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
}
# name: configuration. Each is saved with random weights, as transformers saves it.
MODELS = {
    "llama": LlamaConfig(**BASE),
    "qwen2": Qwen2Config(**BASE | {"num_hidden_layers": 3}),
    "qwen2_odd": Qwen2Config(**ODD),
    "mistral": MistralConfig(**BASE, head_dim=16, sliding_window=None),
    "qwen3": Qwen3Config(**BASE | {"num_hidden_layers": 3}, head_dim=16),
    "qwen3_biases": Qwen3Config(**ODD, head_dim=8, attention_bias=True),
    "gpt2": GPT2Config(**GPT2),
    "gpt2_odd": GPT2Config(
        **GPT2 | {"vocab_size": 61, "n_embd": 36, "n_head": 3},
        n_inner=44,
        tie_word_embeddings=False,
    ),
    "phi3": Phi3Config(**BASE | {"tie_word_embeddings": False}),
    "phi3_odd": Phi3Config(
        **ODD,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.67,  # 8 of the 12 elements of a head
        },
    ),
    "gemma3": Gemma3TextConfig(
        **BASE | {"num_hidden_layers": 3},
        head_dim=16,
        query_pre_attn_scalar=24,
        sliding_window=5,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "olmo2": Olmo2Config(**BASE | {"tie_word_embeddings": False}),
    "olmo2_odd": Olmo2Config(**ODD, attention_bias=True),
}


def new_rope(kind, theta=10000.0, **keys):
    """transformers 5."""
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **keys}}


def old_rope(kind, theta=10000.0, key="type", **keys):
    """transformers 4; the first of them wrote `type`."""
    scaling = {"rope_scaling": {key: kind, **keys}} if kind else {}
    return {"rope_parameters": REMOVED, "rope_theta": theta, **scaling}


LLAMA3 = {
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
FACTORS = {"short_factor": [1.0, 1.1, 1.5, 2.0], "long_factor": [1.0, 2.0, 5.0, 9.0]}
YARN = {"factor": 4.0, "original_max_position_embeddings": 16}
# Texts are longer than these: windows, and positions before the angles change.
SHORT_WINDOW, FEW_POSITIONS = 5, 12
# name: (model, what config.json says otherwise)
CASES = {
    "llama": ("llama", {}),
    "llama_old_theta": ("llama", old_rope(None, 5000.0)),
    "llama_linear": ("llama", new_rope("linear", factor=3.0)),
    "llama_linear_old": ("llama", old_rope("linear", factor=3.0)),
    "llama_dynamic": (
        "llama",
        {"max_position_embeddings": FEW_POSITIONS, **new_rope("dynamic", factor=4.0)},
    ),
    "llama_dynamic_old": (
        "llama",
        {"max_position_embeddings": FEW_POSITIONS, **old_rope("dynamic", factor=4.0)},
    ),
    "llama_llama3": ("llama", new_rope("llama3", 500000.0, **LLAMA3)),
    "llama_llama3_old": ("llama", old_rope("llama3", 500000.0, "rope_type", **LLAMA3)),
    "llama_yarn": ("llama", new_rope("yarn", 1000.0, **YARN)),
    "llama_yarn_mscale": (
        "llama",
        new_rope("yarn", **YARN, mscale=0.7, mscale_all_dim=1.3, beta_fast=4, beta_slow=2)
    ),
    "llama_yarn_attention": (
        "llama",
        new_rope("yarn", 100.0, **YARN, attention_factor=1.3, truncate=False),
    ),
    "llama_longrope": (
        "llama",
        new_rope("longrope", **FACTORS, original_max_position_embeddings=FEW_POSITIONS),
    ),
    "qwen2": ("qwen2", {}),
    "qwen2_window": (
        "qwen2",
        {
            "use_sliding_window": True,
            "sliding_window": SHORT_WINDOW,
            "max_window_layers": 1,
            "layer_types": REMOVED,
        },
    ),
    "qwen2_layer_types": (
        "qwen2",
        {
            "use_sliding_window": True,
            "sliding_window": SHORT_WINDOW,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
    ),
    "qwen2_yarn_old": ("qwen2", old_rope("yarn", 1000.0, **YARN)),
    "qwen2_odd": ("qwen2_odd", {}),
    "mistral": ("mistral", {}),
    "mistral_window": ("mistral", {"sliding_window": SHORT_WINDOW, **old_rope(None, 1000.0)}),
    "qwen3": ("qwen3", {}),
    "qwen3_window": (
        "qwen3",
        {
            "use_sliding_window": True,
            "sliding_window": SHORT_WINDOW,
            "max_window_layers": 2,
            "layer_types": REMOVED,
        },
    ),
    "qwen3_biases": ("qwen3_biases", {}),
    "gpt2": ("gpt2", {}),
    "gpt2_gelu": ("gpt2", {"activation_function": "gelu"}),
    "gpt2_unscaled": ("gpt2", {"scale_attn_weights": False}),
    "gpt2_odd": ("gpt2_odd", {}),
    "phi3": ("phi3", {"sliding_window": SHORT_WINDOW}),
    "phi3_longrope": (
        "phi3",
        {
            "original_max_position_embeddings": FEW_POSITIONS,
            **old_rope("longrope", **FACTORS),
        },
    ),
    "phi3_longrope_new": (
        "phi3",
        {
            "original_max_position_embeddings": FEW_POSITIONS,
            **new_rope(
                "longrope",
                **FACTORS,
                original_max_position_embeddings=FEW_POSITIONS,
                partial_rotary_factor=1.0,
                attention_factor=1.2,
            ),
        },
    ),
    "phi3_odd": ("phi3_odd", {}),
    "gemma3": ("gemma3", {}),
    "gemma3_old": (
        "gemma3",
        {
            "rope_local_base_freq": 500.0,
            "layer_types": REMOVED,
            "sliding_window_pattern": 2,
            **old_rope("linear", 20000.0, "rope_type", factor=8.0),
        },
    ),
    "olmo2": ("olmo2", {}),
    "olmo2_odd": ("olmo2_odd", {}),
}
# name: (case, what LoraConfig gets besides rank, alpha and task type)
RUNS = {
    "llama": ("llama_llama3", {"target_modules": ["q_proj", "v_proj"]}),
    "qwen2": ("qwen2_window", {"target_modules": ["k_proj", "o_proj"]}),
    "mistral": ("mistral_window", {"target_modules": ["q_proj", "v_proj"]}),
    "qwen3": ("qwen3", {"target_modules": ["q_proj", "k_proj"]}),
    "gpt2": ("gpt2", {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    "gpt2_corrected": ("gpt2", {"target_modules": ["c_attn"], "fan_in_fan_out": False}),
    "phi3": ("phi3", {"target_modules": ["qkv_proj", "gate_up_proj"]}),
    "gemma3": ("gemma3", {"target_modules": ["q_proj", "down_proj"]}),
    "olmo2": ("olmo2", {"target_modules": ["k_proj", "up_proj"]}),
}
