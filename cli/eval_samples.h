// The samples of a data file that a loss is measured on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "graft/cli/training_data.h"
#include "graft/nn/causal_lm.h"

namespace graft::cli {

/// The file that --data names for a measurement: of a folder the valid file, else the test file.
/// Throws as text::data_file does.
std::filesystem::path eval_file(const std::filesystem::path& path);

class EvalSamples {
 public:
  /// Reads the file; of its samples the first `limit` count, where there is one. Warns of those
  /// that are longer than the model's positions. Refers to the tokenizer, which may be null for
  /// tokenised records. Throws as read_samples does.
  EvalSamples(DataFlags flags, std::optional<int64_t> limit, const std::filesystem::path& file,
              const text::Tokenizer* tokenizer, const nn::ModelInfo& info);

  const text::SampleSource& samples() const { return limited_ ? *limited_ : *file_; }
  /// "messages, loss on assistant; 200 samples, 3,000 tokens with a loss".
  std::string text() const;

 private:
  int64_t max_seq_len_;
  std::unique_ptr<const text::SampleFile> file_;
  std::unique_ptr<const text::SampleSource> limited_;  // where there is a limit
};

}  // namespace graft::cli
