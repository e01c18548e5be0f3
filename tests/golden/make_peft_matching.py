"""What PEFT's own functions answer to names, patterns and configurations, as tables.

Every expected value comes from a call of PEFT; the script states only the questions. See README.md
for the keys.
"""

import itertools
import warnings

from recording import start, versions, write_json

start(__doc__)

import torch  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from peft.tuners.lora.layer import LoraLayer  # noqa: E402
from peft.tuners.tuners_utils import check_target_module_exists  # noqa: E402
from peft.utils.constants import (  # noqa: E402
    TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as DEFAULT_TARGETS,
)
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

Q_PROJ = "transformer.h.1.attn.attention.q_proj"
UP_PROJ = "model.layers.0.mlp.up_proj"
# Each group is (names, targets, layers_to_transform, layers_pattern): every name is asked with
# every entry of the three lists.
TARGET_QUESTIONS = [
    (["", "foo"], [[], ["foo"]], [None], [None]),
    (["foo"], [["bar"], ["foo", "bar"]], [None], [None]),
    (["foo"], ["foo", ".*oo", "fo.*", ".*bar.*", "fo", "oo"], [None], [None]),
    (["foobar"], [".*oba.*", "oba", ["bar"]], [None], [None]),
    (["foo.bar.1.baz"], [["baz"], ["baz", "spam"]], [[1], [0, 1, 2]], [["bar"]]),
    (["foo.bar.1.baz"], [["baz"]], [[0], [2]], [["bar"]]),
    (["foo.bar.10.baz"], [["baz"]], [[0], [1], [10]], [["bar"]]),
    (["foo.whatever.1.baz"], [["baz"]], [[1], [0]], [[], "", None]),
    ([Q_PROJ], [[], ["q_proj"], ["q_proj", "v_proj"]], [None], [[]]),
    ([Q_PROJ + ".foo"], [["q_proj"]], [None], [[]]),
    (["transformer.h.1.attn.attention.resid_dropout"], [["q_proj", "v_proj"]], [None], [[]]),
    ([Q_PROJ], [["q_proj"]], [[1], [0], [2], [0, 1, 2]], [["h"]]),
    ([Q_PROJ], [["q_proj", "v_proj"]], [[0, 1, 2]], [["h"]]),
    (["foo.bar.q_proj"], [["q_proj"]], [None], [[]]),
    (["foo.bar.1.baz"], [["baz"]], [[1]], [["foo"], ["baz"]]),
    (["bar.1.baz", "foo.bar.001.baz"], [["baz"]], [[1]], [["bar"]]),
    (["foo.bar.1.spam.2.baz", "foo.bar.2.spam.1.baz"], [["baz"]], [[1]], [["bar"]]),
    (["blocks.1.weight", "blocks.1.bias"], [["weight"]], [[1]], [["blocks"]]),
    (["mlp.blocks.1.weight", "mlp.blocks.1.bias"], [["weight"]], [[1]], [["blocks"]]),
    # Beyond the 46 questions of PEFT's own test.
    (["foo.bar.1.baz"], [["baz"]], [1, 0, []], ["bar", None]),
    (["foo.bar.1.baz", "foo.h.1.baz"], [["baz"]], [[1]], [["h", "bar"], ["ba."]]),
    (["foo.1.baz", "1.baz", "foo.bar.baz"], [["baz"]], [[1]], [None, ["foo"]]),
    (["foo.bar.1.baz"], [["foo.bar.1.baz"], ["1.baz"]], [[0], [1]], [["bar"]]),
    (["foo.bar.1.mid.2.baz"], [["baz"]], [[1], [2]], [None, ["mid"]]),
    ([UP_PROJ], [r".*\.(up|down)_proj", r".*layers\.[^0].*"], [None], [None]),
    ([UP_PROJ], ["up_proj", r"(?!.*mlp).*proj", "model.*", ""], [None], [None]),
    ([UP_PROJ], [["mlp.up_proj"], ["p_proj"], ["up_proj", ""]], [None], [None]),
]

SKIP_QUESTIONS = [
    ("model.layers.0.self_attn.q_proj", {"exclude_modules": ["q_proj"]}),
    ("model.layers.0.self_attn.q_proj", {"exclude_modules": ["model.layers.0.self_attn.q_proj"]}),
    ("model.layers.0.self_attn.q_proj", {"exclude_modules": ["proj"]}),
    ("model.layers.0.self_attn.q_proj", {"exclude_modules": r".*layers\.0\..*"}),
    ("model.layers.0.self_attn.q_proj", {"exclude_modules": r"layers\.0"}),
    ("model.layers.0.self_attn.q_proj", {"exclude_modules": []}),
    ("model.layers.0.self_attn.q_proj", {"modules_to_save": ["self_attn"]}),
    ("model.layers.0.self_attn.q_proj", {"modules_to_save": ["attn"]}),
    ("model.layers.0.self_attn.q_proj", {"modules_to_save": ["q_proj"]}),
    ("model.layers.0.self_attn.q_proj", {"modules_to_save": ["layers.0"]}),
    ("model.layers.0.self_attn.q_proj", {"modules_to_save": ["lm_head"]}),
]

NESTED = ["foo", "bar", "module.foo", "module.foobar", "module.module.foo", "module.module.barfoo"]
PATTERN_QUESTIONS = [
    ["foo"],
    ["^foo"],
    ["^module.foo"],
    ["module.foo"],
    ["module.module.foo"],
    ["foo", "^foo"],
    ["^foo", "foo"],
    ["module.foo", "foo"],
    ["foo", "module.foo"],
    ["module.module.foo", "^module.foo", "^foo"],
    ["^foo", "^module.foo", "module.module.foo"],
    [".*foo"],
    ["fo+"],
    ["mod.*"],
    ["bar|foo"],
    ["foob.r"],
    ["nothing"],
]

LLAMA = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
INJECTIONS = [
    {},
    {"target_modules": "all-linear"},
    {"target_modules": "ALL-Linear"},
    {"target_modules": "all-linear", "exclude_modules": ["q_proj", "v_proj"]},
    {"target_modules": "all-linear", "exclude_modules": r".*\.mlp\..*"},
    {"target_modules": "all-linear", "modules_to_save": ["lm_head"]},
    {"target_modules": "all-linear", "modules_to_save": ["mlp"]},
    {"target_modules": ["q_proj", "lm_head"]},
    {"target_modules": ["q_proj", "v_proj"], "layers_to_transform": 1},
    {"target_modules": ["q_proj"], "layers_to_transform": [0], "layers_pattern": "layers"},
    {"target_modules": r".*\.1\..*_proj"},
    {"target_modules": ["q_proj"], "exclude_modules": ["down_proj"]},
    {"target_modules": ["q_proj"], "exclude_modules": ["no_such"]},
    {"target_modules": ["q_proj", "no_such"]},
    {"target_modules": ["q_proj"], "rank_pattern": {"no_such": 2}},
    {"target_modules": ["q_proj"], "alpha_pattern": {"no_such": 2}},
    {"target_modules": ["q_proj"], "rank_pattern": {"layers.1.self_attn.q_proj": 2}},
]

FAILURES = [
    {"target_modules": ["no_such"]},
    {"target_modules": "no_such.*"},
    {"target_modules": []},
    {"target_modules": ["q_proj"], "layers_to_transform": [7]},
    {"target_modules": ["q_proj"], "layers_to_transform": [7], "layers_pattern": ["layers"]},
    {"target_modules": ["q_proj"], "exclude_modules": ["q_proj"]},
    {"target_modules": ["q_proj"], "exclude_modules": ".*"},
    {"target_modules": ["q_proj"], "modules_to_save": ["q_proj"]},
    {"target_modules": ["input_layernorm"]},
    {"target_modules": ["self_attn"]},
    {"target_modules": ["q_proj"], "r": 0},
    {"target_modules": ["q_proj"], "r": -1},
    {"target_modules": ["q_proj"], "rank_pattern": {"q_proj": 0}},
    {"target_modules": ["q_proj"], "bias": "some"},
    {"target_modules": ["q_proj"], "init_lora_weights": "zeros"},
    {"target_modules": ["q_proj"], "task_type": "CAUSAL"},
    {"target_modules": "q_proj", "layers_to_transform": [0]},
    {"target_modules": "q_proj", "layers_pattern": ["layers"]},
    {"target_modules": ["q_proj"], "layers_pattern": ["layers"]},
    {"target_modules": ["q_proj"], "lora_bias": True, "init_lora_weights": "gaussian"},
    {"target_modules": ["q_proj"], "lora_bias": True, "use_dora": True},
    {"target_modules": ["q_proj"], "modules_to_save": ["no_such"]},
]


def tiny_llama(layers):
    return LlamaForCausalLM(LlamaConfig(**LLAMA, num_hidden_layers=layers))


def nested_model():
    """A model whose linear layers have the paths of NESTED."""
    model = torch.nn.Module()
    model.forward = lambda x: x
    for path in NESTED:
        *parents, leaf = path.split(".")
        parent = model
        for name in parents:
            if not hasattr(parent, name):
                parent.add_module(name, torch.nn.Module())
            parent = getattr(parent, name)
        parent.add_module(leaf, torch.nn.Linear(4, 4))
    return model


def adapted(model):
    """{path: LoraLayer} of what PEFT wrapped, in the model's order."""
    modules = model.base_model.model.named_modules()
    return {name: layer for name, layer in modules if isinstance(layer, LoraLayer)}


def plain(value):
    return sorted(value) if isinstance(value, (set, frozenset)) else value


def answer_targets():
    rows = []
    for group in TARGET_QUESTIONS:
        for name, targets, layers, pattern in itertools.product(*group):
            config = LoraConfig(
                target_modules=targets, layers_to_transform=layers, layers_pattern=pattern
            )
            row = {"name": name, "targets": targets, "layers": layers, "pattern": pattern}
            rows.append(row | {"expected": bool(check_target_module_exists(config, name))})
    return rows


def answer_skips():
    rows = []
    for name, change in SKIP_QUESTIONS:
        config = LoraConfig(target_modules=["q_proj"], **change)
        expected = bool(check_target_module_exists(config, name))
        rows.append({"name": name, **change, "expected": expected})
    return rows


def answer_patterns():
    """Ranks, and alphas, where the i-th key asks for 2 + i and everything else has 8."""
    rows = []
    for keys in PATTERN_QUESTIONS:
        pattern = {key: 2 + index for index, key in enumerate(keys)}
        ranked, rank_warnings = inject_nested({"rank_pattern": dict(pattern)})
        scaled, alpha_warnings = inject_nested({"alpha_pattern": dict(pattern)})
        rows.append(
            {
                "pattern": list(pattern.items()),
                "ranks": {name: layer.r["default"] for name, layer in ranked.items()},
                "alphas": {name: layer.lora_alpha["default"] for name, layer in scaled.items()},
                "rank_warnings": rank_warnings,
                "alpha_warnings": alpha_warnings,
            }
        )
    return rows


def inject_nested(change):
    """(adapted layers, warnings) of the nested model with every linear layer targeted."""
    targets = ["foo", "bar", "foobar", "barfoo"]
    config = LoraConfig(r=8, lora_alpha=8, target_modules=targets, **change)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return adapted(get_peft_model(nested_model(), config)), messages(caught)


def messages(caught):
    kinds = (UserWarning, RuntimeWarning)
    return [str(item.message) for item in caught if issubclass(item.category, kinds)]


def answer_injection(change, layers):
    config = LoraConfig(**{"r": 4, "lora_alpha": 8} | change)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = get_peft_model(tiny_llama(layers), config)
    return {
        "config": change,
        "num_hidden_layers": layers,
        "modules": {name: layer.r["default"] for name, layer in adapted(model).items()},
        "stored_target_modules": plain(model.peft_config["default"].target_modules),
        "warnings": messages(caught),
    }


def answer_failure(change):
    """The exception of configuring or injecting; None where PEFT accepts it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            get_peft_model(tiny_llama(2), LoraConfig(**{"r": 4, "lora_alpha": 8} | change))
    except Exception as error:
        return {"config": change, "type": type(error).__name__, "message": str(error)}
    return {"config": change, "type": None, "message": None}


def main():
    write_json(
        "peft_matching.json",
        {
            "versions": versions("torch", "transformers", "peft"),
            "targets": answer_targets(),
            "skips": answer_skips(),
            "patterns": answer_patterns(),
            "injections": [
                *(answer_injection(change, 2) for change in INJECTIONS),
                answer_injection({"target_modules": "all-linear"}, 4),
            ],
            "failures": [answer_failure(change) for change in FAILURES],
            "default_targets": DEFAULT_TARGETS,
        },
    )


if __name__ == "__main__":
    main()
