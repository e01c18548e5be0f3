// The modules of a model that a LoRA adapter was put on, as a table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graft/peft/peft_model.h"

namespace graft::cli {

/// One adapted module.
struct AdaptedModule {
  std::string path;  ///< "model.layers.0.self_attn.q_proj"
  int64_t in_features = 0;
  int64_t out_features = 0;
  int64_t r = 0;
  double alpha = 0;
  double scale = 0;
  int64_t parameters = 0;
};

/// The modules of the adapter called "default", in the model's order.
std::vector<AdaptedModule> adapted_modules(peft::PeftModel& model);

}  // namespace graft::cli
