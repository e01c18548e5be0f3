#include "graft/autograd/gradcheck.h"

#include <cmath>

#include "graft/autograd/tape.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/random.h"
#include "graft/tensor/reduce.h"

namespace graft {
namespace {

double weighted_sum(const Variable& y, const Tensor& weights) {
  return ops::sum(ops::mul(y.value(), weights));
}

}  // namespace

GradcheckResult gradcheck(
    const std::function<Variable(const std::vector<Variable>& inputs)>& function,
    std::vector<Variable> inputs, const GradcheckOptions& options) {
  for (Variable& input : inputs) {
    GRAFT_CHECK(input.dtype() == DType::f64, DTypeError, "gradcheck: an input is ", input.dtype(),
                ", f64 expected");
    input.set_value(input.value().clone());
    input.take_grad();
  }
  const Variable y = function(inputs);
  const Tensor weights = ops::normal(y.shape(), 0, 1, /*seed=*/1, /*stream=*/0, DType::f64);
  y.backward(weights);

  GradcheckResult result;
  for (size_t i = 0; i < inputs.size(); ++i) {
    Variable& input = inputs[i];
    if (!input.requires_grad())
      continue;
    Tensor grad = input.take_grad();
    if (!grad.defined())
      grad = Tensor::zeros(input.shape(), DType::f64);
    const std::vector<double> analytic = grad.to_vector();
    const NoGrad no_grad;
    for (int64_t j = 0; j < input.value().numel(); ++j) {
      double& entry = input.mutable_value().data<double>()[j];
      const double before = entry;
      entry = before + options.epsilon;
      const double above = weighted_sum(function(inputs), weights);
      entry = before - options.epsilon;
      const double below = weighted_sum(function(inputs), weights);
      entry = before;
      const double numeric = (above - below) / (2 * options.epsilon);
      const double got = analytic[static_cast<size_t>(j)];
      const double allowed = options.absolute + options.relative * std::fabs(numeric);
      const double excess = std::fabs(got - numeric) / allowed;
      if (!(excess <= 1) && result.passed) {
        result.passed = false;
        result.message = concat("input ", i, " ", input.shape(), " entry ", j, ": gradient ", got,
                                ", central difference ", numeric);
      }
      result.worst = std::isnan(excess) ? excess : std::fmax(result.worst, excess);
    }
  }
  return result;
}

}  // namespace graft
