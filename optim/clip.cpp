#include "graft/optim/clip.h"

#include <algorithm>
#include <cmath>

#include "graft/tensor/reduce.h"

namespace graft::optim {

double global_norm(const Grads& grads) {
  double sum = 0;
  for (const Tensor& grad : grads) {
    if (grad.defined())
      sum += ops::sum_of_squares(grad);
  }
  return std::sqrt(sum);
}

double clip_factor(double norm, double max_norm) {
  return max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
}

}  // namespace graft::optim
