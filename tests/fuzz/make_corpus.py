"""Writes what the fuzz programs begin with: a few small files for each, right and wrong ones.

    make_corpus.py FOLDER      writes FOLDER/<target>/<name>

They are made here, taken from the golden files, or, in findings/<target>, inputs that once broke a
reader.
"""

import json
import shutil
import struct
import sys
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
sys.path.insert(0, str(GOLDEN))
import chat_snippets  # noqa: E402


def safetensors(header, data=b"", length=None):
    """The bytes of a file with this header, a text or an object."""
    text = header if isinstance(header, str) else json.dumps(header)
    size = len(text.encode()) if length is None else length
    return struct.pack("<Q", size) + text.encode() + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors_files():
    yield (GOLDEN / "safetensors" / "all_dtypes.safetensors").read_bytes()
    two = {
        "__metadata__": {"format": "pt"},
        "a": entry("F32", [2, 2], 0, 16),
        "b": entry("BF16", [3], 16, 22),
    }
    yield safetensors(two, bytes(22))
    yield safetensors(two, bytes(21))
    yield safetensors({"a": entry("F4", [4], 0, 2), "b": entry("BOOL", [2], 2, 4)}, b"\0\0\1\2")
    yield safetensors({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 2, 6)}, bytes(6))
    yield safetensors({"a": entry("I64", [2**32, 2**32], 0, 8)}, bytes(8))
    yield safetensors({"a": entry("F64", [2, 2**63 - 1], 0, 8)}, bytes(8))
    yield safetensors({"a": entry("F64", [], 0, 8), "b": entry("F32", [0, 9], 8, 8)}, bytes(8))
    yield safetensors('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{}}', b"x")
    yield safetensors("{}", length=2**63)
    yield safetensors(" {} ")
    yield safetensors("{")
    yield b""


def shard_indexes():
    right = {
        "metadata": {"total_size": 20},
        "weight_map": {"x": "a.safetensors", "y": "b.safetensors"},
    }
    for file in (
        right,
        {"weight_map": {"x": "b.safetensors", "y": "b.safetensors"}},
        {"weight_map": {"x": "a.safetensors"}},
        {"weight_map": {"x": "../a.safetensors"}},
        {"weight_map": {"x": "./a.safetensors"}},
        {"weight_map": {"x": "pytorch_model.bin"}},
        {"weight_map": {"x": ["a.safetensors"]}},
        {"weight_map": 1, "more": [{"weight_map": {}}]},
        [right],
    ):
        yield json.dumps(file).encode()
    yield b'{"weight_map": {"x": "a.safetensors", "x": "b.safetensors"}}'


def gguf_text(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf_value(key, kind, value):
    return gguf_text(key) + struct.pack("<I", kind) + value


def gguf_list(key, kind, elements):
    return gguf_value(key, 9, struct.pack("<IQ", kind, len(elements)) + b"".join(elements))


def gguf(values=(), tensors=(), data=b"", version=3):
    """The bytes of a file. Tensors: (name, sizes from the innermost, type, offset)."""
    result = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values)) + b"".join(values)
    for name, sizes, kind, offset in tensors:
        result += gguf_text(name) + struct.pack("<I", len(sizes))
        result += b"".join(struct.pack("<Q", size) for size in sizes)
        result += struct.pack("<IQ", kind, offset)
    if data:
        result += bytes(-len(result) % 32)
    return result + data


def gguf_vocabulary(model):
    """Metadata of a tokenizer with a dozen tokens."""
    pieces = ["<unk>", "<s>", "</s>", "<0x0A>", "▁", "S", "o", "m", "e", "so", "▁s", "Ġ"]
    return [
        gguf_value("general.architecture", 8, gguf_text("llama")),
        gguf_value("tokenizer.ggml.model", 8, gguf_text(model)),
        gguf_value("tokenizer.ggml.pre", 8, gguf_text("llama-bpe")),
        gguf_list("tokenizer.ggml.tokens", 8, [gguf_text(piece) for piece in pieces]),
        gguf_list(
            "tokenizer.ggml.scores", 6, [struct.pack("<f", -i) for i in range(len(pieces))]
        ),
        gguf_list(
            "tokenizer.ggml.token_type",
            5,
            [struct.pack("<i", kind) for kind in (2, 3, 3, 6, 1, 1, 1, 1, 1, 1, 1, 1)],
        ),
        gguf_list("tokenizer.ggml.merges", 8, [gguf_text("s o"), gguf_text("m e")]),
        gguf_value("tokenizer.ggml.bos_token_id", 4, struct.pack("<I", 1)),
        gguf_value("tokenizer.ggml.eos_token_id", 4, struct.pack("<I", 2)),
    ]


def gguf_files():
    yield gguf()
    yield gguf(version=2)
    numbers = [
        gguf_value(f"n{kind}", kind, struct.pack(code, 1))
        for kind, code in enumerate(["B", "b", "<H", "<h", "<I", "<i", "<f", "?"])
    ]
    numbers += [
        gguf_value(f"n{kind}", kind, struct.pack(code, 1))
        for kind, code in ((10, "<Q"), (11, "<q"), (12, "<d"))
    ]
    yield gguf(numbers)
    alignment = gguf_value("general.alignment", 4, struct.pack("<I", 64))
    yield gguf([gguf_list("a", 7, [b"\0", b"\1"]), alignment])
    yield gguf(tensors=[("a", [32, 2], 2, 0), ("b", [4], 0, 64)], data=bytes(80))
    yield gguf(tensors=[("a", [2**32, 2**31], 0, 0)], data=bytes(32))
    yield gguf(tensors=[("a", [4], 0, 0), ("a", [4], 0, 32)], data=bytes(64))
    for model in ("llama", "gpt2"):
        yield gguf(gguf_vocabulary(model))
    yield (GOLDEN / "small.gguf").read_bytes()


def adapter_configs():
    for folder in ("default", "patterns", "regex", "modules_to_save", "dora", "bias_all"):
        yield (GOLDEN / "peft_files" / folder / "adapter_config.json").read_bytes()
    for more in (
        {"init_lora_weights": "pissa_niter_16", "trainable_token_indices": {"wte": [1, 2]}},
        {"init_lora_weights": "eva", "eva_config": {"rho": 2.0, "tau": 0.5}},
        {"loftq_config": {"loftq_bits": 4, "loftq_iter": 2}, "init_lora_weights": "loftq"},
        {"alora_invocation_tokens": [1, 2], "r": 2**31, "lora_alpha": 1e300},
        {"r": -1, "lora_dropout": 1.5, "megatron_config": {"a": []}},
    ):
        yield json.dumps({"peft_type": "LORA", "target_modules": ["q_proj"], **more}).encode()


def tokenizer_files():
    for path in sorted((GOLDEN / "tokenizers").glob("*.json")):
        yield path.read_bytes()
    small = {
        "version": "1.0",
        "added_tokens": [{"id": 4, "content": "<s>", "special": True, "normalized": False}],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3}, "merges": ["a b"]},
    }
    yield json.dumps(small).encode()
    for change in (
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "(a+)+b"}, "content": "c"}},
        {"normalizer": {"type": "Prepend", "prepend": "▁"}, "pre_tokenizer": None},
        {
            "pre_tokenizer": {
                "type": "Split",
                "pattern": {"Regex": r"\p{L}+|\s"},
                "behavior": "Isolated",
            }
        },
        {"model": {"type": "BPE", "vocab": {"a": 0, "b": 7}, "merges": [["a", "b"]]}},
        {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "byte_fallback": True}},
    ):
        yield json.dumps({**small, **change}).encode()


def protobuf(number, value):
    """A field of a message: a whole number, a float or bytes."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    if isinstance(value, float):
        return bytes([number << 3 | 5]) + struct.pack("<f", value)
    return bytes([number << 3 | 2, len(value)]) + value


def sentencepiece_files():
    def piece(text, score, kind):
        return protobuf(1, protobuf(1, text.encode()) + protobuf(2, score) + protobuf(3, kind))

    pieces = piece("<unk>", 0.0, 2) + piece("<s>", 0.0, 3) + piece("</s>", 0.0, 3)
    pieces += piece("<0x0A>", 0.0, 6) + piece("▁", -1.0, 1) + piece("S", -2.0, 1)
    pieces += piece("▁S", -1.5, 1)
    trainer = protobuf(2, protobuf(3, 2) + protobuf(4, 7))
    normalizer = protobuf(3, protobuf(1, b"identity") + protobuf(3, 1) + protobuf(4, 0))
    yield pieces + trainer + normalizer
    yield pieces + trainer
    yield pieces
    yield pieces + protobuf(2, protobuf(3, 1))
    yield pieces + protobuf(3, protobuf(2, b"charsmap"))
    yield pieces[:-1]
    yield piece("x", float("nan"), 1)


def chat_templates():
    for snippet in chat_snippets.SNIPPETS:
        yield snippet.encode()
    yield (
        b"{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>"
        b"{% generation %}{{ m.content | trim }}{{ eos_token }}{% endgeneration %}{% endfor %}"
        b"{{ tools | tojson(indent=2) }}"
        b"{% if add_generation_prompt %}{{ strftime_now('%d %b') }}{% endif %}"
    )


def data_files():
    asked = {"role": "user", "content": "1+1"}
    answered = {"role": "assistant", "content": "2"}
    lines = [
        {"text": "a text"},
        {"prompt": "1+1", "completion": "2"},
        {"prompt": [asked], "completion": [answered]},
        {"messages": [asked, {**answered, "train": False}, asked, answered], "tools": []},
        {"messages": [asked, {**answered, "weight": 0}, asked, {**answered, "weight": 1}]},
        {
            "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}],
            "system": "s",
        },
        {"instruction": "a", "input": "b", "output": "c", "history": [["d", "e"]]},
        {"question": "a", "answer": "b"},
        {"input_ids": [1, 2, 3], "labels": [-100, 2, 3]},
        {"input_ids": [1, 1000], "labels": [1, 1000]},
    ]
    for line in lines:
        yield (json.dumps(line) + "\n").encode() * 2
        yield json.dumps([line, line], indent=1).encode()
    yield b'\xef\xbb\xbf{"text": "a"}\r\n\r\n{"text": "b"'
    yield b'{"text": "a"}\nno json\n{"prompt": 1}\n{"text": "\xff"}\n{"text": "\\u0000"}\n'
    yield b"One line.\n\nAnother one.\n" + "é".encode() * 40


def manifests():
    right = {
        "format": "graft checkpoint",
        "version": 1,
        "step": 100,
        "fingerprint": {"batch-size": "4", "data": "48 samples"},
        # XXH64 of "{}\n", which both files hold.
        "files": {
            "trainer.json": {"bytes": 3, "xxh64": "7d441b099c11d3ba"},
            "adapter/config.json": {"bytes": 3, "xxh64": "7d441b099c11d3ba"},
        },
        "checksum": "0123456789abcdef",
    }
    for change in (
        {},
        {"step": -1},
        {"version": 2},
        {"files": {"../trainer.json": {"bytes": 3, "xxh64": ""}}},
        {"files": {"adapter/../trainer.json": right["files"]["trainer.json"]}},
        {"files": {"adapter": {"bytes": 0, "xxh64": ""}, "": {"bytes": 0, "xxh64": ""}}},
        {"files": {"trainer.json": {"bytes": 2**63 - 1, "xxh64": ""}}},
        {"fingerprint": {"a": 1}},
    ):
        yield json.dumps({**right, **change}).encode()
    counts = ("step", "epoch", "position", "tokens", "input_tokens", "evaluated_step", "best_step")
    yield json.dumps(
        {"version": 1, **dict.fromkeys(counts, 1), "best_loss": 0.5, "without_best": 0}
    ).encode()


def quant_states():
    nested = {"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.5}
    for change in (
        {"quant_type": "nf4", "blocksize": 64},
        {"quant_type": "fp4", "blocksize": 128},
        {"quant_type": "nf4", "blocksize": 3},
        {"quant_type": "nf4", "blocksize": 64, "shape": [2**31, 2**31, 2**31]},
        {"quant_type": "nf4", "blocksize": 64, "shape": [512], "dtype": "float64"},
        {"quant_type": "nf4", "blocksize": 64, "shape": [0], "nested_blocksize": 0},
    ):
        yield json.dumps({"dtype": "bfloat16", "shape": [16, 32], **nested, **change}).encode()


def config_files():
    yield b"""# a run
model = "SmolLM2-135M-Instruct"  # the # belongs to no text
learning_rate = 2e-4
target-modules = ["q_proj", 'v_proj', # two
  "with \\"quotes\\" \\\\ and \\n"]
gradient-checkpointing = true
[generate]
temperature = 0.7
[train]
seed = -1
"""
    yield b"a = 'no end\nb = 1"
    yield b"[nothing]\n"
    yield b'a = "\\x"\n'
    yield b"a = [1, 2\n"
    yield b"a = 1\na = 2\n"


TARGETS = {
    "adapter_config": adapter_configs,
    "chat_template": chat_templates,
    "config_file": config_files,
    "data_lines": data_files,
    "gguf": gguf_files,
    "manifest": manifests,
    "quant_state": quant_states,
    "safetensors": safetensors_files,
    "shard_index": shard_indexes,
    "tokenizer_json": tokenizer_files,
    "tokenizer_model": sentencepiece_files,
}


def write(folder):
    """Writes all, in place of what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    for target, files in TARGETS.items():
        (folder / target).mkdir(parents=True)
        for number, content in enumerate(files()):
            (folder / target / f"{number:03}").write_bytes(content)
        for finding in sorted((HERE / "findings" / target).glob("*")):
            shutil.copy(finding, folder / target / f"finding-{finding.name}")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
