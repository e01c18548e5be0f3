// Linear regression: tensors, gradients and an optimizer, without a language model.
//
//   linear_regression
//
// Points are drawn around a known line in 8 dimensions; gradient descent finds its weights again.
#include <cmath>
#include <cstdio>
#include <exception>

#include "graft/autograd/linear.h"
#include "graft/autograd/pointwise.h"
#include "graft/optim/sgd.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/random.h"

using namespace graft;

namespace {

constexpr int64_t points = 256;
constexpr int64_t features = 8;
constexpr int steps = 100;

/// Mean of the squared differences, a scalar.
Variable mean_squared_error(const Variable& y, const Variable& expected) {
  const Variable difference = add(y, scale(expected, -1));
  return scale(sum(mul(difference, difference)), 1.0 / points);
}

double run() {
  const Tensor truth = ops::normal({1, features}, 0, 1, 0, stream_of("truth"));
  const Tensor x = ops::normal({points, features}, 0, 1, 0, stream_of("x"));
  const Tensor noise = ops::normal({points, 1}, 0, 0.01, 0, stream_of("noise"));
  const Variable inputs(x);
  const Variable expected = add(linear(inputs, Variable(truth), {}), Variable(noise));

  const Variable weight(Tensor::zeros({1, features}), true);
  optim::Sgd sgd({{"weight", weight}}, {.lr = 0.1});
  for (int step = 1; step <= steps; ++step) {
    const Variable loss = mean_squared_error(linear(inputs, weight, {}), expected);
    loss.backward();
    sgd.step(sgd.take_grads());
    if (step % 20 == 0)
      std::printf("step %3d  loss %.6f\n", step, loss.value().item());
  }

  double worst = 0;
  for (int64_t i = 0; i < features; ++i)
    worst = std::fmax(worst, std::fabs(weight.value().span<float>()[static_cast<size_t>(i)] -
                                       truth.span<float>()[static_cast<size_t>(i)]));
  std::printf("largest difference from the true weights: %.4f\n", worst);
  return worst;
}

}  // namespace

int main() {
  try {
    return run() < 0.01 ? 0 : 1;  // the noise leaves about 0.01 / sqrt(points) in each weight
  } catch (const std::exception& error) {
    std::fprintf(stderr, "linear_regression: %s\n", error.what());
    return 1;
  }
}
