// The families of CPU kernels; each is registered by the file of its name in this folder.
#pragma once

namespace graft {
class Registry;
}

namespace graft::cpu_kernels {

void register_attention(Registry& registry);
void register_columns(Registry& registry);
void register_copy(Registry& registry);
void register_cross_entropy(Registry& registry);
void register_dropout(Registry& registry);
void register_embedding(Registry& registry);
void register_matmul(Registry& registry);
void register_norm(Registry& registry);
void register_optimizer(Registry& registry);
void register_packed_linear(Registry& registry);
void register_pointwise(Registry& registry);
void register_random(Registry& registry);
void register_reduce(Registry& registry);
void register_rope(Registry& registry);
void register_thin_matmul(Registry& registry);

}  // namespace graft::cpu_kernels
