#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/cpu/isa.h"
#include "graft/tensor/cpu/panel_dense.h"
#include "graft/tensor/packed_tensor.h"

namespace graft::cpu_kernels {
namespace {

/// bf16 meets bf16 in products of pairs where the processor has them; all else is widened.
Compute compute_of(const TileKernels& kernels, const TensorView& x, const TensorView& panels) {
  const bool pairs =
      kernels.forward_pairs != nullptr && x.dtype == DType::bf16 && panels.dtype == DType::bf16;
  return pairs ? Compute::pairs : Compute::floats;
}

template <Isa isa>
KernelStatus packed_linear(const PackedLinearArgs& args) {
  const TileKernels& kernels = tile_kernels(isa);
  if (!contiguous(args.x, args.panels, args.bias, args.u, args.b, args.y) ||
      !panel_dtypes(args.x, args.y, args.u, args.b))
    return KernelStatus::unsupported;
  const Compute compute = compute_of(kernels, args.x, args.panels);
  panel_linear(compute,
               dense_panels(kernels, args.panels, args.y.sizes[1], args.x.sizes[1], compute),
               {args.x, {}, args.bias, args.u, args.b, args.y});
  return KernelStatus::done;
}

template <Isa isa>
KernelStatus packed_linear_backward(const PackedLinearBackwardArgs& args) {
  const TileKernels& kernels = tile_kernels(isa);
  if (!contiguous(args.dy, args.panels, args.g, args.a, args.dx) ||
      !panel_dtypes(args.dy, args.dx, args.g, args.a))
    return KernelStatus::unsupported;
  const Compute compute = compute_of(kernels, args.dy, args.panels);
  panel_linear_backward(
      compute, dense_panels(kernels, args.panels, args.dy.sizes[1], args.dx.sizes[1], compute),
      {args.dy, {}, args.g, args.a, args.dx});
  return KernelStatus::done;
}

}  // namespace

void register_packed_linear(Registry& registry) {
  for_each_isa([&registry]<Isa isa>() {
    const char* name = isa_name(isa);
    registry.add<packed_linear<isa>>(packed_linear_slot, DeviceKind::cpu, name);
    registry.add<packed_linear_backward<isa>>(packed_linear_backward_slot, DeviceKind::cpu, name);
  });
}

}  // namespace graft::cpu_kernels
