// The samples of a run or an evaluation, tokenised and cut, with what a person wants to know of
// them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "graft/cli/flags.h"
#include "graft/text/dataset.h"
#include "graft/text/tokenizer.h"

namespace graft::cli {

/// The flags that every verb with a data set shares.
struct DataFlags {
  std::string path;
  std::string loss_on = "auto";
  bool raw = false;
  int64_t max_seq_len = 512;
};
/// Declares --data, --loss-on, --raw and --max-seq-len.
void add_data_flags(Flags& flags, DataFlags& values);

/// Counts of a list of samples.
struct SampleCounts {
  int64_t samples = 0;
  int64_t tokens = 0;          ///< as the model reads them
  int64_t trained_tokens = 0;  ///< those with a loss
  int64_t longest = 0;         ///< tokens of the longest sample
};
SampleCounts count(const std::vector<text::Sample>& samples);

/// The tokenizer of a model's folder or GGUF file; nothing where the folder has no tokenizer.json.
std::optional<text::Tokenizer> load_tokenizer(const std::filesystem::path& model);

/// Which of a folder's files is read.
enum class DataPart { train, validation };

/// Reads a .jsonl file, or train.jsonl or valid.jsonl of a folder. `vocab_size` is the model's.
/// Throws as text::read_dataset does.
text::Dataset read_samples(const DataFlags& flags, const text::Tokenizer* tokenizer,
                           int64_t vocab_size, DataPart part);

/// Takes a share of the samples out, at least one, chosen by the seed, and returns them. Throws
/// ConfigError where none would be left on one of the sides.
std::vector<text::Sample> split_off(std::vector<text::Sample>& samples, double share, int64_t seed);

/// How long each sample is, in tokens.
std::vector<int64_t> lengths_of(const std::vector<text::Sample>& samples);

/// Warns where inputs (of a file, say) are longer than the model's positions: it goes on, but with
/// what it has not learnt. `remedy` says how to go without.
void warn_of_long_inputs(const std::string& source, const std::vector<int64_t>& lengths,
                         int64_t positions, const std::string& remedy);

}  // namespace graft::cli
