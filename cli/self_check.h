// Self-checks of `graft doctor`: each environment is tried on a model of a few thousand numbers.
#pragma once

#include <string>
#include <vector>

namespace graft::cli {

struct CheckResult {
  std::string name;  ///< "load", "configure", "train", "infer"
  bool works = false;
  std::string detail;  ///< what was done and seen, or the error
};

/// Tries all of them, in a temporary folder that is removed again.
std::vector<CheckResult> run_self_checks();

/// Billions of floating-point operations a second of an f32 matrix product, with all threads.
double matmul_gflops();

}  // namespace graft::cli
