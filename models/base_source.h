// Checkpoints of a model without its head: their names lack the first part, as in OpenAI's GPT-2
// ("h.0.ln_1.weight" for "transformer.h.0.ln_1.weight").
#pragma once

#include <memory>
#include <string>

#include "graft/io/tensor_source.h"

namespace graft::models {

/// `source` as it is where some name begins with "PREFIX.", else one whose names got it.
std::unique_ptr<io::TensorSource> with_prefix(std::unique_ptr<io::TensorSource> source,
                                              const std::string& prefix);

}  // namespace graft::models
