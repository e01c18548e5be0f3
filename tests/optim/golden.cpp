#include "graft/tests/optim/golden.h"

#include <nlohmann/json.hpp>

#include "graft/tests/support/test.h"

namespace graft::optim {

Golden::Golden()
    : records_(std::make_unique<io::Json>(io::read_json_file(test::golden("optim.json")))),
      file_(test::golden("optim.safetensors"), io::Access::read) {
  for (const auto& name : records()["parameters"])
    parameters_.push_back(name);
}

Golden::~Golden() = default;

Tensor Golden::at_step(const std::string& name, int64_t step) const {
  const Tensor all = tensor(name);
  return all.slice(0, step, step + 1).view(Shape(all.shape().sizes().subspan(1)));
}

std::vector<NamedVariable> Golden::initial() const {
  std::vector<NamedVariable> result;
  for (const std::string& name : parameters_)
    result.push_back({name, Variable(tensor("initial." + name), true)});
  return result;
}

Grads Golden::gradients(int64_t step) const {
  Grads result;
  for (const std::string& name : parameters_)
    result.push_back(at_step("gradient." + name, step).clone());
  return result;
}

}  // namespace graft::optim
