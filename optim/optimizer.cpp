#include "graft/optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "graft/tensor/copy.h"

namespace graft::optim {
namespace {

constexpr const char* steps_name = "step";

/// "'a' is missing", "'b' is unexpected", …, one a line: how `given` differs from `expected`.
std::string difference(const State& given, const State& expected) {
  std::string text;
  for (const auto& [name, tensor] : expected) {
    const auto it = given.find(name);
    if (it == given.end())
      text += concat("\n  '", name, "' is missing");
    else if (it->second.shape() != tensor.shape() || it->second.dtype() != tensor.dtype())
      text += concat("\n  '", name, "' is ", it->second.dtype(), " ", it->second.shape(), ", ",
                     tensor.dtype(), " ", tensor.shape(), " expected");
  }
  for (const auto& [name, tensor] : given) {
    if (!expected.contains(name))
      text += concat("\n  '", name, "' is unexpected");
  }
  return text;
}

}  // namespace

Optimizer::Optimizer(std::string_view operation, std::vector<NamedVariable> parameters, double lr)
    : parameters_(std::move(parameters)), lr_(lr), parameter_settings_(parameters_.size()) {
  GRAFT_CHECK(!parameters_.empty(), ConfigError, operation,
              ": no parameters given; nothing of the model requires a gradient");
  GRAFT_CHECK(lr >= 0, ConfigError, operation, ": lr is ", lr, ", at least 0 expected");
  std::set<std::string_view> names;
  for (const auto& [name, variable] : parameters_) {
    GRAFT_CHECK(names.insert(name).second, ConfigError, operation, ": two parameters are named '",
                name, "'");
    GRAFT_CHECK(variable.defined() && variable.is_leaf() && variable.requires_grad(), ConfigError,
                operation, ": '", name, "' is no leaf that requires a gradient");
    const Tensor& value = variable.value();
    GRAFT_CHECK(value.defined() && is_floating(value.dtype()) && value.is_contiguous(), ConfigError,
                operation, ": '", name, "' holds no row-major floating numbers");
  }
  steps_ = Tensor::zeros({static_cast<int64_t>(parameters_.size())}, DType::i64);
}

void Optimizer::set_parameter_settings(std::vector<ParameterSettings> settings) {
  GRAFT_CHECK(settings.size() == parameters_.size(), ConfigError, name(), ": settings of ",
              settings.size(), " parameters given, ", parameters_.size(), " expected");
  for (size_t i = 0; i < settings.size(); ++i)
    GRAFT_CHECK(settings[i].lr_factor >= 0 && std::isfinite(settings[i].lr_factor), ConfigError,
                name(), ": the learning rate of '", parameters_[i].name,
                "' is to be multiplied by ", settings[i].lr_factor,
                ", a finite number of at least 0 expected");
  parameter_settings_ = std::move(settings);
}

void Optimizer::add_buffer(std::string_view name) {
  add_buffer(name, [](const Tensor& value) {
    return Tensor::zeros(value.shape(), accumulator_dtype(value.dtype()), value.device());
  });
}

void Optimizer::add_buffer(std::string_view name,
                           const std::function<Tensor(const Tensor& value)>& make) {
  Buffer added{std::string(name), {}};
  for (const auto& [parameter, variable] : parameters_)
    added.tensors.push_back(make(variable.value()));
  buffers_.push_back(std::move(added));
}

Grads Optimizer::take_grads() {
  Grads grads;
  for (auto& [name, variable] : parameters_)
    grads.push_back(variable.take_grad());
  return grads;
}

void Optimizer::zero() {
  take_grads();
}

void Optimizer::check_grads(const Grads& grads) const {
  GRAFT_CHECK(grads.size() == parameters_.size(), ShapeError, name(), ": ", grads.size(),
              " gradients given for ", parameters_.size(), " parameters");
  for (size_t i = 0; i < grads.size(); ++i) {
    if (!grads[i].defined())
      continue;
    const auto& [path, variable] = parameters_[i];
    GRAFT_CHECK(grads[i].shape() == variable.shape(), ShapeError, name(), ": the gradient of '",
                path, "' is ", grads[i].shape(), ", ", variable.shape(), " expected");
    GRAFT_CHECK(grads[i].dtype() == variable.dtype(), DTypeError, name(), ": the gradient of '",
                path, "' is ", grads[i].dtype(), ", ", variable.dtype(), " expected");
  }
}

void Optimizer::step(const Grads& grads, double grad_scale) {
  check_grads(grads);
  for (size_t i = 0; i < grads.size(); ++i) {
    if (!grads[i].defined())
      continue;
    const int64_t step = ++steps_.data<int64_t>()[i];
    if (grads[i].numel() > 0)
      update(i, grads[i].contiguous(), grad_scale, step);
  }
}

void Optimizer::step(double grad_scale) {
  Grads grads;
  for (const auto& [name, variable] : parameters_)
    grads.push_back(variable.grad());
  step(grads, grad_scale);
}

State Optimizer::state() const {
  State state{{steps_name, steps_}};
  for (const Buffer& buffer : buffers_) {
    for (size_t i = 0; i < parameters_.size(); ++i) {
      if (buffer.tensors[i].defined())
        state.emplace(buffer.name + "." + parameters_[i].name, buffer.tensors[i]);
    }
  }
  return state;
}

void Optimizer::load_state(const State& state) {
  State mine = this->state();
  const std::string problems = difference(state, mine);
  GRAFT_CHECK(problems.empty(), ConfigError, name(),
              ": the state is not one of these parameters:", problems);
  for (auto& [name, tensor] : mine)
    ops::copy_(tensor, state.at(name));
}

}  // namespace graft::optim
