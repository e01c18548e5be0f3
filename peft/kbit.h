// What a base model in 4 bits needs before an adapter is trained on it.
#pragma once

#include "graft/nn/causal_lm.h"
#include "graft/peft/compat.h"

namespace graft::peft {

struct KbitOptions {
  /// PEFT brings every dense weight to f32, embedding and head too, which for a large vocabulary
  /// take more memory so than all that is in 4 bits. The numbers are the same.
  Compat compat = Compat::none;
};

/// PEFT's function of that name: freezes the model and has it compute in f32 between its products,
/// with norms and biases in f32. The products themselves stay in the compute dtype of the weights
/// in 4 bits, and embedding and head in their own dtype. To be called before an adapter is put on.
///
/// Gradient checkpointing needs no preparation here, such as hooks on the embedding: a block that
/// is computed again reaches its adapters whether its input needs a gradient or not.
void prepare_model_for_kbit_training(nn::CausalLM& model, const KbitOptions& options = {});

}  // namespace graft::peft
