// Lora (Hu et al. 2021, arXiv:2106.09685): scaling · B A dropout(x).
#pragma once

#include <cstdint>

#include "graft/peft/adapter.h"

namespace graft::peft {

struct LoraOptions {
  int64_t r = 8;
  double scaling = 1;
  double dropout = 0;           ///< probability of zeroing an element of A's input while training
  uint32_t dropout_module = 0;  ///< names the dropout masks of this layer
};

/// The dropout_module of the layer at a path: the same everywhere and always.
uint32_t dropout_module_of(std::string_view path);

class Lora final : public Adapter {
 public:
  /// For a linear layer of these sizes. A and B have no numbers until they are loaded.
  Lora(int64_t in_features, int64_t out_features, const LoraOptions& options);

  std::optional<LowRank> low_rank(const nn::Context& context) const override;

  int64_t r() const { return lora_a_.shape()[0]; }
  double scaling() const { return options_.scaling; }
  /// (r, in)
  nn::Parameter& lora_a() { return lora_a_; }
  /// (out, r)
  nn::Parameter& lora_b() { return lora_b_; }

 private:
  LoraOptions options_;
  nn::Parameter lora_a_;
  nn::Parameter lora_b_;
};

}  // namespace graft::peft
