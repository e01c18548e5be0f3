#include <algorithm>
#include <cmath>

#include "graft/models/bitsandbytes.h"
#include "graft/tests/models/quantized_tensors.h"
#include "graft/tests/support/test.h"

namespace graft::models {
namespace {

using test::bytes_of;
using test::check_contains;
using test::message_of;
using test::text_of;
using Tensors = test::QuantizedTensors;

const std::string weight = Tensors::weight;

/// The message of reading the nf4 weight after `change`.
std::string refusal(const std::function<void(std::map<std::string, Tensor>&)>& change) {
  Tensors source("nf4");
  change(source.tensors);
  return message_of<FormatError>([&] { read_quantized(source, weight); });
}

/// The same with a part of its state's JSON replaced.
std::string refusal_of_state(const std::string& from, const std::string& to) {
  return refusal([&](auto& tensors) {
    Tensor& state = tensors.at(weight + ".quant_state.bitsandbytes__nf4");
    std::string text = text_of(state);
    const size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    state = bytes_of(text.replace(at, from.size(), to));
  });
}

/// The boundaries of bitsandbytes' CUDA kernel, which graft has, are rounded to six digits beside
/// the midpoints of its CPU path, and ratios of bf16 numbers like 5/24 do lie on them.
void check_fp4(const Tensor& x, const quant::QuantizedTensor& a, const quant::QuantizedTensor& b) {
  const Tensor left = quant::dequantize(a, DType::f32);
  const Tensor right = quant::dequantize(b, DType::f32);
  for (size_t i = 0; i < static_cast<size_t>(x.numel()); ++i) {
    if (left.span<float>()[i] == right.span<float>()[i])
      continue;
    const float scale = quant::scales(b).span<float>()[i / static_cast<size_t>(b.blocksize)];
    const float ratio = std::abs(x.span<float>()[i] / scale);
    CHECK(std::ranges::any_of(quant::rounding(quant::QuantType::fp4).boundaries,
                              [&](float at) { return std::abs(ratio - at) < 5e-7F; }));
  }
}

}  // namespace

TEST_CASE("bitsandbytes: weights written by transformers are read, and are what graft makes") {
  const io::SafetensorsFile dense(test::golden("qlora/dense/model.safetensors"));
  for (const auto& [name, format] :
       {std::pair<std::string, quant::Format>{"nf4", {quant::QuantType::nf4, 64, true}},
        {"fp4", {quant::QuantType::fp4, 64, false}}}) {
    CAPTURE(name);
    const Tensors source(name);
    int count = 0;
    for (const std::string& tensor : dense.names()) {
      if (!is_quantized(source, tensor))
        continue;
      ++count;
      CAPTURE(tensor);
      const quant::QuantizedTensor stored = read_quantized(source, tensor);
      const quant::QuantizedTensor own = quant::quantize(dense.load(tensor).to(DType::f32), format);
      CHECK(stored.shape == own.shape);
      CHECK(stored.dtype == DType::f32);
      if (name == "nf4")
        CHECK(test::same_bits(stored.codes, own.codes));
      else
        check_fp4(dense.load(tensor).to(DType::f32), stored, own);
      CHECK(test::same_bits(stored.map, own.map));
      CHECK(stored.nested.has_value() == own.nested.has_value());
      // Nested scales are at most one step of the map apart, see quant's own tests.
      CHECK(test::relative_difference(quant::scales(stored), quant::scales(own)) < 0.01);
    }
    CHECK(count == 14);
    CHECK_FALSE(is_quantized(source, "lm_head.weight"));
    CHECK_FALSE(is_quantized(source, "model.layers.9.mlp.up_proj.weight"));
  }
}

TEST_CASE("bitsandbytes: what is written is what was read") {
  for (const std::string name : {"nf4", "fp4"}) {
    CAPTURE(name);
    const Tensors source(name);
    const quant::QuantizedTensor value = quant::to_panels(read_quantized(source, weight));
    size_t companions = 0;
    for (const std::string& tensor : source.names())
      companions += tensor.starts_with(weight) && tensor != weight;
    const std::vector<io::NamedTensor> written = quantized_tensors(weight, value);
    CHECK(written.size() == companions + 1);
    for (const io::NamedTensor& tensor : written) {
      CAPTURE(tensor.name);
      REQUIRE(source.contains(tensor.name));
      CHECK(is_quantization_companion(source, tensor.name) == (tensor.name != weight));
      const Tensor expected = source.load(tensor.name);
      if (tensor.name.find("quant_state") == std::string::npos) {
        CHECK(test::same_bits(tensor.tensor, expected));
        continue;
      }
      // Python writes a blank behind colons and commas.
      std::string text = text_of(expected);
      std::erase(text, ' ');
      CHECK(text_of(tensor.tensor) == text);
    }
  }
}

TEST_CASE("bitsandbytes: codes stored as floats are the same bytes") {
  Tensors source("nf4");
  const quant::QuantizedTensor before = read_quantized(source, weight);
  const Tensor& bytes = source.tensors.at(weight);
  source.tensors.at(weight) =
      Tensor(bytes.storage(), DType::bf16, {bytes.numel() / 2, 1}, {1, 1}, bytes.offset() / 2);
  CHECK(test::same_bits(read_quantized(source, weight).codes, before.codes));
}

TEST_CASE("bitsandbytes: scales that a cast of the model made bf16 are read") {
  Tensors source("nf4");
  Tensor& absmax = source.tensors.at(weight + ".nested_absmax");
  const Tensor rounded = absmax.to(DType::bf16);
  absmax = rounded;
  CHECK(test::same_bits(read_quantized(source, weight).nested->blocks.absmax,
                        rounded.to(DType::f32)));
}

TEST_CASE("bitsandbytes: the file's own map is used") {
  Tensors source("nf4");
  Tensor& map = source.tensors.at(weight + ".quant_map");
  map = map.clone();
  map.data<float>()[3] = -0.4F;
  CHECK(read_quantized(source, weight).map.span<float>()[3] == -0.4F);
}

TEST_CASE("bitsandbytes: companions that are missing or do not fit are refused by name") {
  for (const std::string companion : {"quant_map", "absmax", "nested_quant_map"}) {
    check_contains(refusal([&](auto& tensors) { tensors.erase(weight + "." + companion); }),
                   weight + "." + companion + " is missing");
  }
  check_contains(
      refusal([](auto& tensors) { tensors[weight + ".absmax"] = Tensor::zeros({63}, DType::u8); }),
      "absmax is (63), (64) expected");
  check_contains(
      refusal([](auto& tensors) { tensors[weight + ".absmax"] = Tensor::zeros({64}, DType::i32); }),
      "absmax has dtype i32, u8 expected");
  check_contains(refusal([](auto& tensors) {
                   tensors[weight] = Tensor::zeros({2047, 1}, DType::u8);
                 }),
                 "has 2047 bytes, 2048 expected for 4096 numbers");
  check_contains(refusal([](auto& tensors) {
                   tensors[weight + ".quant_state.bitsandbytes__fp4"] = bytes_of("{}");
                 }),
                 "the states of two 4-bit types");
}

TEST_CASE("bitsandbytes: a damaged state is refused with the place") {
  check_contains(refusal_of_state("{", "["), "quant_state.bitsandbytes__nf4");
  check_contains(refusal_of_state("\"nf4\"", "\"fp4\""), "quant_type is \"fp4\", expected nf4");
  check_contains(refusal_of_state("\"blocksize\": 64", "\"blocksize\": 63"), "block size 63");
  check_contains(refusal_of_state("\"blocksize\": 64", "\"blocksize\": 0"), "blocksize is 0");
  check_contains(refusal_of_state("\"blocksize\": 64", "\"blocksize\": \"x\""), "blocksize is");
  check_contains(refusal_of_state("\"float32\", \"shape\"", "\"int8\", \"shape\""),
                 "dtype is \"int8\", expected float32, bfloat16 or float16");
  check_contains(refusal_of_state("[64, 64]", "[64, 65]"), "bytes, 2080 expected");
  check_contains(refusal_of_state("[64, 64]", "[]"), "shape is a list of 0");
  check_contains(refusal_of_state("[64, 64]", "[-64, 64]"), "shape");
  check_contains(refusal_of_state("[64, 64]", "[2147483647, 2147483647]"), "at most");
  check_contains(refusal_of_state("[64, 64]", "[0,2147483647,2147483647,2147483647]"), "at most");
  check_contains(refusal_of_state("[64, 64]", "[1,1,1,1,1,1,64,64]"), "a list of sizes");
  check_contains(refusal_of_state("\"nested_offset\"", "\"nested_of\""), "nested_offset");
}

TEST_CASE("bitsandbytes: a state cut anywhere is refused, and nothing else happens") {
  const std::string whole =
      text_of(Tensors("nf4").tensors.at(weight + ".quant_state.bitsandbytes__nf4"));
  for (size_t size = 0; size < whole.size(); ++size) {
    Tensors source("nf4");
    source.tensors.at(weight + ".quant_state.bitsandbytes__nf4") = bytes_of(whole.substr(0, size));
    CHECK_THROWS_AS(read_quantized(source, weight), FormatError);
  }
}

}  // namespace graft::models
