"""Hugging Face models as GGUF files, with the metadata and tensors that llama.cpp's converter writes.

Tensor names are the gguf package's own; what it leaves to the converter is here: which keys an
architecture has, and what happens to the numbers (rows of rotated heads side by side for Llama, 1
added to Gemma's norms, GPT-2's matrices transposed, factors of rotary positions as tensors).
"""

import math

import gguf
import torch
from gguf import MODEL_ARCH, GGMLQuantizationType, TokenType
from transformers import AutoConfig

ARCHITECTURES = {
    "llama": MODEL_ARCH.LLAMA,
    "mistral": MODEL_ARCH.LLAMA,
    "qwen2": MODEL_ARCH.QWEN2,
    "qwen3": MODEL_ARCH.QWEN3,
    "gpt2": MODEL_ARCH.GPT2,
    "phi3": MODEL_ARCH.PHI3,
    "gemma3_text": MODEL_ARCH.GEMMA3,
    "olmo2": MODEL_ARCH.OLMO2,
}


def head_size(config):
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def rope_of(config):
    """The settings of the whole model, or of its global layers."""
    return config["rope_parameters"].get("full_attention", config["rope_parameters"])


def add_rope(writer, config):
    rope = rope_of(config)
    kind = rope["rope_type"]
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        if rope.get("attention_factor") is not None:
            writer.add_rope_scaling_yarn_attn_factor(rope["attention_factor"])
        if rope.get("beta_fast") is not None:
            writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
        if rope.get("beta_slow") is not None:
            writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
    elif kind == "longrope":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
    writer.add_rope_freq_base(rope["rope_theta"])
    local = config["rope_parameters"].get("sliding_attention")
    if local:
        writer.add_rope_freq_base_swa(local["rope_theta"])


def add_common(writer, config):
    """What most architectures have."""
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if config.get("head_dim"):
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
    add_rope(writer, config)


def add_llama(writer, config):
    add_common(writer, config)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_rope_dimension_count(head_size(config))


def add_gpt2(writer, config):
    writer.add_block_count(config["n_layer"])
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(4 * config["n_embd"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])


def rotated_elements(config):
    part = rope_of(config).get("partial_rotary_factor", 1.0)
    return int(part * config["hidden_size"]) // config["num_attention_heads"]


def add_phi3(writer, config):
    rope = rope_of(config)
    original = rope.get("original_max_position_embeddings", config["original_max_position_embeddings"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_rope_scaling_orig_ctx_len(original)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(rotated_elements(config))
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_sliding_window(config.get("sliding_window") or 0)
    if rope["rope_type"] == "longrope":
        scale = config["max_position_embeddings"] / original
        factor = math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0
        writer.add_rope_scaling_attn_factors(factor)


def add_gemma3(writer, config):
    add_common(writer, config)
    writer.add_sliding_window(config["sliding_window"])


METADATA = {
    MODEL_ARCH.LLAMA: add_llama,
    MODEL_ARCH.QWEN2: add_common,
    MODEL_ARCH.QWEN3: add_common,
    MODEL_ARCH.GPT2: add_gpt2,
    MODEL_ARCH.PHI3: add_phi3,
    MODEL_ARCH.GEMMA3: add_gemma3,
    MODEL_ARCH.OLMO2: add_common,
}


def interleaved(rows, heads):
    """Of each head, row i of the first half and row i of the second next to each other."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def stored(name, tensor, architecture, config):
    """A tensor as the file holds it, in f32."""
    tensor = tensor.float()
    kind = name.rsplit(".", 1)[0]
    if architecture == MODEL_ARCH.LLAMA and kind.endswith("q_proj"):
        return interleaved(tensor, config["num_attention_heads"])
    if architecture == MODEL_ARCH.LLAMA and kind.endswith("k_proj"):
        return interleaved(tensor, config["num_key_value_heads"])
    if architecture == MODEL_ARCH.GEMMA3 and name.endswith("norm.weight"):
        return tensor + 1
    if architecture == MODEL_ARCH.GPT2 and kind.endswith(("c_attn", "c_proj", "c_fc")):
        return tensor.T if name.endswith("weight") else tensor
    return tensor


def llama3_factors(rope, dim):
    """By what each of the dim / 2 frequencies is divided."""
    frequencies = 1.0 / rope["rope_theta"] ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    original = rope["original_max_position_embeddings"]
    factors = []
    for frequency in frequencies:
        length = 2 * math.pi / frequency
        if length < original / high:
            factors.append(1.0)
        elif length > original / low:
            factors.append(rope["factor"])
        else:
            smooth = (original / length - low) / (high - low)
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return torch.tensor(factors, dtype=torch.float32)


def rope_tables(architecture, config):
    """{name: factors} that stand among the tensors."""
    if architecture == MODEL_ARCH.GPT2:
        return {}
    rope = rope_of(config)
    if rope["rope_type"] == "llama3":
        return {"rope_freqs.weight": llama3_factors(rope, head_size(config))}
    if rope["rope_type"] == "longrope":
        return {
            f"rope_factors_{kind}.weight": torch.tensor(rope[f"{kind}_factor"])
            for kind in ("long", "short")
        }
    return {}


def adapter_pairs(tensors):
    """{name of the weight: [A, B]} of PEFT's tensors."""
    pairs = {}
    for key, tensor in tensors.items():
        path, kind = key.removeprefix("base_model.model.").split(".lora_")
        pair = pairs.setdefault(f"{path}.weight", [None, None])
        pair[kind.removeprefix("embedding_").startswith("B")] = tensor.float()
    return pairs


def write_gguf_adapter(path, folder, adapter, tensors, type=GGMLQuantizationType.F32):
    """A LoRA of PEFT's for the model of a folder, as llama.cpp's convert_lora_to_gguf.py writes it.

    `adapter` is the adapter's configuration. Rows of B that rotated heads read are moved as those of
    the weight are, A of an embedding stands transposed, and what no block of the type divides is
    F16.
    """
    config = AutoConfig.from_pretrained(folder).to_dict()
    architecture = ARCHITECTURES[config["model_type"]]
    names = gguf.get_tensor_name_map(architecture, config["num_hidden_layers"])
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_name(path.stem)
    writer.add_base_model_count(1)
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(adapter["lora_alpha"]))
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for name, (a, b) in adapter_pairs(tensors).items():
        new = names.get_name(name, try_suffixes=(".weight",))
        assert new is not None, name
        pair = {
            "lora_a": a.T if new == "token_embd.weight" else a,
            "lora_b": stored(name, b, architecture, config),
        }
        for end, tensor in pair.items():
            block = gguf.GGML_QUANT_SIZES[type][0]
            fits = tensor.shape[-1] % block == 0
            held = type if fits else GGMLQuantizationType.F16
            data = gguf.quantize(tensor.contiguous().numpy(), held)
            writer.add_tensor(f"{new}.{end}", data, raw_dtype=held)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def file_type_of(name, tensor, matrices):
    """Vectors, norms and position tables stay f32."""
    plain = tensor.ndim == 1 or name.endswith("_norm.weight") or name == "position_embd.weight"
    return GGMLQuantizationType.F32 if plain else matrices


def add_tensors(writer, architecture, config, tensors, matrices):
    layers = config.get("num_hidden_layers", config.get("n_layer"))
    names = gguf.get_tensor_name_map(architecture, layers)
    all_tensors = rope_tables(architecture, config)
    for name, tensor in tensors.items():
        new = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert new is not None, name
        all_tensors[new] = stored(name, tensor, architecture, config)
    for name, tensor in all_tensors.items():
        type = file_type_of(name, tensor, matrices)
        data = gguf.quantize(tensor.contiguous().numpy(), type)
        writer.add_tensor(name, data, raw_dtype=type)


def add_tokenizer(writer, vocabulary, sentencepiece):
    """A tokenizer of pad, bos, eos and as many plain tokens: two letters each, or merges of two."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    space = "▁" if sentencepiece else "Ġ"
    special = ["<pad>", "<s>", "</s>"] + (["<unk>"] if sentencepiece else [])
    plain = [space, *letters]
    merges = [(space, "a"), (space, "b"), ("t", "h"), ("th", "e"), (space, "the"), ("i", "n")]
    merges += [("a", letter) for letter in letters[1:]]
    pieces = special + plain
    for left, right in merges:
        if len(pieces) < vocabulary and left + right not in pieces:
            pieces.append(left + right)
    types = [TokenType.CONTROL] * 3 + [TokenType.NORMAL] * (len(pieces) - 3)
    if sentencepiece:
        types[3] = TokenType.UNKNOWN
    while len(pieces) < vocabulary:
        pieces.append(f"[PAD{len(pieces)}]")
        types.append(TokenType.UNUSED)
    writer.add_tokenizer_model("llama" if sentencepiece else "gpt2")
    writer.add_token_list(pieces)
    if sentencepiece:
        writer.add_tokenizer_pre("default")
        writer.add_token_scores([0.0 if i < 4 else 4.0 - i for i in range(vocabulary)])
        writer.add_unk_token_id(3)
    writer.add_token_types(types)
    if not sentencepiece:
        known = [f"{a} {b}" for a, b in merges if a in pieces and b in pieces and a + b in pieces]
        writer.add_token_merges(known)
    writer.add_pad_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


PRE_TOKENIZERS = {"qwen2": "qwen2", "qwen3": "qwen2", "gpt2": "gpt-2", "olmo2": "dbrx"}


def write_gguf(path, folder, tensors, matrices=GGMLQuantizationType.F32, part_tensors=0):
    """The model of a Hugging Face folder with these {name: tensor}; `matrices` is their type.

    Where `part_tensors` is not 0, so many tensors are in a file: PATH-00001-of-00003.gguf …
    """
    config = AutoConfig.from_pretrained(folder).to_dict()
    architecture = ARCHITECTURES[config["model_type"]]
    name = gguf.MODEL_ARCH_NAMES[architecture]
    writer = gguf.GGUFWriter(path, name, split_max_tensors=part_tensors)
    METADATA[architecture](writer, config)
    pre = PRE_TOKENIZERS.get(config["model_type"])
    add_tokenizer(writer, config["vocab_size"], sentencepiece=pre is None)
    if pre:
        writer.add_tokenizer_pre(pre)
    if architecture == MODEL_ARCH.GEMMA3:
        writer.add_add_space_prefix(False)
    add_tensors(writer, architecture, config, tensors, matrices)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
