// TensorView: what a kernel sees of a tensor. Plain data, part of the plug-in ABI.
#pragma once

#include <cstdint>

#include "graft/tensor/dtype.h"
#include "graft/tensor/shape.h"

namespace graft {

/// Pointer, sizes, strides and dtype. Owns nothing. An absent optional tensor has data == nullptr.
/// Sizes and strides count elements, not bytes.
struct TensorView {
  void* data = nullptr;
  int64_t sizes[Shape::max_rank] = {};
  int64_t strides[Shape::max_rank] = {};
  int32_t rank = 0;
  DType dtype = DType::f32;

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  explicit operator bool() const { return data != nullptr; }
  int64_t numel() const {
    int64_t count = 1;
    for (int32_t i = 0; i < rank; ++i)
      count *= sizes[i];
    return count;
  }
  bool is_contiguous() const {
    int64_t step = 1;
    for (int32_t i = rank - 1; i >= 0; --i) {
      if (sizes[i] != 1 && strides[i] != step)
        return false;
      step *= sizes[i] > 1 ? sizes[i] : 1;
    }
    return true;
  }
};

}  // namespace graft
