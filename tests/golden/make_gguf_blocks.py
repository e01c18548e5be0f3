"""Numbers, ordinary and awkward ones, and the blocks that the gguf package makes of them."""

from recording import start, write_tensors

arguments = start(__doc__)

import gguf  # noqa: E402
import numpy  # noqa: E402
import torch  # noqa: E402
from gguf import GGMLQuantizationType as Type  # noqa: E402

SEED = 17
COLUMNS = 64
TYPES = [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0]


def rows():
    random = numpy.random.default_rng(SEED)
    made = [random.standard_normal((12, COLUMNS)) * scale for scale in (0.02, 1, 300)]
    made.append(numpy.zeros((1, COLUMNS)))
    made.append(-numpy.zeros((1, COLUMNS)))
    # Halves between two codes, of both signs; the largest number is there twice, in two signs.
    steps = numpy.arange(COLUMNS) % 32
    made.append(((steps - 15.5) * 8)[None])
    made.append(((15.5 - steps) * 8)[None])
    made.append(numpy.where(steps % 2 == 0, 127.0, steps + 0.5)[None])
    made.append(numpy.where(steps % 2 == 0, -4.0, steps / 4 - 4)[None])
    # One number alone, the smallest of f16 and less, and the largest.
    for value in (1.0, -1.0, 6e-8, -2e-8, 65504.0, 65519.9):
        made.append(numpy.where(steps == 7, value, 0)[None])
    return numpy.concatenate(made).astype(numpy.float32)


def main():
    x = rows()
    tensors = {"x": torch.from_numpy(x)}
    for type in TYPES:
        blocks = numpy.ascontiguousarray(gguf.quantize(x, type)).view(numpy.uint8)
        tensors[type.name] = torch.from_numpy(blocks.reshape(-1).copy())
    write_tensors("gguf_blocks.safetensors", tensors)


main()
