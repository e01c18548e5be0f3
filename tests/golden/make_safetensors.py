"""Files as Python's safetensors library writes them; graft must write the same bytes."""

from pathlib import Path

from recording import start

arguments = start(__doc__)

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

ROOT = Path("safetensors")


def tensor(shape, dtype):
    """Elements 0, 1, 2 … in row-major order; every second one true where dtype is bool."""
    values = torch.arange(torch.Size(shape).numel()).reshape(shape)
    return (values % 2 == 1) if dtype == torch.bool else values.to(dtype)


# Widths from 8 bytes to 1, names whose order differs from that of their dtypes, a scalar, empty
# tensors, an odd count of bytes, and names that JSON has to escape or must not.
ALL_DTYPES = {
    "f64": tensor((3,), torch.float64),
    "f32": tensor((2, 3), torch.float32),
    "a.weight": tensor((5,), torch.float32),
    "bf16": tensor((3, 1, 2), torch.bfloat16),
    "f16": tensor((1,), torch.float16),
    "i64": tensor((2,), torch.int64),
    "i32": tensor((4,), torch.int32),
    "u8": tensor((3,), torch.uint8),
    "bool": tensor((5,), torch.bool),
    "scalar": tensor((), torch.float32),
    "empty": tensor((0, 4), torch.float32),
    "Empty": tensor((2, 0), torch.bool),
    'quote " backslash \\ tab \t bell \x07 slash / delete \x7f': tensor((1,), torch.uint8),
    "größe 模型": tensor((2,), torch.uint8),
}


def main():
    ROOT.mkdir(exist_ok=True)
    save_file(ALL_DTYPES, ROOT / "all_dtypes.safetensors", {"format": "pt"})
    save_file({"x": tensor((2, 2), torch.float32)}, ROOT / "no_metadata.safetensors")
    save_file({}, ROOT / "only_metadata.safetensors", {'key "1"': "line\nbreak, ü, \u2028"})
    save_file({}, ROOT / "nothing.safetensors")


main()
