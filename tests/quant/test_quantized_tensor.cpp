#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "graft/io/safetensors.h"
#include "graft/quant/quantized_tensor.h"
#include "graft/tensor/parallel.h"
#include "graft/tests/support/kernels.h"
#include "graft/tests/support/test.h"

namespace graft::quant {
namespace {

using test::check_contains;
using test::message_of;

/// A file of quant/bnb_reference: a weight as bitsandbytes' CUDA kernels stored it, and the bf16
/// numbers they made of it.
struct Reference {
  QuantizedTensor weight;
  Tensor expected;
};

template <class T>
Tensor take(std::istream& in, uint32_t bytes) {
  Tensor result = Tensor::empty({bytes / static_cast<int64_t>(sizeof(T))}, dtype_of<T>::value);
  in.read(reinterpret_cast<char*>(result.data<T>()), bytes);
  return result;
}

Reference reference(const std::string& name, QuantType type) {
  std::ifstream in(test::data("quant/bnb_reference/" + name), std::ios::binary);
  uint32_t head[3];     // format (2: double quantised), numbers, block size
  uint32_t lengths[6];  // bytes of the codes, absmax, map, nested absmax, nested map, expected
  float offset = 0;
  in.read(reinterpret_cast<char*>(head), sizeof(head));
  in.read(reinterpret_cast<char*>(lengths), sizeof(lengths));
  in.read(reinterpret_cast<char*>(&offset), sizeof(offset));
  Reference result;
  result.weight.shape = {static_cast<int64_t>(head[1])};
  result.weight.type = type;
  result.weight.blocksize = head[2];
  result.weight.codes = take<uint8_t>(in, lengths[0]);
  Tensor absmax = head[0] == 2 ? take<uint8_t>(in, lengths[1]) : take<float>(in, lengths[1]);
  result.weight.map = take<float>(in, lengths[2]);
  CHECK(std::ranges::equal(result.weight.map.span<float>(), codebook(type)));
  // The file holds 0 for code 8 of fp4; the kernels do not read it and have -0.
  std::ranges::copy(codebook(type), result.weight.map.data<float>());
  const Tensor nested_absmax = take<float>(in, lengths[3]);
  const Tensor nested_map = take<float>(in, lengths[4]);
  if (head[0] == 2)
    result.weight.nested = NestedScales{{absmax, nested_absmax, nested_map, 256}, offset};
  else
    result.weight.absmax = absmax;
  result.expected = take<bf16>(in, lengths[5]);
  REQUIRE(in.good());
  return result;
}

/// The code of number i.
uint8_t code(const QuantizedTensor& x, int64_t i) {
  const uint8_t byte = x.codes.span<uint8_t>()[static_cast<size_t>(i / 2)];
  return i % 2 == 0 ? byte >> 4 : byte & 15;
}

/// fp4 codes with -0 as 0: bitsandbytes' CUDA kernel keeps the sign, its CPU path loses it.
Tensor without_negative_zeros(const Tensor& codes) {
  Tensor result = codes.clone();
  for (uint8_t& byte : result.span<uint8_t>()) {
    byte = (byte & 0xf0) == 0x80 ? byte & 0x0f : byte;
    byte = (byte & 0x0f) == 0x08 ? byte & 0xf0 : byte;
  }
  return result;
}

QuantizedTensor nf4(const std::vector<float>& values, int64_t blocksize = 64) {
  return quantize(Tensor::from(values, {static_cast<int64_t>(values.size())}),
                  {.blocksize = blocksize, .double_quant = false});
}

}  // namespace

TEST_CASE("dequantize: weights of real models give the numbers of bitsandbytes' CUDA kernels") {
  int compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(test::data("quant/bnb_reference"))) {
    const std::string name = entry.path().filename().string();
    CAPTURE(name);
    if (name.find("int8") != std::string::npos)  // no 4-bit weight
      continue;
    const bool is_fp4 = name.find("fp4") != std::string::npos;
    const Reference golden = reference(name, is_fp4 ? QuantType::fp4 : QuantType::nf4);
    check(golden.weight);
    CHECK(test::same_bits(dequantize(golden.weight, DType::bf16), golden.expected));
    ++compared;
  }
  CHECK(compared == 4);
}

TEST_CASE("quantize: codes and scales of bitsandbytes' CPU path, for every dtype and shape") {
  const io::SafetensorsFile golden(test::golden("bitsandbytes.safetensors"));
  int compared = 0;
  for (const std::string& name : golden.names()) {
    if (!name.ends_with(".codes") || name.starts_with("nested"))
      continue;
    CAPTURE(name);
    // "bf16.5x50.nf4.64.codes"
    std::istringstream parts(name);
    std::string dtype, shape, type, blocksize;
    std::getline(parts, dtype, '.');
    std::getline(parts, shape, '.');
    std::getline(parts, type, '.');
    std::getline(parts, blocksize, '.');
    const std::string base = name.substr(0, name.size() - 5);
    const QuantizedTensor x =
        quantize(golden.load(dtype + "." + shape + ".x"), {.type = parse_quant_type(type),
                                                           .blocksize = std::stoll(blocksize),
                                                           .double_quant = false});
    check(x);
    Tensor expected = golden.load(name).clone();
    if (x.numel() % 2 == 1)  // bitsandbytes pads with the code of 0, its CUDA kernel with 0
      expected.data<uint8_t>()[expected.numel() - 1] &= 0xf0;
    CHECK(test::same_bits(type == "fp4" ? without_negative_zeros(x.codes) : x.codes,
                          type == "fp4" ? without_negative_zeros(expected) : expected));
    CHECK(test::same_bits(x.absmax, golden.load(base + "absmax")));
    if (golden.contains(base + "numbers"))
      CHECK(test::same_bits(dequantize(x, x.dtype), golden.load(base + "numbers")));
    ++compared;
  }
  CHECK(compared == 90);
}

TEST_CASE("quantize: every instruction set gives the same codes") {
  for (const QuantType type : {QuantType::nf4, QuantType::fp4}) {
    for (const int64_t count : {1, 31, 64, 1000, 4099}) {
      Tensor x = test::random_tensor({count}, 3);
      x.data<float>()[0] = -0.0F;
      Tensor expected;
      test::for_each_kernel(quantize_4bit_slot, [&] {
        const Tensor codes = quantize(x, {.type = type, .double_quant = false}).codes;
        CAPTURE(count);
        if (expected.defined())
          CHECK(test::same_bits(codes, expected));
        expected = codes.clone();
      });
    }
  }
}

TEST_CASE("quantize: nested scales are at most one step from bitsandbytes', and nearest") {
  const io::SafetensorsFile golden(test::golden("bitsandbytes.safetensors"));
  const QuantizedTensor x = quantize(golden.load("nested.x"), {.blocksize = 32});
  check(x);
  CHECK(test::same_bits(x.codes, golden.load("nested.codes")));
  const Tensor codes = golden.load("nested.absmax");
  const Blockwise& nested = x.nested->blocks;
  // The mean of 300 scales near 2.2: torch adds in another order.
  CHECK(x.nested->offset == doctest::Approx(golden.load("nested.offset").item()).epsilon(1e-6));
  CHECK(test::max_difference(nested.absmax, golden.load("nested.nested_absmax")) < 1e-6);
  CHECK(test::max_difference(nested.codes, codes) <= 1);
  const Tensor exact =
      quantize(golden.load("nested.x"), {.blocksize = 32, .double_quant = false}).absmax;
  // Each code is that of the nearest entry: bitsandbytes' CPU path takes one beside it now and
  // then.
  for (size_t i = 0; i < static_cast<size_t>(exact.numel()); ++i) {
    const double number = exact.span<float>()[i] - x.nested->offset;
    const double absmax = nested.absmax.span<float>()[i / 256];
    double nearest = 1;
    for (const float entry : nested.map.span<float>())
      nearest = std::min(nearest, std::abs(entry * absmax - number));
    const double entry = nested.map.span<float>()[nested.codes.span<uint8_t>()[i]];
    CHECK(std::abs(entry * absmax - number) <= nearest + 1e-7);  // f32 against f64
  }
  // Half of the widest step of the map (1/128) of the largest deviation from the mean.
  const double deviation = test::max_difference(nested.absmax, Tensor::zeros({2}));
  CHECK(test::max_difference(scales(x), exact) <= deviation / 128 * 1.0001);
}

TEST_CASE("quantize: a number on a boundary takes the lower code, the next one the upper") {
  for (const QuantType type : {QuantType::nf4, QuantType::fp4}) {
    CAPTURE(quant_type_name(type));
    const Rounding rounding = quant::rounding(type);
    for (size_t i = 0; i < rounding.boundaries.size(); ++i) {
      CAPTURE(i);
      const float boundary = rounding.boundaries[i];
      const Tensor x = Tensor::from<float>({1, boundary, std::nextafter(boundary, 2.0F)}, {3});
      const QuantizedTensor y = quantize(x, {.type = type, .double_quant = false});
      CHECK(code(y, 1) == rounding.codes[i]);
      CHECK(code(y, 2) == rounding.codes[i + 1]);
    }
  }
}

TEST_CASE("quantize: every value of the codebook comes back as itself") {
  for (const QuantType type : {QuantType::nf4, QuantType::fp4}) {
    CAPTURE(quant_type_name(type));
    const std::span<const float, 16> values = codebook(type);
    const Tensor x = Tensor::from(std::vector<float>(values.begin(), values.end()), {4, 4});
    const Tensor y = dequantize(quantize(x, {.type = type, .double_quant = false}), DType::f32);
    CHECK(test::max_difference(x, y) == 0);
  }
}

TEST_CASE("quantize: the first number of a pair is in the high nibble") {
  const QuantizedTensor x = nf4({1, -1, 0});
  CHECK(x.codes.span<uint8_t>()[0] == 0xf0);
  CHECK(x.codes.span<uint8_t>()[1] == 0x70);
}

TEST_CASE("quantize: blocks of zeros stay zero, with double quantisation too") {
  std::vector<float> values(5 * 64 + 7, 0.0F);
  for (size_t i = 64; i < 128; ++i)
    values[i] = static_cast<float>(i);
  for (const QuantType type : {QuantType::nf4, QuantType::fp4}) {
    for (const bool double_quant : {false, true}) {
      CAPTURE(double_quant);
      const Tensor x = Tensor::from(values, {static_cast<int64_t>(values.size())});
      const QuantizedTensor y = quantize(x, {.type = type, .double_quant = double_quant});
      const Tensor back = dequantize(y, DType::f32);
      for (size_t i = 0; i < values.size(); ++i) {
        if (values[i] == 0)
          CHECK(back.span<float>()[i] == 0);
      }
    }
  }
}

TEST_CASE("quantize: subnormal blocks become zero and nothing overflows") {
  const QuantizedTensor x = nf4({1e-40F, -1e-40F, 3e-39F});
  CHECK(test::max_difference(dequantize(x, DType::f32), Tensor::zeros({3})) == 0);
  const QuantizedTensor large = nf4({3e38F, -3e38F, 1});
  CHECK(dequantize(large, DType::f32).span<float>()[1] == -3e38F);
}

TEST_CASE("quantize: the errors of normal numbers are those published for each block size") {
  struct Published {
    double mean, deviation;
    double limit() const { return mean + 7 * deviation; }
  };
  struct Row {
    int64_t blocksize;
    Published nf4, nf4_relative, fp4, fp4_relative;
  };
  // Mean errors, absolute and relative, and their deviations over 200 runs: bitsandbytes' own
  // tests.
  constexpr Row rows[] = {
      {32, {.067746, .000069}, {.189726, .000304}, {.088925, .000091}, {.242443, .000330}},
      {64, {.072798, .000074}, {.203339, .000340}, {.096543, .000111}, {.260125, .000379}},
      {128, {.076831, .000091}, {.215237, .000391}, {.102969, .000134}, {.275817, .000433}},
      {256, {.080337, .000102}, {.226105, .000398}, {.108684, .000182}, {.289831, .000497}},
      {512, {.083547, .000143}, {.236079, .000544}, {.114115, .000234}, {.302881, .000583}},
      {1024, {.086610, .000187}, {.245370, .000600}, {.119333, .000320}, {.315000, .000757}},
      {2048, {.089592, .000251}, {.254163, .000747}, {.124556, .000455}, {.326607, .000955}},
      {4096, {.092547, .000360}, {.262473, .000999}, {.129536, .000612}, {.337169, .001239}}};
  const Tensor x = test::random_tensor({1024, 1024}, 7);
  struct Errors {
    double absolute = 0, relative = 0;
  };
  const auto errors = [&](const Format& format) {
    const Tensor y = dequantize(quantize(x, format), DType::f32);
    Errors sum;
    for (size_t i = 0; i < static_cast<size_t>(x.numel()); ++i) {
      const double number = x.span<float>()[i];
      const double error = std::abs(number - y.span<float>()[i]);
      sum.absolute += error;
      sum.relative += error / (std::abs(number) + 1e-8);
    }
    const auto count = static_cast<double>(x.numel());
    return Errors{sum.absolute / count, sum.relative / count};
  };
  for (const Row& row : rows) {
    CAPTURE(row.blocksize);
    const Errors nf4 = errors({QuantType::nf4, row.blocksize, false});
    CHECK(nf4.absolute < row.nf4.limit());
    CHECK(nf4.relative < row.nf4_relative.limit());
    const Errors fp4 = errors({QuantType::fp4, row.blocksize, false});
    CHECK(fp4.absolute < row.fp4.limit());
    CHECK(fp4.relative < row.fp4_relative.limit());
    // Double quantisation adds a thousandth of it.
    const Errors nested = errors({QuantType::nf4, row.blocksize, true});
    CHECK(nested.absolute < row.nf4.limit() * 1.002);
    CHECK(nested.relative < row.nf4_relative.limit() * 1.002);
  }
}

TEST_CASE("quantize: the bytes do not depend on the number of threads") {
  const Tensor x = test::random_tensor({700, 129}, 8, DType::bf16);
  const int before = thread_count();
  set_thread_count(1);
  const QuantizedTensor one = quantize(x, {});
  const Tensor numbers = dequantize(one, DType::f16);
  set_thread_count(3);
  const QuantizedTensor three = quantize(x, {});
  CHECK(test::same_bits(one.codes, three.codes));
  CHECK(test::same_bits(one.nested->blocks.codes, three.nested->blocks.codes));
  CHECK(test::same_bits(numbers, dequantize(three, DType::f16)));
  set_thread_count(before);
}

TEST_CASE("quantize: double quantisation takes 4.127 bits a number, single 4.5") {
  const Tensor x = test::random_tensor({512, 1024}, 9);
  const double numbers = 512 * 1024;
  const double single = 8.0 * static_cast<double>(quantize(x, {.double_quant = false}).nbytes());
  const double nested = 8.0 * static_cast<double>(quantize(x, {}).nbytes());
  CHECK(single / numbers == doctest::Approx(4.5).epsilon(0.001));
  CHECK(nested / numbers == doctest::Approx(4.127).epsilon(0.005));  // the map is 1 KiB of 264
}

TEST_CASE("quantize: NaN, infinity and block sizes that are none are refused") {
  Tensor x = Tensor::zeros({3, 50});
  x.data<float>()[101] = std::numeric_limits<float>::quiet_NaN();
  check_contains(message_of<NonFiniteError>([&] { quantize(x, {}); }),
                 "number 101 of (3, 50) is nan");
  x.data<float>()[101] = -std::numeric_limits<float>::infinity();
  check_contains(message_of<NonFiniteError>([&] { quantize(x, {}); }), "is -inf");
  for (const int64_t blocksize : {0, 16, 48, 8192, -64}) {
    check_contains(
        message_of<ConfigError>([&] { quantize(Tensor::zeros({64}), {.blocksize = blocksize}); }),
        "block size " + std::to_string(blocksize) + " given");
  }
  check_contains(message_of<ConfigError>([] { parse_quant_type("int4"); }), "nf4 or fp4 expected");
}

TEST_CASE("quantize: a tensor without numbers is fine") {
  const QuantizedTensor x = quantize(Tensor::zeros({0, 5}), {});
  CHECK(dequantize(x, DType::f32).shape() == Shape{0, 5});
}

TEST_CASE("4-bit weight: parts that do not fit each other are refused") {
  const QuantizedTensor good = quantize(test::random_tensor({3, 50}, 10), {});
  check(good);
  QuantizedTensor bad = good;
  bad.codes = Tensor::zeros({74}, DType::u8);
  check_contains(message_of<ShapeError>([&] { check(bad); }), "codes");
  bad = good;
  bad.nested->blocks.absmax = Tensor::zeros({2});
  check_contains(message_of<ShapeError>([&] { check(bad); }), "nested absmax");
  bad = good;
  bad.nested.reset();
  bad.absmax = Tensor::zeros({4});
  check_contains(message_of<ShapeError>([&] { check(bad); }), "absmax");
  bad = good;
  bad.map = Tensor::zeros({8});
  check_contains(message_of<ShapeError>([&] { check(bad); }), "map");
}

TEST_CASE("dequantize_rows: the rows of the whole, in blocks and in panels, with any scales") {
  for (const int64_t columns : {64, 40, 7}) {
    for (const bool double_quant : {false, true}) {
      const QuantizedTensor blocks =
          quantize(test::random_tensor({100, columns}, 3), {.double_quant = double_quant});
      for (const QuantizedTensor& x : {blocks, to_panels(blocks)}) {
        const Tensor all = dequantize(x, DType::f32);
        for (const auto& [begin, end] : {std::pair<int64_t, int64_t>(0, 100),
                                         {32, 64},
                                         {64, 100},
                                         {64, 65},
                                         {32, 32},
                                         {5, 90}})
          CHECK(test::same_bits(dequantize_rows(x, begin, end, DType::f32),
                                all.slice(0, begin, end).contiguous()));
      }
    }
  }
  const QuantizedTensor x = quantize(test::random_tensor({4, 64}, 3), {});
  check_contains(message_of<ShapeError>([&] { dequantize_rows(x, 2, 5, DType::f32); }),
                 "rows 2 to 5 of (4, 64) asked for");
}

}  // namespace graft::quant
