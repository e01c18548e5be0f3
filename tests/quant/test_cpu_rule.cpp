// bitsandbytes' CPU path quantises by a rule of its own, which differs from that of its CUDA
// kernels (and graft) in a few places. It is written out here, compared with golden files of
// bitsandbytes, and graft with it over many shapes.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "graft/io/safetensors.h"
#include "graft/quant/quantized_tensor.h"
#include "graft/tests/support/test.h"

namespace graft::quant {
namespace {

/// The values of a type in ascending order.
std::vector<float> ascending(QuantType type) {
  std::vector<float> values(codebook(type).begin(), codebook(type).end());
  std::ranges::sort(values);
  return values;
}

/// The rule of the CPU path: numbers times the reciprocal of the largest magnitude (in a last block
/// that is shorter, divided by it), and boundaries in the middle of neighbours, rounded to f32.
class CpuRule {
 public:
  CpuRule(const Tensor& x, QuantType type, int64_t blocksize) : values_(ascending(type)) {
    const Tensor wide = x.to(DType::f32);
    const auto numbers = wide.span<float>();
    const auto count = static_cast<int64_t>(numbers.size());
    for (int64_t first = 0; first < count; first += blocksize) {
      const int64_t end = std::min(count, first + blocksize);
      float absmax = 0;
      for (int64_t i = first; i < end; ++i)
        absmax = std::max(absmax, std::fabs(numbers[static_cast<size_t>(i)]));
      const float scale = std::max(absmax, 1e-38F);
      for (int64_t i = first; i < end; ++i) {
        const float number = numbers[static_cast<size_t>(i)];
        scaled.push_back(end - first < blocksize ? number / scale : number * (1.0F / scale));
        rounded.push_back(nearest(scaled.back()) * absmax);
      }
    }
  }

  /// Whether graft's code may be another one: between the two boundaries, which are at most six
  /// digits apart, or beside one in a last block.
  bool is_exception(size_t i) const {
    for (size_t k = 0; k + 1 < values_.size(); ++k) {
      const float middle = (values_[k] + values_[k + 1]) / 2;
      if (std::fabs(std::fabs(scaled[i]) - std::fabs(middle)) <= 5e-7F)
        return true;
    }
    return false;
  }

  std::vector<float> scaled, rounded;

 private:
  float nearest(float x) const {
    size_t code = 0;
    while (code + 1 < values_.size() && x > (values_[code] + values_[code + 1]) / 2)
      ++code;
    return values_[code];
  }

  std::vector<float> values_;
};

std::vector<float> numbers_of(const QuantizedTensor& x) {
  const Tensor y = dequantize(x, DType::f32);
  return {y.span<float>().begin(), y.span<float>().end()};
}

/// How many of graft's numbers differ from the rule's, none of which may be without a reason.
int64_t exceptions(const Tensor& x, QuantType type, int64_t blocksize) {
  const CpuRule rule(x, type, blocksize);
  const std::vector<float> ours =
      numbers_of(quantize(x, {.type = type, .blocksize = blocksize, .double_quant = false}));
  int64_t count = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    if (ours[i] == rule.rounded[i])
      continue;
    ++count;
    CHECK_MESSAGE(rule.is_exception(i), "number ", i, " scaled ", rule.scaled[i]);
  }
  return count;
}

}  // namespace

TEST_CASE("the rule of the CPU path: what bitsandbytes made of the golden numbers") {
  const io::SafetensorsFile golden(test::golden("bitsandbytes.safetensors"));
  int compared = 0;
  for (const std::string dtype : {"f32", "bf16", "f16"}) {
    for (const std::string shape : {"1", "7x9", "2x64", "5x50", "3x129"}) {
      const Tensor x = golden.load(dtype + "." + shape + ".x");
      for (const QuantType type : {QuantType::nf4, QuantType::fp4}) {
        for (const int64_t blocksize : {32, 64, 256}) {
          const std::string base =
              concat(dtype, ".", shape, ".", quant_type_name(type), ".", blocksize, ".");
          CAPTURE(base);
          const CpuRule rule(x, type, blocksize);
          const QuantizedTensor theirs{
              .shape = x.shape(),
              .type = type,
              .blocksize = blocksize,
              .codes = golden.load(base + "codes"),
              .map = Tensor::from(std::vector<float>(codebook(type).begin(), codebook(type).end()),
                                  {16}),
              .absmax = golden.load(base + "absmax")};
          CHECK(numbers_of(theirs) == rule.rounded);
          ++compared;
        }
      }
    }
  }
  CHECK(compared == 90);
}

TEST_CASE("quantize: over many shapes the CPU path's numbers, but beside boundaries") {
  const Shape shapes[] = {{1},       {2},      {31},      {32},      {33},
                          {63, 1},   {1, 65},  {64, 64},  {5, 127},  {3, 5, 7},
                          {100, 41}, {17, 96}, {1, 4097}, {130, 130}};
  int64_t numbers = 0;
  std::array<int64_t, 2> different{};
  uint64_t seed = 0;
  for (const Shape& shape : shapes) {
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
      const Tensor x = test::random_tensor(shape, ++seed, dtype);
      for (const int64_t blocksize : {32, 64, 128, 256, 512, 1024, 2048, 4096}) {
        CAPTURE(shape);
        CAPTURE(blocksize);
        numbers += x.numel();
        for (const QuantType type : {QuantType::nf4, QuantType::fp4})
          different[static_cast<size_t>(type)] += exceptions(x, type, blocksize);
      }
    }
  }
  MESSAGE("of ", numbers, " numbers ", different[0], " of nf4 and ", different[1],
          " of fp4 lie between the boundaries of the two rules");
  // Four boundaries of nf4 are one unit in the last place off; ratios of 16-bit numbers such as
  // 5/24 do lie on those of fp4.
  CHECK(different[0] <= 2);
  CHECK(different[1] * 2000 < numbers);
}

TEST_CASE("quantize: the four boundaries of nf4 that are not the middle are CUDA's") {
  const std::vector<float> values = ascending(QuantType::nf4);
  const std::span<const float> boundaries = rounding(QuantType::nf4).boundaries;
  std::vector<size_t> different;
  for (size_t i = 0; i < boundaries.size(); ++i) {
    const float middle = (values[i] + values[i + 1]) / 2;
    if (boundaries[i] == middle)
      continue;
    different.push_back(i);
    CHECK(std::fabs(boundaries[i] - middle) <=
          std::fabs(std::nextafter(middle, 2.0F) - middle) * 1.001F);
    // The number between: CUDA's rule and the CPU path's give it different codes.
    const float between = std::max(boundaries[i], middle);
    const Tensor x = Tensor::from<float>({1, between}, {2});
    const float ours = numbers_of(quantize(x, {.double_quant = false}))[1];
    CHECK(ours == (between > boundaries[i] ? values[i + 1] : values[i]));
  }
  CHECK(different == std::vector<size_t>{0, 8, 12, 14});
}

}  // namespace graft::quant
