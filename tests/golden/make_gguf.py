"""A small GGUF file with every kind of metadata value and the tensor types graft decodes."""

from recording import start, write_tensors

arguments = start(__doc__)

import gguf  # noqa: E402
import numpy  # noqa: E402
import torch  # noqa: E402
from gguf import GGMLQuantizationType as Type  # noqa: E402

SEED = 11
PATH = "small.gguf"
QUANTIZED = [
    Type.F32,
    Type.F16,
    Type.BF16,
    Type.Q4_0,
    Type.Q4_1,
    Type.Q5_0,
    Type.Q5_1,
    Type.Q8_0,
]
# The package decodes these but does not make them: where in a block the scales of half precision are.
HALF_SCALES = {
    Type.Q2_K: [80, 82],
    Type.Q3_K: [108],
    Type.Q4_K: [0, 2],
    Type.Q5_K: [0, 2],
    Type.Q6_K: [208],
}


def metadata(writer):
    writer.add_uint8("test.u8", 200)
    writer.add_int8("test.i8", -100)
    writer.add_uint16("test.u16", 60000)
    writer.add_int16("test.i16", -30000)
    writer.add_uint32("test.u32", 4000000000)
    writer.add_int32("test.i32", -2000000000)
    writer.add_uint64("test.u64", 2**64 - 1)
    writer.add_int64("test.i64", -(2**63))
    writer.add_float32("test.f32", 0.1)
    writer.add_float64("test.f64", 0.1)
    writer.add_bool("test.true", True)
    writer.add_bool("test.false", False)
    writer.add_string("test.text", "größe\0 and more")
    writer.add_array("test.integers", [1, -2, 3])
    writer.add_array("test.floats", [0.5, -1.5])
    writer.add_array("test.booleans", [True, False, True])
    writer.add_array("test.texts", ["a", "", "<0x0A>", "▁the"])


def random_blocks(random, type):
    """Two rows of two blocks: every code and every scale may occur."""
    nbytes = gguf.GGML_QUANT_SIZES[type][1]
    blocks = random.integers(0, 256, (4, nbytes), dtype=numpy.uint8)
    for at in HALF_SCALES[type]:
        scales = (0.01 * random.standard_normal(4)).astype(numpy.float16)
        blocks[:, at : at + 2] = scales.view(numpy.uint8).reshape(4, 2)
    return blocks.reshape(2, 2 * nbytes)


def add_weight(writer, expected, type, stored):
    writer.add_tensor(f"{type.name}.weight", stored, raw_dtype=type)
    expected[f"{type.name}.weight"] = torch.from_numpy(
        numpy.ascontiguousarray(gguf.dequantize(stored, type).astype(numpy.float32))
    )


def main():
    random = numpy.random.default_rng(SEED)
    writer = gguf.GGUFWriter(PATH, "llama")
    metadata(writer)
    expected = {}
    for type in QUANTIZED:
        values = random.standard_normal((3, 64)).astype(numpy.float32)
        add_weight(writer, expected, type, gguf.quantize(values, type))
    for type in HALF_SCALES:
        add_weight(writer, expected, type, random_blocks(random, type))
    # Zero bytes of a type that graft has no decoder for: 256 numbers in 136 bytes.
    writer.add_tensor("undecodable", numpy.zeros((1, 136), numpy.uint8), raw_dtype=Type.IQ4_XS)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_tensors("small_gguf.safetensors", expected)


main()
