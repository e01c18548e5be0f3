#include "graft/nn/weight.h"

namespace graft::nn {

void Weight::load(Tensor value) {
  GRAFT_CHECK(value.shape() == content_->shape, ShapeError, "load: ", name(), " has shape ",
              content_->shape, ", ", value.shape(), " given");
  if (Variable* dense = variable())
    dense->set_value(std::move(value));
  else
    content_->storage = Variable(std::move(value));
}

Tensor Weight::value() const {
  return visit([](const Variable& dense) { return dense.value(); });
}

}  // namespace graft::nn
