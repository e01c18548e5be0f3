#include "graft/cli/training_data.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "graft/cli/terminal.h"
#include "graft/io/checksum.h"
#include "graft/models/load.h"
#include "graft/tensor/error.h"
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

std::optional<text::Overlong> overlong(const std::string& word) {
  for (const text::Overlong value :
       {text::Overlong::cut, text::Overlong::drop, text::Overlong::split})
    if (text::name_of(value) == word)
      return value;
  return std::nullopt;
}

/// "prompt=query,completion=response".
std::map<std::string, std::string> columns(const std::string& text) {
  std::map<std::string, std::string> result;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string pair = text.substr(begin, end - begin);
    const size_t equals = pair.find('=');
    GRAFT_CHECK(equals != pair.npos && equals > 0 && equals + 1 < pair.size(), ConfigError,
                "data: --columns is '", text,
                "', expected pairs NAME=KEY with commas between, "
                "such as prompt=query,completion=response");
    const bool is_new = result.emplace(pair.substr(0, equals), pair.substr(equals + 1)).second;
    GRAFT_CHECK(is_new, ConfigError, "data: --columns names '", pair.substr(0, equals), "' twice");
    begin = end + 1;
  }
  return result;
}

/// A new source over some samples of another.
std::unique_ptr<text::SamplePart> part_of(const text::SampleSource& samples,
                                          std::vector<int64_t> indices) {
  io::Checksum checksum;
  checksum.add(samples.checksum());
  checksum.add(std::span<const int64_t>(indices));
  return std::make_unique<text::SamplePart>(samples, std::move(indices), checksum.text());
}

}  // namespace

void add_data_flags(Flags& flags, DataFlags& values) {
  flags.group("Data");
  flags.add("data", values.path, "FILE|DIR",
            "a .jsonl or .json file of messages, sharegpt, alpaca, prompts and completions, "
            "questions and answers, texts or input_ids; a .txt file; or a folder with train and "
            "valid files");
  add_sample_flags(flags, values);
}

std::vector<std::string> add_sample_flags(Flags& flags, DataFlags& values) {
  flags.choice("loss-on", values.loss_on, {"auto", "assistant", "completion", "all"},
               "which tokens are learnt; auto: assistant turns, completions, or all of a text");
  flags.add("raw", values.raw, "join prompts and completions without the chat template");
  add_template_flags(flags, values.chat_template, true);
  flags.add("max-seq-len", values.max_seq_len, "N", "tokens of the longest sample",
            {2, most_tokens});
  flags.choice("overlong", values.overlong, {"auto", "cut", "drop", "split"},
               "what becomes of longer ones; auto: text files are split, others cut at the end");
  flags.add("columns", values.columns, "NAME=KEY,...",
            "keys of the file's own, e.g. prompt=query,completion=response");
  return {"loss-on",     "raw",      "chat-template", "chat-template-kwargs",
          "max-seq-len", "overlong", "columns"};
}

text::DatasetOptions dataset_options(const DataFlags& flags, int64_t vocab_size) {
  return {.loss_on = loss_on(flags.loss_on),
          .max_seq_len = flags.max_seq_len,
          .overlong = overlong(flags.overlong),
          .raw = flags.raw,
          .template_variables = template_variables(flags.chat_template),
          .needs_template = flags.chat_template.any(),
          .columns = columns(flags.columns),
          .vocab_size = vocab_size};
}

SampleCounts count(const text::Samples& samples) {
  SampleCounts counts{.samples = samples.size()};
  for (int64_t i = 0; i < samples.size(); ++i) {
    const text::SampleInfo info = samples.info(i);
    counts.tokens += info.tokens;
    counts.trained_tokens += info.trained_tokens;
    counts.longest = std::max(counts.longest, info.tokens);
  }
  return counts;
}

std::string counts_text(const SampleCounts& counts) {
  return counted(counts.samples, "sample") + ", " + counted(counts.tokens, "token") + ", " +
         grouped(counts.trained_tokens) + " of them learnt (" +
         percent_text(counts.trained_tokens, counts.tokens) + "), the longest sample has " +
         grouped(counts.longest);
}

std::string losses_text(const text::DatasetStats& stats, int64_t max_seq_len) {
  const std::string limit = grouped(max_seq_len);
  std::string text;
  if (stats.cut_samples > 0)
    text += "; " + counted(stats.cut_samples, "sample") + " cut to " + limit + " (" +
            counted(stats.cut_tokens, "token") + " left out)";
  if (stats.split_records > 0)
    text += "; " + counted(stats.split_records, "record") + " split into samples of " + limit;
  if (stats.dropped_long > 0)
    text += "; " + counted(stats.dropped_long, "record") + " dropped, longer than " + limit;
  if (stats.dropped_unlearnable > 0)
    text += "; " + counted(stats.dropped_unlearnable, "record") +
            " dropped, as all that is learnt stands behind token " + limit;
  if (stats.dropped_pieces > 0)
    text += "; " + counted(stats.dropped_pieces, "piece") + " dropped, with nothing to learn";
  if (stats.without_stop > 0)
    text += "; " + counted(stats.without_stop, "record") +
            " without a stop token: from those the model does not learn to stop";
  return text;
}

io::Json losses_json(const text::DatasetStats& stats) {
  return {{"records", stats.records},
          {"cut", stats.cut_samples},
          {"cut_tokens", stats.cut_tokens},
          {"split", stats.split_records},
          {"dropped", stats.dropped()},
          {"dropped_long", stats.dropped_long},
          {"dropped_unlearnable", stats.dropped_unlearnable},
          {"dropped_pieces", stats.dropped_pieces},
          {"dropped_tokens", stats.dropped_tokens},
          {"without_stop", stats.without_stop}};
}

std::optional<text::Tokenizer> load_tokenizer(const fs::path& model,
                                              const TemplateFlags& chat_template) {
  if (!fs::exists(model))
    models::require_model(model);  // one that is there may be a tokenizer alone
  const auto has = [&](const char* name) { return fs::exists(model / name); };
  if (fs::is_directory(model) && !has("tokenizer.json") && !has("vocab.json") &&
      !has("tokenizer.model"))
    return std::nullopt;
  std::optional<text::Tokenizer> tokenizer = text::Tokenizer::load(model);
  choose_template(chat_template, *tokenizer);
  return tokenizer;
}

std::unique_ptr<text::SampleFile> read_samples(const DataFlags& flags,
                                               const text::Tokenizer* tokenizer, int64_t vocab_size,
                                               text::DataPart part) {
  const fs::path path = text::data_file(flags.path, part);
  text::SampleFileOptions options;
  const bool interactive = terminal_of(2).interactive;
  if (interactive)
    options.progress = [&](int64_t done, int64_t total) {
      std::cerr << "\r\x1b[Kreading " << shown(path.filename().string()) << ": "
                << percent_text(done, total) << std::flush;
      return true;
    };
  const auto clear = [&] {
    if (interactive)
      std::cerr << "\r\x1b[K" << std::flush;
  };
  try {
    auto file = std::make_unique<text::SampleFile>(path, tokenizer,
                                                   dataset_options(flags, vocab_size), options);
    clear();
    return file;
  } catch (...) {
    clear();
    throw;
  }
}

SampleSplit split_off(const text::SampleSource& samples, double share, int64_t seed) {
  const int64_t all = samples.size();
  const auto wanted = std::max<int64_t>(1, std::llround(share * static_cast<double>(all)));
  GRAFT_CHECK(wanted < all, ConfigError, "train: --val-split takes ", wanted, " of ", all,
              " samples and leaves none to train on; give --val-data or more samples");
  train::Sampler sampler(all, static_cast<uint64_t>(seed) + split_seed, true);
  std::vector<bool> is_taken(static_cast<size_t>(all), false);
  for (const int64_t index : sampler.next(wanted))
    is_taken[static_cast<size_t>(index)] = true;
  std::vector<int64_t> kept, taken;  // both in the order of the file
  for (int64_t i = 0; i < all; ++i)
    (is_taken[static_cast<size_t>(i)] ? taken : kept).push_back(i);
  return {part_of(samples, std::move(kept)), part_of(samples, std::move(taken))};
}

std::vector<int64_t> lengths_of(const text::Samples& samples) {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < samples.size(); ++i)
    lengths.push_back(samples.info(i).tokens);
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
