#include "graft/nn/weight.h"

#include <utility>

namespace graft::nn {
namespace {

WeightForm form_of(const Variable& w) {
  return {w.dtype()};
}
WeightForm form_of(const PackedTensor& w) {
  return {w.dtype()};
}
WeightForm form_of(const quant::QuantizedTensor& w) {
  return {w.dtype, quant::Format{w.type, w.blocksize, w.nested.has_value()}};
}

Tensor value_of(const Variable& w) {
  return w.value();
}
Tensor value_of(const PackedTensor& w) {
  return unpack(w);
}
Tensor value_of(const quant::QuantizedTensor& w) {
  return quant::dequantize(w, w.dtype);
}

}  // namespace

void Weight::check_shape(const Shape& given) const {
  GRAFT_CHECK(given == content_->shape, ShapeError, "load: ", name(), " has shape ",
              content_->shape, ", ", given, " given");
}

void Weight::load(Tensor value) {
  check_shape(value.shape());
  if (Variable* dense = variable())
    dense->set_value(std::move(value));
  else
    content_->storage = Variable(std::move(value));
  content_->read = nullptr;
}

void Weight::load_untied(Tensor value) {
  check_shape(value.shape());
  content_ = std::make_shared<Content>(Content{value.shape(), Variable(value)});
}

void Weight::load(quant::QuantizedTensor value) {
  check_shape(value.shape);
  content_->storage = std::move(value);
  content_->read = nullptr;
}

void Weight::stream(const WeightForm& form, ReadWeight read) {
  content_->storage = Variable(Tensor());
  content_->form = form;
  content_->read = std::move(read);
}

void Weight::pack() {
  const Variable* dense = variable();
  if (dense == nullptr || dense->requires_grad() || !dense->value().defined())
    return;
  const Tensor& value = dense->value();
  if (value.device() == cpu && (value.dtype() == DType::f32 || value.dtype() == DType::bf16))
    content_->storage = graft::pack(value);
}

WeightForm Weight::form() const {
  return is_streamed() ? content_->form : visit([](const auto& held) { return form_of(held); });
}

Tensor Weight::value() const {
  return visit([](const auto& held) { return value_of(held); });
}

}  // namespace graft::nn
