#include "graft/optim/adamw8bit.h"

#include <utility>

#include "graft/quant/blocks.h"
#include "graft/quant/optimizer.h"

namespace graft::optim {
namespace {

enum StateTensor : size_t { first, first_absmax, second, second_absmax };

bool has_8bit_state(const Tensor& parameter) {
  return parameter.numel() >= AdamW8bit::min_8bit_size && parameter.dtype() != DType::f64;
}

Tensor moment(const Tensor& parameter) {
  const DType dtype = has_8bit_state(parameter) ? DType::u8 : accumulator_dtype(parameter.dtype());
  return Tensor::zeros(parameter.shape(), dtype, parameter.device());
}

Tensor absmax(const Tensor& parameter) {
  if (!has_8bit_state(parameter))
    return {};
  return Tensor::zeros({quant::block_count(parameter.numel(), AdamW8bit::blocksize)}, DType::f32,
                       parameter.device());
}

}  // namespace

AdamW8bit::AdamW8bit(std::vector<NamedVariable> parameters, const AdamWOptions& options)
    : Optimizer("adamw8bit", std::move(parameters), options.lr), options_(options) {
  check("adamw8bit", options);
  add_buffer("exp_avg", moment);
  add_buffer("exp_avg_absmax", absmax);
  add_buffer("exp_avg_sq", moment);
  add_buffer("exp_avg_sq_absmax", absmax);
}

std::map<std::string, double> AdamW8bit::settings() const {
  return settings_of(options_);
}

void AdamW8bit::update(size_t i, const Tensor& grad, double grad_scale, int64_t step) {
  const Tensor& weight = value(i);
  AdamWOptions options = options_;
  options.weight_decay = decay_of(i, options_.weight_decay);
  const AdamWScalars scalars = scalars_of(options, lr_of(i), grad_scale, step);
  if (has_8bit_state(weight))
    quant::adamw8bit_slot(weight.device(), {.w = weight.as_view(),
                                            .g = grad.as_view(),
                                            .m = buffer(first, i).as_view(),
                                            .m_absmax = buffer(first_absmax, i).as_view(),
                                            .v = buffer(second, i).as_view(),
                                            .v_absmax = buffer(second_absmax, i).as_view(),
                                            .blocksize = blocksize,
                                            .scalars = scalars});
  else
    adamw_slot(weight.device(), {.w = weight.as_view(),
                                 .g = grad.as_view(),
                                 .m = buffer(first, i).as_view(),
                                 .v = buffer(second, i).as_view(),
                                 .scalars = scalars});
}

}  // namespace graft::optim
