#include "graft/tests/support/test.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numbers>
#include <unistd.h>

#include "graft/tensor/philox.h"
#include "graft/tests/support/skip.h"

namespace graft::test {
namespace {

std::filesystem::path folder_from(const char* variable) {
  const char* value = std::getenv(variable);
  REQUIRE_MESSAGE(value != nullptr, std::string(variable), " is not set; run the tests with tools/test");
  return value;
}

}  // namespace

void skip(const std::string& reason) {
  throw Skipped{reason};
}

std::filesystem::path data(const std::string& relative) {
  const std::filesystem::path path = folder_from("GRAFT_TEST_DATA") / relative;
  if (!std::filesystem::exists(path))
    skip("test data " + relative + " is missing");
  return path;
}

std::filesystem::path golden(const std::string& relative) {
  const std::filesystem::path path = folder_from("GRAFT_TEST_GOLDEN") / relative;
  REQUIRE_MESSAGE(std::filesystem::exists(path), path.string(), " is missing");
  return path;
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "graft-test-XXXXXX").string();
  REQUIRE(mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void check_contains(const std::string& text, const std::string& part) {
  CHECK_MESSAGE(text.find(part) != std::string::npos, "'", text, "' does not contain '", part, "'");
}

double max_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector();
  const auto y = b.to_vector();
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double difference = std::fabs(x[i] - y[i]);
    if (std::isnan(difference))
      return difference;
    worst = std::max(worst, difference);
  }
  return worst;
}

double relative_difference(const Tensor& a, const Tensor& b) {
  double largest = 0;
  for (const double value : b.to_vector())
    largest = std::max(largest, std::fabs(value));
  return max_difference(a, b) / std::max(largest, 1e-300);
}

bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype())
    return false;
  return std::ranges::equal(a.contiguous().bytes(), b.contiguous().bytes());
}

Tensor random_tensor(Shape shape, uint64_t seed, DType dtype) {
  Tensor result = Tensor::empty(shape, DType::f64);
  const auto values = result.span<double>();
  for (size_t i = 0; i < values.size(); ++i) {
    const PhiloxBlock block = philox(seed, {{static_cast<uint32_t>(i), 0, 0, 0x7e57u}});
    const double radius = std::sqrt(-2 * std::log(1.0 - unit_interval(block.words[0])));
    values[i] = radius * std::cos(2 * std::numbers::pi * unit_interval(block.words[1]));
  }
  return result.to(dtype);
}

}  // namespace graft::test
