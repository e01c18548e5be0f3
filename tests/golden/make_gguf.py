"""A small GGUF file with every kind of metadata value and the tensor types graft decodes."""

from recording import start, write_tensors

arguments = start(__doc__)

import gguf  # noqa: E402
import numpy  # noqa: E402
import torch  # noqa: E402
from gguf import GGMLQuantizationType as Type  # noqa: E402

SEED = 11
PATH = "small.gguf"
TYPES = [Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q8_0]


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


def main():
    random = numpy.random.default_rng(SEED)
    writer = gguf.GGUFWriter(PATH, "llama")
    metadata(writer)
    expected = {}
    for type in TYPES:
        values = random.standard_normal((3, 64)).astype(numpy.float32)
        stored = gguf.quantize(values, type)
        writer.add_tensor(f"{type.name}.weight", stored, raw_dtype=type)
        expected[f"{type.name}.weight"] = torch.from_numpy(
            numpy.ascontiguousarray(gguf.dequantize(stored, type).astype(numpy.float32))
        )
    # Zero bytes of a type that graft has no decoder for: 256 numbers in 144 bytes.
    writer.add_tensor("undecodable", numpy.zeros((1, 144), numpy.uint8), raw_dtype=Type.Q4_K)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_tensors("small_gguf.safetensors", expected)


main()
