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
  std::unique_ptr<const text::Tokenizer> tokenizer;
  std::unique_ptr<const text::SampleFile> data;             ///< the file of --data
  std::unique_ptr<const text::SampleFile> validation_data;  ///< that of --val-data; nullptr without
  SampleSplit split;                                        ///< of the data, with --val-split
  std::string validation_source;  ///< a path, or how many samples were taken; empty without
  train::TrainOptions options;
  int64_t rows = 0;  ///< that the samples make: as many as they are, fewer with --packing
  std::unique_ptr<nn::CausalLM> base;
  std::unique_ptr<peft::PeftModel> adapted;  ///< nullptr with --method full
  std::unique_ptr<optim::Optimizer> optimizer;
  std::unique_ptr<train::Checkpointable> weights;
  /// What the Trainer does not know and a resumed run must share.
  train::Fingerprint fingerprint;
  peft::ParameterCounts counts;

  const nn::CausalLM& model() const { return adapted ? *adapted : *base; }
  /// What is trained on.
  text::Samples samples() const;
  /// What is validated on; empty without.
  text::Samples validation() const;
  int64_t total_steps() const { return train::total_steps(options, rows); }
};

/// Reads model, tokenizer, data and adapter. Throws ConfigError, FormatError or IoError where one
/// of them cannot be used as the flags say.
TrainSetup prepare_training(const TrainFlags& flags);

/// The checksum of a model's files, or of one file, "xxh64:…". Throws IoError.
std::string checksum_of_input(const std::filesystem::path& path);

}  // namespace graft::cli
