"""Thirty steps of torch's optimizers and of lion-pytorch's, gradient clipping, and transformers' learning rates.

See README.md for the files, tensors and keys.
"""

from recording import start, versions, write_json, write_tensors

start(__doc__)

import torch  # noqa: E402
from lion_pytorch import Lion  # noqa: E402
from transformers import get_scheduler  # noqa: E402

SEED = 43
STEPS = 30
SHAPES = {"matrix": (5, 7), "vector": (13,), "cube": (2, 3, 4)}
OPTIMIZERS = {
    "adamw": {"lr": 1e-2, "weight_decay": 0.01},
    "adamw_no_decay": {"lr": 1e-2, "weight_decay": 0.0},
    "adamw_settings": {"lr": 3e-3, "weight_decay": 0.3, "betas": [0.8, 0.95], "eps": 1e-4},
    "sgd": {"lr": 1e-2},
    "sgd_decay": {"lr": 1e-2, "weight_decay": 0.1},
    "sgd_momentum": {"lr": 1e-2, "momentum": 0.9},
    "sgd_dampening": {"lr": 1e-2, "momentum": 0.9, "dampening": 0.5},
    "sgd_nesterov": {"lr": 1e-2, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "lion": {"lr": 1e-3},
    "lion_settings": {"lr": 3e-3, "weight_decay": 0.3, "betas": [0.95, 0.98]},
}
KINDS = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, "lion": Lion}
CLIP_TO = [1000.0, 1.0, 0.01]
BASE_LR = 2e-4
SCHEDULES = [("constant", 0)] + [
    (name, warmup)
    for name in ("constant_with_warmup", "linear", "cosine")
    for warmup in (0, 1, 5, STEPS)
]


def initial_values():
    generator = torch.Generator().manual_seed(SEED)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def gradients():
    """{name: (30, …)}: of very different size from step to step, some entries exactly 0 or tiny."""
    generator = torch.Generator().manual_seed(SEED + 1)
    result = {}
    for name, shape in SHAPES.items():
        values = torch.randn((STEPS, *shape), generator=generator)
        size = 10.0 ** torch.randint(-3, 2, (STEPS,), generator=generator)
        values *= size.view(-1, *[1] * len(shape))
        values[torch.rand(values.shape, generator=generator) < 0.05] = 0.0
        values[torch.rand(values.shape, generator=generator) < 0.05] = 1e-9
        result[name] = values
    return result


def optimize(name, grads):
    """{tensor name: the parameter after each step, and the optimizer's state after the last}."""
    parameters = {key: value.requires_grad_() for key, value in initial_values().items()}
    kind = name.split("_")[0]
    extra = {} if kind == "lion" else {"foreach": False}
    optimizer = KINDS[kind](parameters.values(), **extra, **OPTIMIZERS[name])
    after = {key: [] for key in parameters}
    for step in range(STEPS):
        for key, parameter in parameters.items():
            parameter.grad = grads[key][step].clone()
        optimizer.step()
        for key, parameter in parameters.items():
            after[key].append(parameter.detach().clone())
    tensors = {f"{name}.{key}": torch.stack(values) for key, values in after.items()}
    for key, parameter in parameters.items():
        for state, value in optimizer.state[parameter].items():
            if state != "step" and value is not None:
                tensors[f"{name}.{key}.{state}"] = value
    return tensors


def clip(max_norm, step, grads):
    """(record, {tensor name: clipped gradient}) of the gradients of one step."""
    parameters = []
    for name in SHAPES:
        parameter = torch.zeros(SHAPES[name], requires_grad=True)
        parameter.grad = grads[name][step].clone()
        parameters.append(parameter)
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm, foreach=False)
    prefix = f"clip.{step}.{max_norm:g}"
    clipped = {f"{prefix}.{name}": value.grad for name, value in zip(SHAPES, parameters)}
    return {"prefix": prefix, "step": step, "max_norm": max_norm, "norm": norm.item()}, clipped


def learning_rates(name, warmup):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE_LR)
    scheduler = get_scheduler(name, optimizer, warmup, STEPS)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return {"schedule": name, "warmup_steps": warmup, "learning_rates": rates}


def main():
    grads = gradients()
    tensors = {f"initial.{name}": value for name, value in initial_values().items()}
    tensors |= {f"gradient.{name}": value for name, value in grads.items()}
    for name in OPTIMIZERS:
        tensors |= optimize(name, grads)
    clips = []
    for max_norm in CLIP_TO:
        for step in (0, 1, 2):
            record, clipped = clip(max_norm, step, grads)
            clips.append(record)
            tensors |= clipped
    write_tensors("optim.safetensors", tensors)
    write_json(
        "optim.json",
        {
            "versions": versions("torch", "transformers", "safetensors", "lion-pytorch"),
            "seed": SEED,
            "steps": STEPS,
            "parameters": list(SHAPES),
            "optimizers": [
                {"name": name, "kind": name.split("_")[0], **settings}
                for name, settings in OPTIMIZERS.items()
            ],
            "clips": clips,
            "base_learning_rate": BASE_LR,
            "schedules": [learning_rates(name, warmup) for name, warmup in SCHEDULES],
        },
    )


if __name__ == "__main__":
    main()
