"""What PEFT's add_weighted_adapter makes of adapters, for every type; of DARE where it keeps all numbers.

See README.md for the tensors and keys. The adapters are those of make_peft_files.py and
make_peft_parts.py; the closed form is worked out on a layer of one number.
"""

import contextlib
import itertools
import warnings

from recording import start, versions, write_json, write_tensors

start(__doc__)

import torch  # noqa: E402
from adapting import load_base  # noqa: E402
from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402
from peft.utils import merge_utils  # noqa: E402

SEED = 61
LENGTH, KEPT = 8, 2
VOCABULARY = 61  # of the smallest model
ADAPTERS = {
    "models/gqa": {
        "a": "peft_files/q_v",
        "b": "peft_files/dropout",
        "all": "peft_files/all_linear",
        "rs": "peft_files/rslora",
        "patterns": "peft_files/patterns",
        "tokens": "peft_parts/tokens_of_tied",
    },
    "models/untied": {
        "e": "peft_parts/embedding",
        "f": "peft_files/embedding",
        "saved": "peft_parts/save_norms",
        "saved_too": "peft_parts/save_norms",
    },
    "models/biases": {"g": "peft_files/lora_bias", "h": "peft_files/lora_bias"},
}
LAYERS = {
    "models/gqa": "model.layers.1.self_attn.v_proj",
    "models/untied": "model.embed_tokens",
    "models/biases": "model.layers.1.self_attn.v_proj",
}
GQA, UNTIED, BIASES = ADAPTERS
HALF = {"density": 0.5}
# name: (base, adapters, weights, type, options)
CASES = {
    "linear": (GQA, ["a", "b"], [0.7, -0.4], "linear", {}),
    "linear_three": (GQA, ["a", "all", "b"], [1.0, 0.5, -1.0], "linear", {}),
    "linear_rslora": (GQA, ["rs", "a"], [0.5, 0.5], "linear", {}),
    "cat": (GQA, ["a", "patterns", "all"], [0.3, -0.6, 1.0], "cat", {}),
    "cat_rslora": (GQA, ["rs", "a"], [1.0, 1.0], "cat", {}),
    "svd": (GQA, ["a", "patterns"], [0.8, 0.4], "svd", {}),
    "svd_rank": (GQA, ["a", "all"], [0.8, -0.4], "svd", {"svd_rank": 3}),
    "ties": (GQA, ["a", "b", "all"], [1.0, 0.7, 0.4], "ties", HALF),
    "ties_frequency": (
        GQA,
        ["a", "b", "all"],
        [1.0, -0.7, 0.4],
        "ties",
        {**HALF, "majority_sign_method": "frequency"},
    ),
    "ties_svd": (GQA, ["a", "b", "all"], [1.0, -0.7, 0.4], "ties_svd", HALF),
    "magnitude_prune": (GQA, ["a", "b"], [1.0, -0.7], "magnitude_prune", {"density": 0.3}),
    "magnitude_prune_svd": (GQA, ["a", "b"], [1.0, -0.7], "magnitude_prune_svd", {"density": 0.3}),
    **{  # with every number kept, DARE draws nothing
        kind: (GQA, ["a", "b", "all"], [1.0, -0.7, 0.4], kind, {"density": 1.0})
        for kind in ("dare_ties", "dare_ties_svd", "dare_linear_svd")
    },
    "dare_linear": (GQA, ["a", "b"], [1.0, -0.7], "dare_linear", {"density": 1.0}),
    "embedding_cat": (UNTIED, ["e", "f"], [0.5, -0.5], "cat", {}),
    "embedding_svd": (UNTIED, ["e", "f"], [0.5, -0.5], "svd", {"svd_rank": 2}),
    # What is no low-rank matrix is left out, or that of the base.
    "saved_first": (UNTIED, ["saved", "e"], [0.5, 1.0], "cat", {}),
    "saved_second": (UNTIED, ["e", "saved"], [1.0, 0.5], "cat", {}),
    "tokens_first": (GQA, ["tokens", "a"], [0.5, 1.0], "cat", {}),
    "tokens_second": (GQA, ["a", "tokens"], [1.0, 0.5], "svd", {}),
    "lora_bias_cat": (BIASES, ["g", "h"], [0.7, 0.4], "cat", {}),
    "lora_bias_linear": (BIASES, ["g", "h"], [0.7, -0.4], "linear", {}),
}
# (base, adapters) that PEFT does not combine, all with a weight of 1
REFUSED = [(UNTIED, ["saved", "saved_too"])]
CLAMPED = (GQA, ["a", "patterns"], [0.8, 0.4], {"svd_rank": 2, "svd_clamp": 0.9})
TASKS = [[3.0, -1.0, 2.0, 0.5], [-2.0, -4.0, 1.0, 0.1]]


def load(base):
    names = list(ADAPTERS[base])
    model = PeftModel.from_pretrained(
        load_base(base), ADAPTERS[base][names[0]], adapter_name=names[0]
    )
    for name in names[1:]:
        model.load_adapter(ADAPTERS[base][name], adapter_name=name)
    return model.eval()


def factors(layer, name):
    """A and B of one adapter of a layer, whose product is the change without its scaling."""
    if name in layer.lora_A:
        return layer.lora_A[name].weight, layer.lora_B[name].weight
    return layer.lora_embedding_A[name], layer.lora_embedding_B[name]


def combine(model, name, ids):
    base, adapters, weights, kind, options = CASES[name]
    model.add_weighted_adapter(adapters, weights, name, combination_type=kind, **options)
    model.set_adapter(name)
    layer = model.get_submodule(f"base_model.model.{LAYERS[base]}")
    a, b = factors(layer, name)
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0, -KEPT:].clone()
    record = {
        "name": name,
        "base": base,
        "adapters": adapters,
        "weights": weights,
        "type": kind,
        "options": options,
        "r": model.peft_config[name].r,
        "scaling": layer.scaling[name],
    }
    made = {"logits": logits, "change": (b @ a).detach()}
    if "svd" not in kind:
        made |= {"A": a.detach().clone(), "B": b.detach().clone()}
    return record, {f"{name}.{key}": value for key, value in made.items()}


@contextlib.contextmanager
def singular_vectors_times(signs):
    """Their signs are chance: here the largest number of each left one gets its sign from these, and
    is positive where there is none."""
    svd = torch.linalg.svd

    def turned(*arguments, **settings):
        u, s, vh = svd(*arguments, **settings)
        largest = u.gather(0, u.abs().argmax(0, keepdim=True))[0]
        turns = torch.sign(largest[: len(s)])
        turns[: len(signs)] *= torch.tensor(signs)
        u[:, : len(turns)] *= turns
        vh[: len(turns)] *= turns[:, None]
        return u, s, vh

    torch.linalg.svd = turned
    try:
        yield
    finally:
        torch.linalg.svd = svd


def clamped():
    """The changes of one layer with svd_clamp, which depend on the signs of singular vectors."""
    base, adapters, weights, options = CLAMPED
    model = load(base)
    layer = model.get_submodule(f"base_model.model.{LAYERS[base]}")
    made = {}
    for index, signs in enumerate(itertools.product([1.0, -1.0], repeat=options["svd_rank"])):
        name = f"clamped_{index}"
        with singular_vectors_times(signs):
            model.add_weighted_adapter(adapters, weights, name, combination_type="svd", **options)
        a, b = factors(layer, name)
        made[f"{name}.change"] = (b @ a).detach()
    record = {"base": base, "adapters": adapters, "weights": weights, "type": "svd"}
    return record | {"options": options, "ways": len(made)}, made


def refusals():
    """The messages with which PEFT refuses."""
    records = []
    for base, adapters in REFUSED:
        try:
            load(base).add_weighted_adapter(adapters, [1.0] * len(adapters), "new", "cat")
        except ValueError as error:
            records.append({"base": base, "adapters": adapters, "message": str(error)})
    assert len(records) == len(REFUSED)
    return records


class OneNumber(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1, bias=False)


def closed_form():
    """The table of products of A = 2, 5 and B = 3, 7."""
    rows = [
        ("linear", [1.0, 1.0], 1),
        ("linear", [1.0, -1.0], 1),
        ("linear", [-1.0], 1),
        ("cat", [1.0, -1.0], 1),
        ("svd", [1.0, 1.0], 2),
        ("linear", [1.0, 1.0], 2),
    ]
    table = []
    for kind, weights, alpha in rows:
        config = LoraConfig(r=1, lora_alpha=alpha, target_modules=["layer"])
        model = get_peft_model(OneNumber(), config, adapter_name="one")
        model.add_adapter("two", config)
        layer = model.base_model.model.layer
        with torch.no_grad():
            for name, a, b in (("one", 2.0, 3.0), ("two", 5.0, 7.0)):
                layer.lora_A[name].weight.fill_(a)
                layer.lora_B[name].weight.fill_(b)
        names = ["one", "two"][: len(weights)]
        model.add_weighted_adapter(names, weights, "new", combination_type=kind)
        change = layer.get_delta_weight("new").item()
        table.append({"type": kind, "weights": weights, "scaling": alpha, "change": change})
    return table


def task_vectors():
    """merge_utils on vectors of four numbers."""
    tasks = [torch.tensor(task) for task in TASKS]
    agreeing = [torch.tensor([4.0, 2.0]), torch.tensor([2.0, 6.0])]
    calls = [
        ("ties", tasks, [1.0, 1.0], 0.5, "total"),
        ("ties", tasks, [2.0, 1.0], 0.5, "total"),
        ("ties", tasks, [1.0, -1.0], 0.5, "total"),
        ("ties", tasks, [1.0, 1.0], 0.5, "frequency"),
        ("ties", agreeing, [1.0, 1.0], 1.0, "total"),
        ("magnitude_prune", tasks, [1.0, 1.0], 0.5, "total"),
    ]
    made = []
    for kind, vectors, weights, density, method in calls:
        arguments = [vectors, torch.tensor(weights), density]
        if kind == "ties":
            arguments.append(method)
        made.append(
            {
                "type": kind,
                "tasks": [vector.tolist() for vector in vectors],
                "weights": weights,
                "density": density,
                "majority_sign_method": method,
                "result": getattr(merge_utils, kind)(*arguments).tolist(),
            }
        )
    return made


def main():
    warnings.simplefilter("ignore")
    ids = torch.randint(
        3, VOCABULARY, (1, LENGTH), generator=torch.Generator().manual_seed(SEED)
    )
    tensors = {"input_ids": ids}
    records = []
    for base in ADAPTERS:
        model = load(base)
        for name in [name for name in CASES if CASES[name][0] == base]:
            record, made = combine(model, name, ids)
            records.append(record)
            tensors |= made
    clamped_record, made = clamped()
    tensors |= made
    write_tensors("peft_combine.safetensors", tensors)
    write_json(
        "peft_combine.json",
        {
            "versions": versions("torch", "transformers", "peft", "safetensors"),
            "seed": SEED,
            "adapters": ADAPTERS,
            "layers": LAYERS,
            "cases": records,
            "clamped": clamped_record,
            "refused": refusals(),
            "closed_form": closed_form(),
            "task_vectors": task_vectors(),
        },
    )


if __name__ == "__main__":
    main()
