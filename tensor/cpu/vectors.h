// Between the slots and the row kernels: dtypes, blocks and registration.
#pragma once

#include "graft/tensor/cpu/isa.h"
#include "graft/tensor/cpu/row_kernels.h"
#include "graft/tensor/slot.h"
#include "graft/tensor/view.h"

namespace graft::cpu_kernels {

/// Calls body.template operator()<T>(rows) with the functions for a dtype and T as they see it;
/// other dtypes than f32 and bf16 are unsupported.
template <Isa isa, class Body>
KernelStatus visit_rows(DType dtype, const Body& body) {
  const RowKernels& kernels = *row_kernels(isa);
  if (dtype == DType::f32)
    body.template operator()<float>(kernels.f32);
  else if (dtype == DType::bf16)
    body.template operator()<uint16_t>(kernels.bf16);
  else
    return KernelStatus::unsupported;
  return KernelStatus::done;
}

/// The numbers of a view, bf16 as their bits.
template <class T>
T* numbers(const TensorView& view) {
  return static_cast<T*>(view.data);
}

/// Calls add_kernels.template operator()<isa>(name) for each set that this processor and the build
/// have row kernels for.
template <class Body>
void for_each_row_isa(const Body& add_kernels) {
  if (cpu_has(Isa::avx2) && row_kernels(Isa::avx2) != nullptr)
    add_kernels.template operator()<Isa::avx2>(isa_name(Isa::avx2));
  if (cpu_has(Isa::avx512) && row_kernels(Isa::avx512) != nullptr)
    add_kernels.template operator()<Isa::avx512>(isa_name(Isa::avx512));
}

}  // namespace graft::cpu_kernels
