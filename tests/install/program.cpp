// A program outside graft: one gradient.
#include <iostream>

#include "graft/autograd/linear.h"

int main() {
  const graft::Variable weight(graft::Tensor::full({2, 3}, 0.5), true);
  const graft::Variable x(graft::Tensor::full({1, 3}, 2));
  linear(x, weight, {}).backward();
  std::cout << weight.grad().to_vector()[0] << "\n";
}
