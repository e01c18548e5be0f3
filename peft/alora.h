// Alora (Greenewald et al. 2025, arXiv:2504.12397): a LoRA that is invoked by a sequence of tokens.
// It applies from the last place in a text where they stand, those tokens included; what is before
// is the base model's, whose cached keys and values can be used again.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "graft/nn/context.h"
#include "graft/peft/lora.h"

namespace graft::peft {

class Alora final : public Lora {
 public:
  using Lora::Lora;

  bool applies_to_part() const override { return true; }
};

/// The number of the token of `text` at which the invocation stands for the last time;
/// nn::AdapterPart::nowhere where it does not.
int64_t invoked_from(std::span<const int64_t> text, std::span<const int64_t> invocation);

/// The part of each text that an adapter applies to, for a forward with these ids (B,T): from
/// `starts` on where the context gives them, else from where the invocation stands in each row, or
/// in each document of it. Only rows that use the adapter. Throws ConfigError where the texts began
/// in an earlier forward and there are no starts, ShapeError where there are starts for another
/// number of rows.
nn::AdapterPart invoked_part(const Tensor& ids, const nn::Context& context,
                             const std::string& adapter, std::span<const int64_t> invocation);

}  // namespace graft::peft
