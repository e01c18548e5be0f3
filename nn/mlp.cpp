#include "graft/nn/mlp.h"

#include "graft/autograd/split.h"

namespace graft::nn {

Mlp::Mlp(const MlpConfig& config) : config_(config) {
  const auto projection = [&](std::optional<Child<LinearLike>>& member, const char* name,
                              int64_t in, int64_t out) {
    member.emplace(*this, name, make_linear(in, out, config.bias));
  };
  if (config.fused_gate_up) {
    projection(gate_up_proj_, "gate_up_proj", config.hidden_size, 2 * config.intermediate_size);
  } else {
    projection(gate_proj_, "gate_proj", config.hidden_size, config.intermediate_size);
    projection(up_proj_, "up_proj", config.hidden_size, config.intermediate_size);
  }
  projection(down_proj_, "down_proj", config.intermediate_size, config.hidden_size);
}

Variable Mlp::forward(const Variable& x, const Context& context) const {
  std::vector<Variable> gate_and_up;
  if (gate_up_proj_)
    gate_and_up = split((*gate_up_proj_)->forward(x, context), -1,
                        {config_.intermediate_size, config_.intermediate_size});
  else
    gate_and_up = {(*gate_proj_)->forward(x, context), (*up_proj_)->forward(x, context)};
  return (*down_proj_)->forward(gated(config_.activation, gate_and_up[0], gate_and_up[1]), context);
}

}  // namespace graft::nn
