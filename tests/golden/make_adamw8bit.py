"""Ten steps of bitsandbytes' AdamW8bit on the CPU, and of torch's AdamW with the same gradients.

See README.md for the tensors.
"""

from recording import start, write_tensors

start(__doc__)

import torch  # noqa: E402
from bitsandbytes.optim import AdamW8bit  # noqa: E402

SEED = 47
STEPS = 10
# 17 blocks of 256; a last block of 45; too small for 8 bits.
SHAPES = {"even": (68, 64), "ragged": (41, 101), "small": (9, 7)}
SETTINGS = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
STATES = {"state1": "m", "state2": "v", "absmax1": "m_absmax", "absmax2": "v_absmax"}


def factors(generator):
    """{"row.<name>", "column.<name>": (1 + STEPS, size)}: number 0 makes the first weights, the others
    the gradients, each a product of two numbers, which every program rounds alike."""
    result = {}
    for name, (rows, columns) in SHAPES.items():
        result[f"row.{name}"] = torch.randn(1 + STEPS, rows, generator=generator)
        result[f"column.{name}"] = torch.randn(1 + STEPS, columns, generator=generator)
    return result


def matrix(numbers, name, number):
    return numbers[f"row.{name}"][number].unsqueeze(1) * numbers[f"column.{name}"][number]


def optimize(kind, numbers):
    """Calls nothing but the optimizer; yields the parameters and the optimizer after each step."""
    parameters = {name: matrix(numbers, name, 0).requires_grad_() for name in SHAPES}
    optimizer = kind(parameters.values(), **SETTINGS)
    for step in range(1, 1 + STEPS):
        for name, parameter in parameters.items():
            parameter.grad = matrix(numbers, name, step)
        optimizer.step()
        yield step, parameters, optimizer


def main():
    numbers = factors(torch.Generator().manual_seed(SEED))
    tensors = dict(numbers)
    for step, parameters, optimizer in optimize(AdamW8bit, numbers):
        if step < STEPS - 1:
            continue
        for name, parameter in parameters.items():
            tensors[f"{step}.{name}"] = parameter.detach().clone()
            for key, short in STATES.items():
                if key in optimizer.state[parameter]:
                    tensors[f"{step}.{name}.{short}"] = optimizer.state[parameter][key].clone()
    for step, parameters, _ in optimize(torch.optim.AdamW, numbers):
        if step == STEPS:
            for name, parameter in parameters.items():
                tensors[f"torch.{name}"] = parameter.detach().clone()
    write_tensors("adamw8bit.safetensors", tensors)


main()
