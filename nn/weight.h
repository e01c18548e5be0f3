// Weight: the matrix a Linear or an Embedding stores, whatever kind of storage it is held in.
//
// Kinds are alternatives of one variant, and whoever computes with a weight visits it in one place.
// Tied layers share one content: loading, freezing or packing one does it for both. What adapters
// override, they override in each layer by itself.
//
// A weight can also be streamed: it holds nothing and reads its numbers whenever they are used, so
// that a model needs the memory of one of its matrices.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "graft/nn/module.h"
#include "graft/quant/quantized_tensor.h"
#include "graft/tensor/packed_tensor.h"

namespace graft::nn {

/// How a weight can be held. A dense Variable can be trained; other kinds are frozen by type.
using WeightStorage = std::variant<Variable, PackedTensor, quant::QuantizedTensor>;

/// As what a weight is held, without its numbers.
struct WeightForm {
  DType dtype = DType::f32;               ///< of the numbers that value() gives
  std::optional<quant::Format> format{};  ///< of those in 4 bits; nothing where they are dense
};

/// Gives what a weight holds: the same numbers each time, from any thread. Not a dense Variable
/// that is trained.
using ReadWeight = std::function<WeightStorage()>;

class Weight final : public Member {
 public:
  /// A matrix of its own, without numbers until they are loaded.
  Weight(Module& owner, std::string_view name, Shape shape)
      : Member(owner, name),
        content_(std::make_shared<Content>(Content{shape, Variable(Tensor())})) {}
  /// The content of another weight, shared.
  Weight(Module& owner, std::string_view name, const Weight& tied)
      : Member(owner, name), content_(tied.content_) {}

  /// Calls visitor with the alternative that is held, and returns its result by value.
  template <class Visitor>
  auto visit(Visitor&& visitor) const {
    if (!content_->read)
      return std::visit(std::forward<Visitor>(visitor), content_->storage);
    WeightStorage held = content_->read();
    return std::visit(std::forward<Visitor>(visitor), held);
  }
  /// What is held; read where the weight is streamed.
  WeightStorage storage() const { return content_->read ? content_->read() : content_->storage; }
  /// Of what storage() gives, without reading it.
  WeightForm form() const;
  bool is_streamed() const { return content_->read != nullptr; }
  bool is_tied_to(const Weight& other) const { return content_ == other.content_; }
  /// The overrides that adapters of the context bring; visit() gives the weight without them.
  ChosenOverrides overrides_under(const Context& context) const {
    return overrides_.chosen(context);
  }

  /// nullptr where the weight is streamed.
  Variable* variable() override {
    return is_streamed() ? nullptr : std::get_if<Variable>(&content_->storage);
  }
  bool is_parameter() const override { return true; }
  Shape shape() const override { return content_->shape; }
  /// Replaces the content by a dense variable.
  void load(Tensor value) override;
  /// Replaces the content by a frozen one. Throws ShapeError where the shapes differ.
  void load(quant::QuantizedTensor value);
  /// From now on what is held is read whenever it is used, and is what `form` says. Frozen.
  void stream(const WeightForm& form, ReadWeight read);
  /// From now on a content of its own, with the numbers `value` in dense form; those it was tied to
  /// keep theirs. Throws ShapeError where the shapes differ.
  void load_untied(Tensor value);
  /// Holds a dense weight on the CPU that is frozen and f32 or bf16 in panels from now on; others
  /// stay as they are.
  void pack();
  /// Of the numbers that value() gives.
  DType dtype() const { return form().dtype; }
  Tensor value() const override;
  const void* identity() const override { return content_.get(); }
  Overrides* overrides() override { return &overrides_; }

 private:
  void check_shape(const Shape& given) const;

  struct Content {
    Shape shape;
    WeightStorage storage;
    WeightForm form{};  // of a streamed weight
    ReadWeight read{};
  };
  std::shared_ptr<Content> content_;
  Overrides overrides_;
};

}  // namespace graft::nn
