// What the tests of optim share: the numbers that torch and transformers gave.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "graft/autograd/variable.h"
#include "graft/io/json.h"
#include "graft/io/safetensors.h"
#include "graft/optim/optimizer.h"
#include "graft/tests/support/test.h"

namespace graft::optim {

/// optim.json and optim.safetensors of tests/golden.
class Golden {
 public:
  Golden()
      : records(io::read_json_file(test::golden("optim.json"))),
        file_(test::golden("optim.safetensors"), io::Access::read) {
    for (const auto& name : records["parameters"])
      parameters.push_back(name);
  }

  Tensor tensor(const std::string& name) const { return file_.load(name); }
  /// Row `step` of a (30, …) tensor.
  Tensor at_step(const std::string& name, int64_t step) const {
    const Tensor all = tensor(name);
    const Tensor row = all.slice(0, step, step + 1);
    return row.view(Shape(all.shape().sizes().subspan(1)));
  }
  /// The starting values, as leaves that are trained.
  std::vector<NamedVariable> initial() const {
    std::vector<NamedVariable> result;
    for (const std::string& name : parameters)
      result.push_back({name, Variable(tensor("initial." + name), true)});
    return result;
  }
  Grads gradients(int64_t step) const {
    Grads result;
    for (const std::string& name : parameters)
      result.push_back(at_step("gradient." + name, step).clone());
    return result;
  }

  io::Json records;
  std::vector<std::string> parameters;

 private:
  io::SafetensorsFile file_;
};

}  // namespace graft::optim
