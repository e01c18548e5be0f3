// CausalLM: what training, generation and adapters see of a language model.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "graft/nn/context.h"
#include "graft/nn/linear.h"
#include "graft/quant/config.h"
#include "graft/tensor/error.h"

namespace graft::nn {

/// What is known of a model besides its weights.
struct ModelInfo {
  std::string model_type;       ///< "llama", … as in config.json
  std::string architecture;     ///< "LlamaForCausalLM", …
  std::string python_module{};  ///< that defines the architecture, as PEFT notes it
  std::string name_or_path;     ///< where it was loaded from
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t intermediate_size = 0;
  int64_t max_positions = 0;
  /// A text that grows beyond this many tokens has other keys and values from its first token on,
  /// so a cache of them is to be filled again; 0 where that never happens.
  int64_t cache_renewal = 0;
  bool tied_head = false;
  DType dtype = DType::f32;  ///< of the weights as held, but for those in 4 bits
  quant::Config quant{};     ///< of those, where there are any
  std::optional<int64_t> bos_token_id{};
  std::optional<int64_t> pad_token_id{};
  std::vector<int64_t> eos_token_ids{};  ///< what ends a text; empty where the files do not say
  std::string config_json{};  ///< config.json without the dtype, for whoever saves the model
};

/// ids and a Context -> hidden states; and the head that turns those into logits.
class CausalLM : public Module {
 public:
  /// ids (B,T) i64 -> (B,T,hidden_size), normalised: what the head reads.
  virtual Variable forward(const Tensor& ids, const Context& context) const = 0;
  virtual const LinearLike& head() const = 0;
  virtual const ModelInfo& info() const = 0;
  /// The context a forward uses where the caller leaves a choice open: PeftModel fills in its
  /// active adapters. Whoever calls head() itself resolves first.
  virtual Context resolve(const Context& context) const { return context; }
  /// The same for texts, one in each row, that forwards with a cache then go through piece by piece
  /// and continue: settles what depends on the texts as they are now.
  virtual Context resolve(const Context& context,
                          std::span<const std::vector<int64_t>> /*texts*/) const {
    return resolve(context);
  }
  /// Says of a model whose head shared the embedding's matrix that it has one of its own now:
  /// info() and the files that are saved say so from then on. Throws Error where a model cannot.
  virtual void untie_head();

  /// ids (B,T) -> (B,T,vocab_size).
  Variable logits(const Tensor& ids, const Context& context) const {
    const Context resolved = resolve(context);
    return head().forward(forward(ids, resolved), resolved);
  }
};

inline void CausalLM::untie_head() {
  throw Error(concat("untie_head: a model of type \"", info().model_type,
                     "\" cannot have a head of its own"));
}

}  // namespace graft::nn
