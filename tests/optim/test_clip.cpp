#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "graft/optim/clip.h"
#include "graft/tensor/pointwise.h"
#include "graft/tests/optim/golden.h"
#include "graft/tests/support/test.h"

namespace graft::optim {

TEST_CASE("clipping: norm and clipped gradients are torch's") {
  const Golden golden;
  for (const auto& record : golden.records()["clips"]) {
    Grads grads = golden.gradients(record["step"]);
    const double norm = global_norm(grads);
    // torch sums squares in f32: seven digits.
    CHECK(norm == doctest::Approx(record["norm"].get<double>()).epsilon(1e-6));
    const double factor = clip_factor(norm, record["max_norm"]);
    for (size_t i = 0; i < grads.size(); ++i) {
      ops::scale_(grads[i], factor);
      const std::string name = record["prefix"];
      const Tensor expected = golden.tensor(name + "." + golden.parameters()[i]);
      CHECK(test::relative_difference(grads[i], expected) < 1e-6);
    }
  }
}

TEST_CASE("clipping: small gradients and no limit leave all as it is") {
  CHECK(clip_factor(0.5, 1) == 1);
  CHECK(clip_factor(1000, 0) == 1);
  CHECK(clip_factor(0, 1) == 1);
  CHECK(clip_factor(4, 2) == 2 / (4 + 1e-6));
}

TEST_CASE("clipping: missing gradients count as zero, NaN and infinity are passed on") {
  CHECK(global_norm({}) == 0);
  CHECK(global_norm({Tensor(), Tensor::full({4}, 2), Tensor::zeros({0})}) == 4);
  CHECK(std::isnan(global_norm({Tensor::full({1}, std::nan(""))})));
  CHECK(std::isinf(global_norm({Tensor::full({1}, std::numeric_limits<double>::infinity())})));
  // 1e30² is no f32: the sum must be made in f64.
  CHECK(global_norm({Tensor::full({4}, 1e30)}) == doctest::Approx(2e30));
}

}  // namespace graft::optim
