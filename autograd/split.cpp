#include "graft/autograd/split.h"

#include <algorithm>
#include <numeric>

#include "graft/autograd/tape.h"
#include "graft/tensor/copy.h"

namespace graft {

std::vector<Variable> split(const Variable& x, int i, const std::vector<int64_t>& sizes) {
  GRAFT_CHECK(i >= -x.shape().rank() && i < x.shape().rank(), ShapeError, "split: dimension ", i,
              " of ", x.shape());
  const int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  GRAFT_CHECK(total == x.shape()[i], ShapeError, "split: parts of ", total, " given, dimension ", i,
              " of ", x.shape(), " expected");
  std::vector<Tensor> parts;
  int64_t begin = 0;
  for (const int64_t size : sizes) {
    parts.push_back(x.value().slice(i, begin, begin + size));
    begin += size;
  }
  return record("split", std::move(parts), {x},
                [i, sizes, shape = x.shape()](const Grads& dy, Needs) -> Grads {
                  std::vector<Tensor> whole = dy;
                  const auto used = std::find_if(dy.begin(), dy.end(),
                                                 [](const Tensor& part) { return part.defined(); });
                  for (size_t part = 0; part < whole.size(); ++part) {
                    if (!whole[part].defined())
                      whole[part] =
                          Tensor::zeros(shape.with(i, sizes[part]), used->dtype(), used->device());
                  }
                  return {ops::concatenate(whole, i)};
                });
}

}  // namespace graft
