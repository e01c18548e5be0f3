// The samples of a run or an evaluation, tokenised and cut, with what a person wants to know of
// them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graft/cli/flags.h"
#include "graft/cli/template_flags.h"
#include "graft/text/data_folder.h"
#include "graft/text/sample_file.h"
#include "graft/text/tokenizer.h"

namespace graft::cli {

/// The flags that every verb with a data set shares.
struct DataFlags {
  std::string path;
  std::string loss_on = "auto";
  bool raw = false;
  TemplateFlags chat_template;
  int64_t max_seq_len = 512;
  std::string overlong = "auto";
  std::string columns;
};
/// Declares --data, --loss-on, --raw, --max-seq-len, --overlong, --columns and those of the chat
/// template.
void add_data_flags(Flags& flags, DataFlags& values);
/// Declares all of these but --data, in the present group, and returns their names.
std::vector<std::string> add_sample_flags(Flags& flags, DataFlags& values);
/// What they say; `vocab_size` is the model's. Throws ConfigError.
text::DatasetOptions dataset_options(const DataFlags& flags, int64_t vocab_size);

/// Counts of samples.
struct SampleCounts {
  int64_t samples = 0;
  int64_t tokens = 0;          ///< as the model reads them
  int64_t trained_tokens = 0;  ///< those with a loss
  int64_t longest = 0;         ///< tokens of the longest sample
};
SampleCounts count(const text::Samples& samples);
/// "1,000 samples, 93,000 tokens, 20,000 of them learnt (21.5%), the longest sample has 512".
std::string counts_text(const SampleCounts& counts);

/// What became of samples that were too long, "; 3 samples cut to 512 (800 tokens left out)", and
/// of answers without a stop token; empty where there is nothing to say.
std::string losses_text(const text::DatasetStats& stats, int64_t max_seq_len);
/// The same as members of a JSON object.
io::Json losses_json(const text::DatasetStats& stats);

/// The tokenizer of a model's folder or GGUF file, with the chat template that is wanted; nothing
/// where the folder has none.
std::optional<text::Tokenizer> load_tokenizer(const std::filesystem::path& model,
                                              const TemplateFlags& chat_template = {});

/// Opens and reads a data file, or that of a folder that belongs to the part, and shows on a
/// terminal how far it is. `vocab_size` is the model's. Throws as text::SampleFile does.
std::unique_ptr<text::SampleFile> read_samples(const DataFlags& flags,
                                               const text::Tokenizer* tokenizer, int64_t vocab_size,
                                               text::DataPart part);

/// Samples that were divided. Both refer to those that they were made of.
struct SampleSplit {
  std::unique_ptr<text::SamplePart> kept;
  std::unique_ptr<text::SamplePart> taken;
};
/// Takes a share of the samples out, at least one, chosen by the seed. Throws ConfigError where
/// none would be left on one of the sides.
SampleSplit split_off(const text::SampleSource& samples, double share, int64_t seed);

/// How long each sample is, in tokens.
std::vector<int64_t> lengths_of(const text::Samples& samples);

/// Warns where inputs (of a file, say) are longer than the model's positions: it goes on, but with
/// what it has not learnt. `remedy` says how to go without.
void warn_of_long_inputs(const std::string& source, const std::vector<int64_t>& lengths,
                         int64_t positions, const std::string& remedy);

}  // namespace graft::cli
