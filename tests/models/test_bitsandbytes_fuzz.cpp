// Damaged companions of 4-bit weights: thousands of them, the same ones on every run.
#include <algorithm>
#include <array>
#include <random>

#include "graft/models/bitsandbytes.h"
#include "graft/tests/models/quantized_tensors.h"

namespace graft::models {
namespace {

using Tensors = test::QuantizedTensors;
using Random = std::mt19937;

const std::string weight = Tensors::weight;

size_t below(Random& random, size_t end) {
  return random() % end;
}

/// What a hostile file might put into the JSON of a state.
constexpr std::array parts{
    "{",    "}",      "[",          "]",         ",",        ":",
    "\"",   "null",   "-1",         "0",         "1e999",    "2147483648",
    "1.5",  "[[[[[[", "{\"a\":{",   "\\u0000",   "\xff\xfe", "18446744073709551616",
    "true", "[0]",    "[64,64,64]", "\"shape\"", "64",       "\"blocksize\":"};

/// The text with a few of its bytes changed, taken out or put in.
std::string damaged(std::string text, Random& random) {
  for (size_t i = 0, changes = 1 + below(random, 4); i < changes; ++i) {
    const size_t at = below(random, text.size() + 1);
    switch (below(random, 5)) {
      case 0:
        text.erase(at, 1 + below(random, 8));
        break;
      case 1:
        text.insert(at, parts[below(random, parts.size())]);
        break;
      case 2:
        text.insert(at, 1, static_cast<char>(below(random, 256)));
        break;
      case 3:
        text.insert(at, text.substr(at / 2, 1 + below(random, 20)));
        break;
      default:
        if (at < text.size())
          text[at] = static_cast<char>(below(random, 256));
    }
  }
  return text;
}

/// A tensor of other sizes, another dtype or other bits.
Tensor damaged(const Tensor& tensor, Random& random) {
  constexpr std::array dtypes{DType::f64, DType::f32, DType::bf16, DType::f16,
                              DType::i64, DType::i32, DType::u8,   DType::boolean};
  const int64_t count = tensor.numel();
  switch (below(random, 4)) {
    case 0:
      return tensor.contiguous().view({-1}).slice(
          0, 0, static_cast<int64_t>(below(random, static_cast<size_t>(count))));
    case 1:
      return Tensor::zeros({count + static_cast<int64_t>(below(random, 300))}, tensor.dtype());
    case 2:
      return Tensor::zeros(tensor.shape(), dtypes[below(random, dtypes.size())]);
    default: {
      Tensor changed = tensor.clone();
      auto* bytes = static_cast<uint8_t*>(changed.as_view().data);
      for (int i = 0; i < 4 && changed.nbytes() > 0; ++i)
        bytes[below(random, static_cast<size_t>(changed.nbytes()))] =
            static_cast<uint8_t>(random());
      return changed;
    }
  }
}

/// True where the weight is read, and then it is one that can be used; false where it is refused as
/// a fault of the file. Whatever else is thrown fails the test.
bool is_read(const Tensors& source) {
  try {
    const quant::QuantizedTensor value = read_quantized(source, weight);
    quant::check(value);
    CHECK(quant::dequantize(value, DType::bf16).shape() == value.shape);
    return true;
  } catch (const FormatError&) {
    return false;
  }
}

}  // namespace

TEST_CASE("bitsandbytes: a state with random damage is read or refused, never more") {
  Random random(1);
  for (const std::string type : {"nf4", "fp4"}) {
    Tensors source(type);
    const std::string name = weight + ".quant_state.bitsandbytes__" + type;
    const std::string whole = test::text_of(source.tensors.at(name));
    int refused = 0;
    for (int i = 0; i < 20000; ++i) {
      source.tensors.at(name) = test::bytes_of(damaged(whole, random));
      refused += !is_read(source);
    }
    CHECK(refused > 10000);
  }
}

TEST_CASE("bitsandbytes: companions with random damage are read or refused, never more") {
  Random random(2);
  for (const std::string type : {"nf4", "fp4"}) {
    Tensors source(type);
    std::vector<std::string> companions{weight};
    for (const std::string& name : source.names()) {
      if (is_quantization_companion(source, name) && name.starts_with(weight))
        companions.push_back(name);
    }
    const std::map<std::string, Tensor> whole = source.tensors;
    int refused = 0;
    for (int i = 0; i < 5000; ++i) {
      const std::string& name = companions[below(random, companions.size())];
      source.tensors.at(name) = damaged(whole.at(name), random);
      refused += !is_read(source);
      source.tensors.at(name) = whole.at(name);
    }
    CHECK(refused > 2000);
    CHECK(is_read(source));
  }
}

}  // namespace graft::models
