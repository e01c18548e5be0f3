#include "graft/peft/original_weight.h"

#include <cmath>

#include "graft/tensor/error.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"

namespace graft::peft {
namespace {

/// Of the size of a weight; nf4 in blocks of 64 takes 0.09 from normal numbers, fp4 in blocks of
/// 4096 some 0.25, and other normal numbers are 1.4 away.
constexpr double most_of_quantising = 0.5;

}  // namespace

Tensor original_of(const OriginalWeight& original, const std::string& path, const Tensor& held) {
  const Tensor before = original(path).to(DType::f32).contiguous();
  GRAFT_CHECK(before.shape() == held.shape(), ConfigError, "the original ", path, " is ",
              before.shape(), ", but the one in 4 bits is ", held.shape());
  const double size = std::sqrt(ops::sum_of_squares(before));
  const double distance = std::sqrt(ops::sum_of_squares(ops::add(before, held, -1)));
  GRAFT_CHECK(distance <= most_of_quantising * size, ConfigError, "the original ", path,
              " cannot be what was put in 4 bits: they are apart by ",
              std::lround(100 * distance / size),
              " % of its size; give the model that was quantised");
  return before;
}

}  // namespace graft::peft
