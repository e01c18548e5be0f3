#include "graft/optim/lorafa.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "graft/tensor/linalg.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/optimizer.h"
#include "graft/tensor/pointwise.h"

namespace graft::optim {
namespace {

enum Moment : size_t { first, second };

/// 1/scaling² · (a aᵀ + 1e-8 I)⁻¹, in a's dtype. As PEFT, what is 0 but for rounding has the
/// inverse 0.
Tensor projection_of(const LoraFaFactor& factor) {
  const Tensor a = factor.a.value().to(DType::f64);
  Tensor gram = ops::matmul(a, a.transpose(0, 1));
  const int64_t r = gram.dim(0);
  for (int64_t i = 0; i < r; ++i)
    gram.data<double>()[i * r + i] += 1e-8;
  const ops::Svd svd = ops::svd(gram);
  const double least =
      svd.s.data<double>()[0] * static_cast<double>(r) * std::numeric_limits<float>::epsilon();
  Tensor right = svd.vt.transpose(0, 1).contiguous();
  for (int64_t i = 0; i < r * r; ++i) {
    const double value = svd.s.data<double>()[i % r];
    right.data<double>()[i] *= value > least ? 1 / (value * factor.scaling * factor.scaling) : 0;
  }
  return ops::matmul(right, svd.u.transpose(0, 1)).to(factor.a.dtype());
}

}  // namespace

LoraFa::LoraFa(std::vector<NamedVariable> parameters,
               const std::map<std::string, LoraFaFactor>& factors, const AdamWOptions& options)
    : Optimizer("lorafa", std::move(parameters), options.lr),
      options_(options),
      projections_(this->parameters().size()) {
  check("lorafa", options);
  for (const auto& [name, factor] : factors) {
    const auto found = std::ranges::find(this->parameters(), name, &NamedVariable::name);
    GRAFT_CHECK(found != this->parameters().end(), ConfigError, "lorafa: '", name,
                "' is no parameter that is trained");
    GRAFT_CHECK(factor.a.value().rank() == 2 && found->variable.value().rank() == 2 &&
                    found->variable.shape()[1] == factor.a.shape()[0],
                ShapeError, "lorafa: '", name, "' is ", found->variable.shape(), ", its A ",
                factor.a.shape(), ", (out, r) and (r, in) expected");
    projections_[static_cast<size_t>(found - this->parameters().begin())] = projection_of(factor);
  }
  add_buffer("exp_avg");
  add_buffer("exp_avg_sq");
}

std::map<std::string, double> LoraFa::settings() const {
  return settings_of(options_);
}

void LoraFa::update(size_t i, const Tensor& grad, double grad_scale, int64_t step) {
  Tensor& weight = value(i);
  const Tensor& projection = projections_[i];
  const Tensor projected = projection.defined() ? ops::matmul(grad, projection) : grad;
  // torch's AdamW adds eps after the correction.
  AdamWOptions options = options_;
  options.eps /= std::sqrt(1 - std::pow(options.beta2, static_cast<double>(step)));
  options.weight_decay = 0;
  adamw_slot(weight.device(), {.w = weight.as_view(),
                               .g = projected.as_view(),
                               .m = buffer(first, i).as_view(),
                               .v = buffer(second, i).as_view(),
                               .scalars = scalars_of(options, lr_of(i), grad_scale, step)});
  if (const double decay = decay_of(i, options_.weight_decay); decay > 0)
    ops::scale_(weight, 1 - lr_of(i) * decay);
}

}  // namespace graft::optim
