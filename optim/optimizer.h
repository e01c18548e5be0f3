// Optimizer: turns gradients into changes of the leaves it was given.
//
// Holds handles of the parameters and, for each, its state, which is taken when the optimizer is
// made: tensors as large as an f32 copy of the parameter (f64 for f64), or smaller ones where the
// kind of optimizer says so. Results do not depend on the number of threads. One thread at a time;
// no backward may run meanwhile.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "graft/autograd/tape.h"
#include "graft/autograd/variable.h"

namespace graft::optim {

/// What an optimizer remembers, by name: "exp_avg.model.layers.0…", and "step" (parameters) i64,
/// how many updates each parameter has had.
using State = std::map<std::string, Tensor>;

/// How one parameter is stepped where that differs from the others.
struct ParameterSettings {
  double lr_factor = 1;  ///< its learning rate is this times the optimizer's
  bool decays = true;    ///< false: weight decay leaves it alone

  friend bool operator==(const ParameterSettings&, const ParameterSettings&) = default;
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// "adamw", "adamw8bit", "sgd", as the command line spells it.
  virtual std::string_view name() const = 0;
  /// The settings besides the learning rate, by name: what a resumed run must share.
  virtual std::map<std::string, double> settings() const = 0;

  const std::vector<NamedVariable>& parameters() const { return parameters_; }
  double lr() const { return lr_; }
  /// The learning rate of the steps to come.
  void set_lr(double lr) { lr_ = lr; }

  /// One for each parameter, in their order: what a resumed run must share.
  const std::vector<ParameterSettings>& parameter_settings() const { return parameter_settings_; }
  /// Throws ConfigError where there is not one for each parameter, or a factor is negative or not
  /// finite.
  void set_parameter_settings(std::vector<ParameterSettings> settings);

  /// Takes the accumulated gradients away from the parameters, in their order; undefined where
  /// there is none.
  Grads take_grads();
  /// Updates each parameter with its gradient times `grad_scale`; those without one stay as they
  /// are, as in PyTorch. Throws ShapeError or DTypeError, before anything is changed, where the
  /// gradients are not those of the parameters.
  void step(const Grads& grads, double grad_scale = 1);
  /// The same with the gradients that the parameters hold and keep.
  void step(double grad_scale = 1);
  /// Drops the gradients of the parameters.
  void zero();

  /// The state, sharing storage: copy what must outlast the next step.
  State state() const;
  /// Continues from another optimizer's state, which is copied. Throws ConfigError with the list of
  /// names that are missing, unexpected or of another shape or dtype; nothing is changed then.
  void load_state(const State& state);

 protected:
  /// Throws ConfigError where there are no parameters, two share a name, or one is not a leaf of a
  /// floating dtype with a gradient.
  Optimizer(std::string_view operation, std::vector<NamedVariable> parameters, double lr);

  /// Adds a state tensor for every parameter, zeros: "exp_avg" gives "exp_avg.<parameter>".
  void add_buffer(std::string_view name);
  /// The same with what `make` gives for the parameter's value; undefined: it has none.
  void add_buffer(std::string_view name, const std::function<Tensor(const Tensor& value)>& make);
  /// The state tensor of parameter `i` that was added as number `buffer`.
  const Tensor& buffer(size_t buffer, size_t i) const { return buffers_[buffer].tensors[i]; }

  /// The learning rate of parameter `i`.
  double lr_of(size_t i) const { return lr_ * parameter_settings_[i].lr_factor; }
  /// The weight decay of parameter `i`, where it is `all` for those that have any.
  double decay_of(size_t i, double all) const { return parameter_settings_[i].decays ? all : 0; }

  /// Updates parameter `i`; `step` counts its updates from 1. grad is row-major.
  virtual void update(size_t i, const Tensor& grad, double grad_scale, int64_t step) = 0;
  /// Parameter `i`, row-major, to be written in place.
  Tensor& value(size_t i) { return parameters_[i].variable.mutable_value(); }

 private:
  struct Buffer {
    std::string name;
    std::vector<Tensor> tensors;  // one per parameter, some undefined
  };
  void check_grads(const Grads& grads) const;

  std::vector<NamedVariable> parameters_;
  double lr_;
  std::vector<ParameterSettings> parameter_settings_;  // one per parameter
  std::vector<Buffer> buffers_;
  Tensor steps_;  // (parameters) i64
};

}  // namespace graft::optim
