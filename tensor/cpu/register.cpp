#include "graft/tensor/cpu/register.h"

#include "graft/tensor/cpu/families.h"

namespace graft {

void register_cpu_kernels(Registry& registry) {
  using namespace cpu_kernels;
  register_attention(registry);
  register_columns(registry);
  register_copy(registry);
  register_cross_entropy(registry);
  register_dropout(registry);
  register_embedding(registry);
  register_matmul(registry);
  register_norm(registry);
  register_optimizer(registry);
  register_packed_linear(registry);
  register_pointwise(registry);
  register_random(registry);
  register_reduce(registry);
  register_rope(registry);
  register_thin_matmul(registry);
}

}  // namespace graft
