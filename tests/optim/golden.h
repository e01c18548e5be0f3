// What the tests of optim share: the numbers that torch and transformers gave.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graft/autograd/tape.h"
#include "graft/autograd/variable.h"
#include "graft/io/json.h"
#include "graft/io/safetensors.h"

namespace graft::optim {

/// optim.json and optim.safetensors of tests/golden.
class Golden {
 public:
  Golden();
  ~Golden();

  const io::Json& records() const { return *records_; }
  const std::vector<std::string>& parameters() const { return parameters_; }
  Tensor tensor(const std::string& name) const { return file_.load(name); }
  /// Row `step` of a (30, …) tensor.
  Tensor at_step(const std::string& name, int64_t step) const;
  /// The starting values, as leaves that are trained.
  std::vector<NamedVariable> initial() const;
  Grads gradients(int64_t step) const;

 private:
  std::unique_ptr<const io::Json> records_;
  std::vector<std::string> parameters_;
  io::SafetensorsFile file_;
};

}  // namespace graft::optim
