#include "graft/cli/training_data.h"

#include <algorithm>
#include <cmath>

#include "graft/cli/terminal.h"
#include "graft/tensor/error.h"
#include "graft/train/batch.h"
#include "graft/train/sampler.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

constexpr int64_t most_tokens = int64_t{1} << 40;
/// Added to the seed, so that the split is not the order of the first epoch.
constexpr uint64_t split_seed = 0x73706c6974;

std::optional<text::LossOn> loss_on(const std::string& word) {
  for (const text::LossOn value :
       {text::LossOn::assistant, text::LossOn::completion, text::LossOn::all})
    if (text::name_of(value) == word)
      return value;
  return std::nullopt;
}

/// The file to read: of a folder the one that belongs to the part.
fs::path data_file(const fs::path& path, DataPart part) {
  if (!fs::is_directory(path))
    return path;
  const fs::path file = path / (part == DataPart::train ? "train.jsonl" : "valid.jsonl");
  GRAFT_CHECK(fs::exists(file), ConfigError, "data: ", path.string(), " has no ",
              file.filename().string(), "; name the file itself");
  return file;
}

}  // namespace

void add_data_flags(Flags& flags, DataFlags& values) {
  flags.group("Data");
  flags.add("data", values.path, "FILE|DIR",
            "a .jsonl file with messages, prompts and completions, texts or input_ids; or a folder "
            "with train.jsonl and valid.jsonl");
  flags.choice("loss-on", values.loss_on, {"auto", "assistant", "completion", "all"},
               "which tokens are learnt; auto: assistant turns, completions, or all of a text");
  flags.add("raw", values.raw, "join prompts and completions without the chat template");
  flags.add("max-seq-len", values.max_seq_len, "N", "cut longer samples to N tokens",
            {2, most_tokens});
}

SampleCounts count(const std::vector<text::Sample>& samples) {
  SampleCounts counts;
  for (const text::Sample& sample : samples) {
    const auto length = static_cast<int64_t>(sample.input_ids.size());
    ++counts.samples;
    counts.tokens += length;
    counts.trained_tokens += train::count_trained_tokens(sample);
    counts.longest = std::max(counts.longest, length);
  }
  return counts;
}

std::optional<text::Tokenizer> load_tokenizer(const fs::path& model) {
  if (fs::is_directory(model) && !fs::exists(model / "tokenizer.json"))
    return std::nullopt;
  return text::Tokenizer::load(model);
}

text::Dataset read_samples(const DataFlags& flags, const text::Tokenizer* tokenizer,
                           int64_t vocab_size, DataPart part) {
  text::DatasetOptions options;
  options.loss_on = loss_on(flags.loss_on);
  options.max_seq_len = flags.max_seq_len;
  options.raw = flags.raw;
  options.vocab_size = vocab_size;
  return text::read_dataset(data_file(flags.path, part), tokenizer, options);
}

std::vector<text::Sample> split_off(std::vector<text::Sample>& samples, double share,
                                    int64_t seed) {
  const auto all = static_cast<int64_t>(samples.size());
  const auto wanted = std::max<int64_t>(1, std::llround(share * static_cast<double>(all)));
  GRAFT_CHECK(wanted < all, ConfigError, "train: --val-split takes ", wanted, " of ", all,
              " samples and leaves none to train on; give --val-data or more samples");
  train::Sampler sampler(all, static_cast<uint64_t>(seed) + split_seed, true);
  std::vector<bool> taken(samples.size(), false);
  for (const int64_t index : sampler.next(wanted))
    taken[static_cast<size_t>(index)] = true;
  std::vector<text::Sample> kept, split;  // both in the order of the file
  for (size_t i = 0; i < samples.size(); ++i)
    (taken[i] ? split : kept).push_back(std::move(samples[i]));
  samples = std::move(kept);
  return split;
}

std::vector<int64_t> lengths_of(const std::vector<text::Sample>& samples) {
  std::vector<int64_t> lengths;
  for (const text::Sample& sample : samples)
    lengths.push_back(std::ssize(sample.input_ids));
  return lengths;
}

void warn_of_long_inputs(const std::string& source, const std::vector<int64_t>& lengths,
                         int64_t positions, const std::string& remedy) {
  const auto is_long = [&](int64_t length) { return length > positions; };
  const int64_t count = std::ranges::count_if(lengths, is_long);
  if (count == 0)
    return;
  warn(source + ": " + counted(count, "sample") + (count == 1 ? " is" : " are") +
       " longer than the " + grouped(positions) + " positions that the model was made for (the " +
       "longest has " + counted(std::ranges::max(lengths), "token") + "); " + remedy);
}

}  // namespace graft::cli
