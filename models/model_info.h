// What is known of a model besides its weights, from its configuration.
#pragma once

#include <string>

#include "graft/models/decoder_config.h"
#include "graft/nn/causal_lm.h"

namespace graft::models {

nn::ModelInfo info_of(const DecoderConfig& config, std::string name_or_path, DType dtype);

/// Back from there.
DecoderConfig config_of(const nn::ModelInfo& info);

/// What is known of a model whose head has come to have a matrix of its own.
nn::ModelInfo untied(nn::ModelInfo info);

}  // namespace graft::models
