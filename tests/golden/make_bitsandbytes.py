"""Numbers in 4 bits as bitsandbytes' CPU path quantises them, and its 8-bit dynamic maps."""

from recording import start, write_tensors

arguments = start(__doc__)

import torch  # noqa: E402
from bitsandbytes.functional import create_dynamic_map, dequantize_4bit, quantize_4bit  # noqa: E402

SEED = 21
# Whole blocks of 64 and rows that are not; odd counts; a single number.
SHAPES = [(1,), (7, 9), (2, 64), (5, 50), (3, 129)]
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
BLOCK_SIZES = [32, 64, 256]


def quantised(x, quant_type, block_size, nested):
    codes, state = quantize_4bit(
        x, blocksize=block_size, compress_statistics=nested, quant_type=quant_type
    )
    result = {"codes": codes.flatten(), "absmax": state.absmax}
    if nested:
        result["nested_absmax"] = state.state2.absmax
        result["offset"] = state.offset.reshape(1)
    # What it makes of K % 64 != 0 on processors with AVX-512 is wrong.
    if x.shape[-1] % 64 == 0 and not nested:
        result["numbers"] = dequantize_4bit(codes, state)
    return result


def main():
    torch.manual_seed(SEED)
    tensors = {"signed_map": create_dynamic_map(signed=True)}
    tensors["unsigned_map"] = create_dynamic_map(signed=False)
    for name, dtype in DTYPES.items():
        for shape in SHAPES:
            case = f"{name}.{'x'.join(map(str, shape))}"
            x = torch.randn(shape).to(dtype)
            tensors[f"{case}.x"] = x
            for quant_type in ("nf4", "fp4"):
                for block_size in BLOCK_SIZES:
                    for key, value in quantised(x, quant_type, block_size, False).items():
                        tensors[f"{case}.{quant_type}.{block_size}.{key}"] = value
    # 300 blocks of 32: one whole and one partial block of nested scales.
    x = torch.randn(75, 128)
    tensors["nested.x"] = x.to(torch.bfloat16)
    for key, value in quantised(x.to(torch.bfloat16), "nf4", 32, True).items():
        tensors[f"nested.{key}"] = value
    write_tensors("bitsandbytes.safetensors", tensors)


main()
