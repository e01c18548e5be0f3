"""What PEFT makes of a model over the life of its adapters: merged weights, switching, rows, deletion.

See README.md for the tensors and keys. The adapters are those of make_peft_files.py and
make_peft_parts.py.
"""

import warnings

from recording import start, versions, write_json, write_tensors

start(__doc__)

import torch  # noqa: E402
from adapting import load_base, load_in_4_bits  # noqa: E402
from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402

SEED = 53
ROWS, LENGTH, KEPT = 4, 8, 2  # the logits of the last positions are kept
VOCABULARY = 61  # of the smallest model
GQA, UNTIED, BIASES, GPT2 = "models/gqa", "models/untied", "models/biases", "families/gpt2"
NF4 = "qlora/dense"  # put in 4 bits when it is loaded
# name: (base, adapters that are merged, in order), where PEFT's merge is right but for tied ends
MERGES = {
    "linear": (GQA, ["peft_files/q_v"]),
    "patterns": (GQA, ["peft_files/patterns"]),
    "rslora": (GQA, ["peft_files/patterns_rslora"]),
    "several": (GQA, ["peft_files/q_v", "peft_files/dropout", "peft_files/rslora"]),
    "embedding": (UNTIED, ["peft_parts/embedding"]),
    "head": (UNTIED, ["peft_files/lm_head_untied"]),
    "bias_of_adapter": (BIASES, ["peft_parts/lora_bias"]),
    "saved_norms": (UNTIED, ["peft_parts/save_norms"]),
    "tokens": (UNTIED, ["peft_parts/tokens"]),
    "tokens_of_tied": (GQA, ["peft_parts/tokens_of_tied"]),
    "tokens_of_two": (GQA, ["peft_parts/tokens_of_tied", "peft_parts/other_tokens_of_tied"]),
    "gpt2_saved": (GPT2, ["peft_parts/gpt2_saved"]),
    "gpt2_biases": (GPT2, ["peft_parts/gpt2_biases"]),
    "gpt2_embeddings": (GPT2, ["peft_parts/gpt2_embeddings"]),
    "dora": (UNTIED, ["peft_variants/dora"]),
    "dora_biases": (BIASES, ["peft_variants/dora_biases"]),
    "dora_embedding": (UNTIED, ["peft_variants/dora_embedding"]),
    "dora_gpt2": (GPT2, ["peft_variants/dora_gpt2"]),
    "dora_several": (GQA, ["peft_files/dora", "peft_files/q_v", "peft_variants/dora_rslora"]),
    "pissa": (UNTIED, ["peft_variants/pissa"]),
    "pissa_gpt2": (GPT2, ["peft_variants/pissa_gpt2"]),
    "pissa_dora": (UNTIED, ["peft_variants/pissa_dora"]),
    "olora": (UNTIED, ["peft_variants/olora"]),
    "olora_patterns": (BIASES, ["peft_variants/olora_patterns"]),
}
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
# Those that bases of 16 bits are merged with, too.
IN_16_BITS = [
    "linear",
    "several",
    "embedding",
    "gpt2_biases",
    "dora",
    "dora_embedding",
    "dora_several",
    "pissa",
    "olora",
]
IN_4_BITS = {
    "linear_nf4": (NF4, ["qlora/initial"]),
    "dora_nf4": (NF4, ["peft_variants/dora_4bit"]),
}
LIFE = {"a": "peft_files/q_v", "b": "peft_files/patterns", "c": "peft_files/all_linear"}
TRAINED = {"r": 2, "target_modules": ["q_proj", "embed_tokens"]}
# What is done, with whom, and the flag of it: inference_mode, or requires_grad.
STEPS = [
    ("add_adapter", ["b"], False),
    ("add_adapter", ["c"], False),
    ("set_adapter", ["b"], False),
    ("set_adapter", ["a", "c"], False),
    ("set_requires_grad", ["c"], False),
    ("set_requires_grad", ["b", "c"], True),
    ("set_adapter", ["b", "a"], True),
    ("set_requires_grad", ["a"], True),
    ("set_adapter", ["a", "b"], False),
    ("delete_adapter", ["a"], False),
    ("set_adapter", ["c"], False),
    ("set_requires_grad", ["b", "c"], False),
]
BY_ROW = ["a", "__base__", "c", "a"]
BY_ROW_OF_EMBEDDINGS = ["two", "one", "__base__", "two"]


def all_merges():
    """A record of each: name, base, adapters, dtype."""
    named = [(name, *MERGES[name], "f32") for name in MERGES]
    for dtype in ("bf16", "f16"):
        named += [(f"{name}_{dtype}", *MERGES[name], dtype) for name in IN_16_BITS]
    named += [(name, *IN_4_BITS[name], "nf4") for name in IN_4_BITS]
    return [dict(zip(("name", "base", "adapters", "dtype"), values)) for values in named]


def load_in(base, dtype):
    """A base model, held in a dtype or in 4 bits whose scales are f32."""
    if dtype == "nf4":
        return load_in_4_bits(base, {"bnb_4bit_quant_type": "nf4"}).eval()
    return load_base(base).to(DTYPES[dtype])


def load(base, folders, dtype="f32"):
    """A PeftModel with the adapters {name: folder}; the first one is active."""
    names = list(folders)
    model = PeftModel.from_pretrained(
        load_in(base, dtype), folders[names[0]], adapter_name=names[0]
    )
    for name in names[1:]:
        model.load_adapter(folders[name], adapter_name=name)
    return model.eval()


def merged_tensors(record):
    """{"<name>.<parameter>": what differs from the base after merge_and_unload}.

    Not the head of a model that ties it, which PEFT changes along with the embedding.
    """
    base, dtype = record["base"], record["dtype"]
    before = {key: value.clone() for key, value in load_in(base, dtype).state_dict().items()}
    folders = {f"adapter{i}": folder for i, folder in enumerate(record["adapters"])}
    model = load(base, folders, dtype)
    plain = model.merge_and_unload(adapter_names=list(model.peft_config))
    after = plain.state_dict()
    assert after.keys() == before.keys(), record
    tied = {"lm_head.weight"} if plain.config.tie_word_embeddings else set()
    return {
        f"{record['name']}.{key}": after[key].clone()
        for key in after.keys() - tied
        if not torch.equal(after[key], before[key])
    }


def logits_of(model, ids, **arguments):
    with torch.no_grad():
        return model(input_ids=ids, **arguments).logits[:, -KEPT:].clone()


def life(ids):
    """Logits along the life of three adapters on one model."""
    model = load(GQA, LIFE)
    made = {"a": logits_of(model, ids)}
    model.set_adapter("b")
    made["b"] = logits_of(model, ids)
    model.base_model.set_adapter(["a", "c"])
    made["a_c"] = logits_of(model, ids)
    with model.disable_adapter():
        made["disabled"] = logits_of(model, ids)
    made["by_row"] = logits_of(model, ids, adapter_names=BY_ROW)
    model.set_adapter("c")
    model.merge_adapter()
    made["c_merged"] = logits_of(model, ids)
    model.merge_adapter(["b"])
    made["b_c_merged"] = logits_of(model, ids)
    model.unmerge_adapter()
    model.set_adapter("b")
    model.delete_adapter("b")
    made["b_deleted"] = logits_of(model, ids)
    record = {"active_after_deletion": model.base_model.active_adapters}
    model.base_model.set_adapter(["a", "c"])
    model.delete_adapter("a")
    made["a_deleted"] = logits_of(model, ids)
    return record, {f"life.{key}": value for key, value in made.items()}


def trained_adapters(model):
    """{adapter: whether all (True), none (False) or some ("some") of its parameters are trained}."""
    found = {}
    for name in model.peft_config:
        flags = {
            parameter.requires_grad
            for path, parameter in model.named_parameters()
            if f".{name}." in f"{path}."
        }
        found[name] = flags.pop() if len(flags) == 1 else "some"
    return found


def who_is_trained():
    """Steps on three adapters with equal targets, and who is trained after each."""
    model = get_peft_model(load_base(GQA), LoraConfig(**TRAINED), adapter_name="a")
    records = [{"do": "add_adapter", "names": ["a"], "flag": False, "trained": trained_adapters(model)}]
    for action, names, flag in STEPS:
        if action == "add_adapter":
            model.add_adapter(names[0], LoraConfig(**TRAINED))
        elif action == "set_adapter":
            model.base_model.set_adapter(names, inference_mode=flag)
        elif action == "set_requires_grad":
            model.set_requires_grad(names, requires_grad=flag)
        else:
            model.delete_adapter(names[0])
        records.append(
            {"do": action, "names": names, "flag": flag, "trained": trained_adapters(model)}
        )
    return records


def rows_of_embeddings(ids):
    folders = {"one": "peft_parts/embedding", "two": "peft_parts/embedding_pattern"}
    model = load(UNTIED, folders)
    logits = logits_of(model, ids, adapter_names=BY_ROW_OF_EMBEDDINGS)
    return {"rows_of_embeddings": logits}


def tokens_of_two(ids):
    """Adapters of different tokens, which PEFT merges together, but does not let be active so."""
    names = ["a", "b"]
    model = load(GQA, dict(zip(names, MERGES["tokens_of_two"][1])))
    return {"tokens_of_two": logits_of(model.merge_and_unload(adapter_names=names), ids)}


def main():
    warnings.simplefilter("ignore")
    generator = torch.Generator().manual_seed(SEED)
    ids = torch.randint(3, VOCABULARY, (ROWS, LENGTH), generator=generator)
    tensors = {"input_ids": ids}
    for record in all_merges():
        tensors |= merged_tensors(record)
    record, made = life(ids)
    tensors |= made | rows_of_embeddings(ids) | tokens_of_two(ids)
    write_tensors("peft_life.safetensors", tensors)
    write_json(
        "peft_life.json",
        {
            "versions": versions("torch", "transformers", "peft", "bitsandbytes", "safetensors"),
            "seed": SEED,
            "merges": all_merges(),
            "adapters": LIFE,
            "by_row": BY_ROW,
            "trained": who_is_trained(),
            "by_row_of_embeddings": BY_ROW_OF_EMBEDDINGS,
            **record,
        },
    )


if __name__ == "__main__":
    main()
