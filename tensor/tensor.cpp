#include "graft/tensor/tensor.h"

#include <algorithm>

#include "graft/tensor/copy.h"

namespace graft {
namespace {

int checked_dimension(const char* operation, int i, int rank) {
  const int index = i < 0 ? i + rank : i;
  GRAFT_CHECK(index >= 0 && index < rank, ShapeError, operation, ": dimension ", i,
              " of a tensor of rank ", rank);
  return index;
}

Shape resolve(std::initializer_list<int64_t> sizes, int64_t numel) {
  std::vector<int64_t> resolved(sizes);
  int64_t known = 1;
  int64_t* open = nullptr;
  for (int64_t& size : resolved) {
    if (size == -1) {
      GRAFT_CHECK(open == nullptr, ShapeError, "view: more than one size is -1");
      open = &size;
    } else {
      known *= size;
    }
  }
  if (open != nullptr) {
    GRAFT_CHECK(known > 0 && numel % known == 0, ShapeError, "view: ", numel,
                " elements do not divide by ", known);
    *open = numel / known;
  }
  return Shape(std::span<const int64_t>(resolved));
}

}  // namespace

Tensor::Tensor(std::shared_ptr<Storage> storage, DType dtype, Shape shape, Strides strides,
               int64_t offset)
    : storage_(std::move(storage)),
      shape_(shape),
      strides_(strides),
      offset_(offset),
      dtype_(dtype) {
  int64_t last = offset;
  int64_t first = offset;
  for (int i = 0; i < shape.rank(); ++i) {
    const int64_t reach = (shape[i] - 1) * strides[static_cast<size_t>(i)];
    (reach < 0 ? first : last) += reach;
  }
  const auto capacity = static_cast<int64_t>(storage_->nbytes() / element_size(dtype));
  GRAFT_CHECK(shape.numel() == 0 || (first >= 0 && last < capacity), ShapeError,
              "tensor: elements ", first, " to ", last, " of a storage of ", capacity);
}

Tensor Tensor::empty(Shape shape, DType dtype, Device device) {
  const auto nbytes = static_cast<size_t>(shape.numel()) * element_size(dtype);
  return Tensor(std::make_shared<Storage>(nbytes, device), dtype, shape, contiguous_strides(shape));
}

Tensor Tensor::zeros(Shape shape, DType dtype, Device device) {
  return full(shape, 0, dtype, device);
}

Tensor Tensor::full(Shape shape, double value, DType dtype, Device device) {
  Tensor result = empty(shape, dtype, device);
  ops::fill_(result, value);
  return result;
}

int64_t Tensor::dim(int i) const {
  return shape_[checked_dimension("dim", i, rank())];
}

Tensor Tensor::view(std::initializer_list<int64_t> sizes) const {
  return view(resolve(sizes, numel()));
}

Tensor Tensor::view(const Shape& shape) const {
  check_defined();
  GRAFT_CHECK(shape.numel() == numel(), ShapeError, "view: ", shape_, " has ", numel(),
              " elements, ", shape, " has ", shape.numel());
  GRAFT_CHECK(is_contiguous(), ShapeError, "view: ", shape_,
              " is not contiguous; call contiguous() first");
  return Tensor(storage_, dtype_, shape, contiguous_strides(shape), offset_);
}

Tensor Tensor::transpose(int i, int j) const {
  const int a = checked_dimension("transpose", i, rank());
  const int b = checked_dimension("transpose", j, rank());
  Tensor result = *this;
  result.shape_ = shape_.with(a, shape_[b]).with(b, shape_[a]);
  std::swap(result.strides_[static_cast<size_t>(a)], result.strides_[static_cast<size_t>(b)]);
  return result;
}

Tensor Tensor::slice(int i, int64_t begin, int64_t end) const {
  const int dimension = checked_dimension("slice", i, rank());
  GRAFT_CHECK(0 <= begin && begin <= end && end <= shape_[dimension], ShapeError, "slice: [", begin,
              ", ", end, ") of dimension ", i, " of ", shape_);
  Tensor result = *this;
  result.shape_ = shape_.with(dimension, end - begin);
  result.offset_ += begin * strides_[static_cast<size_t>(dimension)];
  return result;
}

Tensor Tensor::contiguous() const {
  check_defined();
  return is_contiguous() ? *this : clone();
}

Tensor Tensor::clone() const {
  check_defined();
  Tensor result = empty(shape_, dtype_, device());
  ops::copy_(result, *this);
  return result;
}

Tensor Tensor::to(DType dtype) const {
  check_defined();
  if (dtype == dtype_)
    return *this;
  Tensor result = empty(shape_, dtype, device());
  ops::copy_(result, *this);
  return result;
}

std::span<const std::byte> Tensor::bytes() const {
  check_span();
  return {static_cast<const std::byte*>(checked_data(dtype_)), static_cast<size_t>(nbytes())};
}

double Tensor::item() const {
  GRAFT_CHECK(numel() == 1, ShapeError, "item: ", shape_, " given, one element expected");
  return to_vector()[0];
}

std::vector<double> Tensor::to_vector() const {
  const Tensor doubles = to(DType::f64).contiguous();
  const auto values = doubles.span<double>();
  return {values.begin(), values.end()};
}

TensorView Tensor::as_view() const {
  TensorView view;
  if (!defined())
    return view;
  view.data = checked_data(dtype_);
  view.dtype = dtype_;
  view.rank = rank();
  std::ranges::copy(shape_.sizes(), view.sizes);
  std::copy_n(strides_.begin(), rank(), view.strides);
  return view;
}

void* Tensor::checked_data(DType wanted) const {
  check_defined();
  GRAFT_CHECK(wanted == dtype_, DTypeError, "tensor: data asked for as ", wanted,
              ", the tensor holds ", dtype_);
  return static_cast<std::byte*>(storage_->data()) +
         static_cast<size_t>(offset_) * element_size(dtype_);
}

void Tensor::check_defined() const {
  GRAFT_CHECK(defined(), ShapeError, "tensor: undefined tensor used");
}

void Tensor::check_span() const {
  GRAFT_CHECK(device().kind == DeviceKind::cpu, DeviceError, "tensor: elements of a tensor on ",
              device(), " asked for on the CPU");
  GRAFT_CHECK(is_contiguous(), ShapeError, "tensor: elements of ", shape_,
              " are not contiguous; call contiguous() first");
}

}  // namespace graft
