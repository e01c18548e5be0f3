#include "graft/peft/lora.h"

#include "graft/tensor/random.h"

namespace graft::peft {

uint32_t dropout_module_of(std::string_view path) {
  const uint64_t stream = stream_of(path);
  return static_cast<uint32_t>(stream ^ (stream >> 32));
}

Lora::Lora(int64_t in_features, int64_t out_features, const LoraOptions& options)
    : options_(options),
      lora_a_(*this, "lora_A.weight", Shape{options.r, in_features}),
      lora_b_(*this, "lora_B.weight", Shape{out_features, options.r}) {}

std::optional<LowRank> Lora::low_rank(const nn::Context& context) const {
  LowRank term{.a = *lora_a_, .b = *lora_b_, .scale = options_.scaling, .dropout = {}};
  if (context.train && options_.dropout > 0)
    term.dropout = context.dropout.key(options_.dropout, options_.dropout_module);
  return term;
}

}  // namespace graft::peft
