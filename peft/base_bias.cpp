#include "graft/peft/base_bias.h"

#include "graft/autograd/columns.h"
#include "graft/autograd/pointwise.h"

namespace graft::peft {

Variable bias_of(const nn::Linear& layer, const nn::Context& context) {
  return layer.bias() == nullptr ? Variable() : layer.bias()->under(context);
}

Variable without_bias(const Variable& y, const Variable& factors, const Variable& bias) {
  if (!bias.defined())
    return scale_columns(y, factors);
  const Variable taken = scale(mul(factors, to(bias, factors.dtype())), -1);
  return scale_columns(y, factors, to(taken, y.dtype()));
}

Variable scaled_but_for_bias(const Variable& y, const Variable& factors, const Variable& bias) {
  if (!bias.defined())
    return scale_columns(y, factors);
  const Variable before = to(bias, factors.dtype());
  const Variable left = add(before, scale(mul(factors, before), -1));
  return scale_columns(y, factors, to(left, y.dtype()));
}

}  // namespace graft::peft
