// What every test file includes: doctest, skipping that is seen, the folders with data.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "doctest/doctest.h"

#include "graft/tensor/tensor.h"

namespace graft::test {

/// Ends the running test case as skipped: it is printed and counted, never silently passed.
[[noreturn]] void skip(const std::string& reason);

/// A file or folder of the shared test data, e.g. data("models/stories260k/hf"). Skips the running
/// test case where it is missing.
std::filesystem::path data(const std::string& relative);

/// A file of tests/golden. Missing golden files are a failure.
std::filesystem::path golden(const std::string& relative);

/// A fresh empty folder, removed when the object goes.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// The message of the E that `action` throws. Fails the test where it throws nothing or another
/// type.
template <class E>
std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    FAIL("another exception: ", error.what());
  }
  FAIL("nothing was thrown");
  return {};
}

/// Checks that `text` contains `part`, printing both where it does not.
void check_contains(const std::string& text, const std::string& part);

/// Largest |a - b| over all elements. Fails the test where the shapes differ.
double max_difference(const Tensor& a, const Tensor& b);
/// max_difference divided by the largest |b|.
double relative_difference(const Tensor& a, const Tensor& b);
/// Same shape, dtype and bits.
bool same_bits(const Tensor& a, const Tensor& b);
/// Standard normal numbers from a seed.
Tensor random_tensor(Shape shape, uint64_t seed, DType dtype = DType::f32);

}  // namespace graft::test
