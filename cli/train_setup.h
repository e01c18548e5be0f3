// TrainSetup: everything a run needs, read and checked, before anything is written.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graft/cli/train_flags.h"
#include "graft/cli/training_data.h"
#include "graft/models/load.h"
#include "graft/nn/causal_lm.h"
#include "graft/optim/optimizer.h"
#include "graft/text/tokenizer.h"
#include "graft/train/checkpoint.h"
#include "graft/train/options.h"

namespace graft::cli {

struct TrainSetup {
  models::Description description;
  /// Nothing where the model has none; only data that is tokenised already can be used then.
  std::optional<text::Tokenizer> tokenizer;
  text::Dataset data;
  std::vector<text::Sample> validation;
  std::string validation_source;  ///< a path, or how many samples were taken; empty without
  train::TrainOptions options;
  std::unique_ptr<nn::CausalLM> base;
  std::unique_ptr<peft::PeftModel> adapted;  ///< nullptr with --method full
  std::unique_ptr<optim::Optimizer> optimizer;
  std::unique_ptr<train::Checkpointable> weights;
  /// What the Trainer does not know and a resumed run must share.
  train::Fingerprint fingerprint;
  peft::ParameterCounts counts;

  const nn::CausalLM& model() const { return adapted ? *adapted : *base; }
  int64_t total_steps() const;
};

/// Reads model, tokenizer, data and adapter. Throws ConfigError, FormatError or IoError where one
/// of them cannot be used as the flags say.
TrainSetup prepare_training(const TrainFlags& flags);

/// The checksum of a model's or a data set's files, "xxh64:…". Throws IoError.
std::string checksum_of_input(const std::filesystem::path& path);

}  // namespace graft::cli
