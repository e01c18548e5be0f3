"""What PEFT's LoftQ makes of two matrices, after one iteration and after three.

PEFT wants a GPU for it: the device in the source of its function is replaced by the processor.
"""

import inspect

from recording import start, write_tensors

start(__doc__)

import torch  # noqa: E402
from peft.utils import loftq_utils  # noqa: E402

SEED = 53
RANK = 4
# Rows are multiples of 64, where bitsandbytes dequantises rightly on every processor.
SHAPES = {"tall": (80, 64), "wide": (32, 128)}


def loftq_on_cpu():
    scope = vars(loftq_utils).copy()
    source = inspect.getsource(loftq_utils.loftq_init)
    exec(source.replace('else "cuda"', 'else "cpu"'), scope)  # noqa: S102
    return scope["loftq_init"]


def main():
    torch.manual_seed(SEED)
    loftq_init = loftq_on_cpu()
    tensors = {}
    for name, shape in SHAPES.items():
        weight = torch.randn(shape) * 0.05
        tensors[f"{name}.w"] = weight
        for iterations in (1, 3):
            q, a, b = loftq_init(weight.clone(), 4, RANK, iterations)
            tensors[f"{name}.{iterations}.q"] = q
            tensors[f"{name}.{iterations}.ba"] = b @ a  # singular vectors alone may turn
    write_tensors("loftq.safetensors", tensors)


main()
