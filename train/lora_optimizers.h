// Optimizers that step the parts of an adapter each in its own way: LoRA+ and LoRA-FA, as PEFT sets
// them up.
#pragma once

#include <memory>
#include <vector>

#include "graft/optim/lorafa.h"
#include "graft/optim/optimizer.h"
#include "graft/peft/peft_model.h"

namespace graft::train {

/// Of LoRA+ (Hayou, Ghosh and Yu 2024, arXiv:2402.12354).
struct LoraPlusOptions {
  double lr_ratio = 1;         ///< of the rates of B and A
  double lr_embedding = 1e-6;  ///< of adapters on embeddings
};

/// What LoRA+ changes of an optimizer over model.trainable_parameters(), as PEFT's
/// create_loraplus_optimizer: B's and all vectors have lr_ratio times the rate, adapters on
/// embeddings their own; biases and the parts of a LayerNorm do not decay. Throws ConfigError where
/// an option or the optimizer's rate is not above 0.
void set_loraplus(optim::Optimizer& optimizer, peft::PeftModel& model,
                  const LoraPlusOptions& options);

/// Freezes A of the active adapters and makes LoRA-FA's optimizer over the rest. Throws ConfigError
/// where an adapter is on an embedding: its A starts at zero, so that it could not learn.
std::unique_ptr<optim::LoraFa> make_lorafa(
    peft::PeftModel& model, const optim::AdamWOptions& options = optim::LoraFa::defaults);

}  // namespace graft::train
