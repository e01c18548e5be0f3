// Tensor: numbers without history. A cheap handle on a shared storage: copying it copies no number.
//
// Views (view, transpose, slice …) share the storage. Operations in ops:: return new tensors and
// never write to their arguments, unless their name ends in an underscore. A default-constructed
// Tensor is "undefined" and stands for "none". Concurrent reads are safe.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "graft/tensor/device.h"
#include "graft/tensor/dtype.h"
#include "graft/tensor/error.h"
#include "graft/tensor/shape.h"
#include "graft/tensor/storage.h"
#include "graft/tensor/view.h"

namespace graft {

class Tensor {
 public:
  Tensor() = default;
  /// A view of `storage`; `offset` and `strides` count elements. Throws ShapeError where an element
  /// would lie outside the storage.
  Tensor(std::shared_ptr<Storage> storage, DType dtype, Shape shape, Strides strides,
         int64_t offset = 0);

  /// Uninitialised, row-major.
  static Tensor empty(Shape shape, DType dtype = DType::f32, Device device = cpu);
  static Tensor zeros(Shape shape, DType dtype = DType::f32, Device device = cpu);
  static Tensor full(Shape shape, double value, DType dtype = DType::f32, Device device = cpu);
  /// A copy of `values` on the CPU, row-major. Throws ShapeError where the counts differ.
  template <class T>
  static Tensor from(const std::vector<T>& values, Shape shape);

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  const Strides& strides() const { return strides_; }
  /// Size of dimension `i`; negative `i` counts from the end. Throws ShapeError where there is
  /// none.
  int64_t dim(int i) const;
  int rank() const { return shape_.rank(); }
  int64_t numel() const { return shape_.numel(); }
  int64_t nbytes() const { return numel() * static_cast<int64_t>(element_size(dtype_)); }
  DType dtype() const { return dtype_; }
  Device device() const { return defined() ? storage_->device() : cpu; }
  const std::shared_ptr<Storage>& storage() const { return storage_; }
  /// Elements between the start of the storage and the first element.
  int64_t offset() const { return offset_; }
  bool is_contiguous() const { return as_view().is_contiguous(); }
  /// True where no other tensor uses the storage, so that writing in place is unobservable.
  bool is_unshared() const { return storage_.use_count() == 1 && !storage_->is_external(); }

  /// The same elements in a new shape, sharing storage. Requires: contiguous, equal counts. One
  /// size may be -1 and is worked out.
  Tensor view(std::initializer_list<int64_t> sizes) const;
  Tensor view(const Shape& shape) const;
  /// Swaps two dimensions, sharing storage.
  Tensor transpose(int i, int j) const;
  /// Elements [begin, end) of dimension `i`, sharing storage.
  Tensor slice(int i, int64_t begin, int64_t end) const;
  /// This tensor if it is contiguous, else a row-major copy.
  Tensor contiguous() const;
  /// A row-major copy with its own storage.
  Tensor clone() const;
  /// This tensor if it has that dtype already, else a converted row-major copy. Floats are rounded
  /// to nearest even, once. Floats to integers lose the fraction and saturate; NaN becomes 0.
  Tensor to(DType dtype) const;

  /// First element. Throws DTypeError where T is not the dtype. Writing needs the non-const form,
  /// and tells every tensor that shares the storage.
  template <class T>
  const T* data() const {
    return static_cast<const T*>(checked_data(dtype_of<T>::value));
  }
  template <class T>
  T* data() {
    return static_cast<T*>(checked_data(dtype_of<T>::value));
  }
  /// All elements of a contiguous CPU tensor.
  template <class T>
  std::span<const T> span() const {
    check_span();
    return {data<T>(), static_cast<size_t>(numel())};
  }
  template <class T>
  std::span<T> span() {
    check_span();
    return {data<T>(), static_cast<size_t>(numel())};
  }
  /// Bytes of a contiguous CPU tensor.
  std::span<const std::byte> bytes() const;
  /// The value of a tensor with one element, of any dtype.
  double item() const;
  /// All elements of a CPU tensor of any dtype and layout, converted.
  std::vector<double> to_vector() const;

  /// What kernels take. An undefined tensor gives an absent view.
  TensorView as_view() const;

 private:
  void* checked_data(DType wanted) const;
  void check_span() const;
  void check_defined() const;

  std::shared_ptr<Storage> storage_;
  Shape shape_;
  Strides strides_{};
  int64_t offset_ = 0;
  DType dtype_ = DType::f32;
};

template <class T>
Tensor Tensor::from(const std::vector<T>& values, Shape shape) {
  GRAFT_CHECK(static_cast<int64_t>(values.size()) == shape.numel(), ShapeError,
              "tensor: ", values.size(), " values given for shape ", shape);
  Tensor result = empty(shape, dtype_of<T>::value);
  T* out = result.data<T>();
  for (size_t i = 0; i < values.size(); ++i)
    out[i] = values[i];
  return result;
}

}  // namespace graft
