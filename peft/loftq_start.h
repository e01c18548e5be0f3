// Starting the LoRAs of a model by LoftQ.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "graft/nn/weight.h"
#include "graft/peft/draft.h"
#include "graft/peft/original_weight.h"
#include "graft/peft/selection.h"

namespace graft::peft {

/// How far a weight is from what it was, of its size: ‖W - …‖ / ‖W‖.
struct LoftQError {
  std::string path;            ///< of the weight
  double quantized_alone = 0;  ///< once it is in 4 bits
  double with_lora = 0;        ///< with what the LoRA adds at its start
};

/// A weight of the base model, and the quantised one that LoftQ puts in its place.
struct QuantizedWeight {
  nn::Weight* weight;
  quant::QuantizedTensor value;
};

/// Fills the tensors of the adapter that is selected, as loftq() does, and returns the weights to
/// put into the base: those that are not so already. A weight that is dense becomes PEFT's nf4, in
/// blocks of 64; one in 4 bits stays in its format, and `original` is asked what it was. Changes
/// the tensors alone. Throws ConfigError for embeddings, for weights that another layer shares or
/// that have adapters already, and where a weight is in 4 bits and `original` is not set;
/// NonFiniteError. `on_layer` is told of each.
std::vector<QuantizedWeight> start_with_loftq(
    nn::Module& base, const Selection& selection, std::vector<AdapterTensor>& tensors,
    const OriginalWeight& original, const std::function<void(const LoftQError&)>& on_layer);

/// Tells the observer of the layers of an adapter that LoftQ started whose weights are not in 4
/// bits: it makes up for what they have not lost.
void warn_of_dense_weights(const Selection& selection, const Observer& observer);

}  // namespace graft::peft
