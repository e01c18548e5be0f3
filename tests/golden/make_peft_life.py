"""What PEFT makes of a model over the life of its adapters: merged weights, switching, rows, deletion.

See README.md for the tensors and keys. The adapters are those of make_peft_files.py and
make_peft_parts.py.
"""

import warnings

from recording import start, versions, write_json, write_tensors

start(__doc__)

import torch  # noqa: E402
from adapting import load_base  # noqa: E402
from peft import PeftModel  # noqa: E402

SEED = 53
ROWS, LENGTH, KEPT = 4, 8, 2  # the logits of the last positions are kept
VOCABULARY = 61  # of the smallest model
GQA, UNTIED, BIASES, GPT2 = "models/gqa", "models/untied", "models/biases", "families/gpt2"
# name: (base, adapters that are merged, in order); one adapter each, where PEFT's merge is right
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
    "gpt2_saved": (GPT2, ["peft_parts/gpt2_saved"]),
    "gpt2_biases": (GPT2, ["peft_parts/gpt2_biases"]),
}
MERGES_OF_BF16 = {"linear_bf16": MERGES["linear"], "several_bf16": MERGES["several"]}
LIFE = {"a": "peft_files/q_v", "b": "peft_files/patterns", "c": "peft_files/all_linear"}
BY_ROW = ["a", "__base__", "c", "a"]
BY_ROW_OF_EMBEDDINGS = ["two", "one", "__base__", "two"]


def load(base, folders, dtype=torch.float32):
    """A PeftModel with the adapters {name: folder}; the first one is active."""
    names = list(folders)
    model = load_base(base).to(dtype)
    model = PeftModel.from_pretrained(model, folders[names[0]], adapter_name=names[0])
    for name in names[1:]:
        model.load_adapter(folders[name], adapter_name=name)
    return model.eval()


def merged_tensors(name, dtype=torch.float32):
    """{"<name>.<parameter>": what differs from the base after merge_and_unload}."""
    base, folders = (MERGES | MERGES_OF_BF16)[name]
    before = {key: value.clone() for key, value in load_base(base).to(dtype).state_dict().items()}
    model = load(base, {f"adapter{i}": folder for i, folder in enumerate(folders)}, dtype)
    names = list(model.peft_config)
    after = model.merge_and_unload(adapter_names=names).state_dict()
    assert after.keys() == before.keys(), name
    changed = {key: after[key] for key in after if not torch.equal(after[key], before[key])}
    return {f"{name}.{key}": value.clone() for key, value in changed.items()}


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


def rows_of_embeddings(ids):
    folders = {"one": "peft_parts/embedding", "two": "peft_parts/embedding_pattern"}
    model = load(UNTIED, folders)
    logits = logits_of(model, ids, adapter_names=BY_ROW_OF_EMBEDDINGS)
    return {"rows_of_embeddings": logits}


def main():
    warnings.simplefilter("ignore")
    generator = torch.Generator().manual_seed(SEED)
    ids = torch.randint(3, VOCABULARY, (ROWS, LENGTH), generator=generator)
    tensors = {"input_ids": ids}
    for name in MERGES:
        tensors |= merged_tensors(name)
    for name in MERGES_OF_BF16:
        tensors |= merged_tensors(name, torch.bfloat16)
    record, made = life(ids)
    tensors |= made | rows_of_embeddings(ids)
    write_tensors("peft_life.safetensors", tensors)
    write_json(
        "peft_life.json",
        {
            "versions": versions("torch", "transformers", "peft", "safetensors"),
            "seed": SEED,
            "merges": [
                {"name": name, "base": base, "adapters": folders}
                for name, (base, folders) in (MERGES | MERGES_OF_BF16).items()
            ],
            "adapters": LIFE,
            "by_row": BY_ROW,
            "by_row_of_embeddings": BY_ROW_OF_EMBEDDINGS,
            **record,
        },
    )


if __name__ == "__main__":
    main()
