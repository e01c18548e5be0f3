// EVA (Paischer et al. 2024, arXiv:2410.07170): an adapter's A begins with the directions in which
// the inputs of its layer vary most over batches of the training data, and layers whose inputs need
// more directions get a higher rank at the cost of others.
//
// The search is PEFT's: batches are gone through until the directions of every layer stand still,
// with incremental principal components for each group of layers that read the same input.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "graft/nn/causal_lm.h"
#include "graft/peft/config.h"
#include "graft/peft/peft_model.h"

namespace graft::peft {

/// A batch of the training data.
struct EvaBatch {
  Tensor ids;             ///< (B,T) i64
  nn::Context context{};  ///< positions and segments
  Tensor tokens{};        ///< (n) i64 into B·T: the tokens whose inputs count; undefined: all
};

/// What EVA found for a configuration.
struct EvaStart {
  /// With targets, rank_pattern and alpha_pattern as PEFT leaves them: full paths, without the
  /// layers whose rank is 0.
  LoraConfig config;
  /// A of each layer, (r, in), by its path.
  std::map<std::string, Tensor> a{};
  int64_t batches = 0;  ///< that were needed

  /// Gives the layers of a new adapter, made of `config`, their A.
  void put_into(PeftModel& model, const std::string& adapter) const;
};

/// The search. `batch` gives batch number 0, 1, … and begins again where the data ends. The model
/// must have no adapters; it is as before afterwards. Embeddings begin as without EVA, of which
/// options.observer is told, and of layers that have not settled after a thousand batches. Throws
/// ConfigError where the configuration does not ask for EVA or does not fit the model, where rho
/// times a rank is above the size of the input, and where batches have fewer tokens than that.
EvaStart eva_start(nn::CausalLM& model, const LoraConfig& config,
                   const std::function<EvaBatch(int64_t)>& batch, const PeftOptions& options = {});

}  // namespace graft::peft
