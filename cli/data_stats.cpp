#include "graft/cli/data_stats.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <vector>

#include "graft/cli/terminal.h"
#include "graft/io/checksum.h"
#include "graft/train/options.h"

namespace graft::cli {
namespace {

/// How long the samples of a file are, and what a run makes of them.
struct FileStats {
  std::filesystem::path path;
  text::RecordFormat format;
  text::LossOn loss_on;
  bool chat_template;
  bool is_plain;
  text::DatasetStats stats;
  std::vector<int64_t> lengths;  // ascending
  int64_t rows;
  int64_t steps;
  int64_t repeated;     // samples that an earlier one of the file equals
  int64_t in_training;  // samples that the first file has too
};

uint64_t checksum_of(const text::Sample& sample) {
  io::Checksum checksum;
  checksum.add(std::span<const int64_t>(sample.input_ids));
  return checksum.value();
}

/// The length that `percent` of the samples do not exceed.
int64_t percentile(const std::vector<int64_t>& ascending, double percent) {
  const auto count = static_cast<double>(ascending.size());
  const auto rank = static_cast<size_t>(std::ceil(percent / 100 * count));
  return ascending[std::clamp<size_t>(rank, 1, ascending.size()) - 1];
}

/// `training`: the checksums of the first file, ascending; the first file fills them in.
FileStats stats_of(const DataVerb& verb, const std::filesystem::path& path,
                   std::vector<uint64_t>& training, bool is_first) {
  DataFlags flags = verb.values.data;
  flags.path = path.string();
  const auto file = read_samples(flags, verb.tokenizer, verb.vocab_size, text::DataPart::train);
  FileStats result{.path = path,
                   .format = file->format(),
                   .loss_on = file->loss_on(),
                   .chat_template = file->uses_chat_template(),
                   .is_plain = file->kind() == text::FileKind::plain,
                   .stats = file->stats(),
                   .lengths = lengths_of(*file),
                   .rows = 0,
                   .steps = 0,
                   .repeated = 0,
                   .in_training = 0};
  std::ranges::sort(result.lengths);
  train::TrainOptions options;
  options.batch_size = verb.values.batch_size;
  options.grad_accum = verb.values.grad_accum;
  options.epochs = verb.values.epochs;
  options.row_tokens = verb.values.packing ? flags.max_seq_len : 0;
  result.rows = train::rows_of(*file, options).size();
  result.steps = train::total_steps(options, result.rows);
  std::vector<uint64_t> checksums;
  checksums.reserve(static_cast<size_t>(file->size()));
  for (int64_t i = 0; i < file->size(); ++i) {
    checksums.push_back(checksum_of(file->sample(i)));
    result.in_training += std::ranges::binary_search(training, checksums.back());
  }
  std::ranges::sort(checksums);
  const auto repeated = std::ranges::unique(checksums);
  result.repeated = std::ssize(repeated);
  if (is_first) {
    checksums.erase(repeated.begin(), repeated.end());
    training = std::move(checksums);
  }
  return result;
}

constexpr std::array percents = {0.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 100.0};

std::string percent_name(double percent) {
  return percent == 0 ? "min" : percent == 100 ? "max" : concat("p", percent);
}

/// Lengths in up to so many ranges of the same width, as bars.
std::string histogram(const std::vector<int64_t>& lengths, const Terminal& terminal) {
  constexpr int64_t most_ranges = 16;
  const int64_t longest = lengths.back();
  // A power of two, such as the limits of samples are.
  const auto width = static_cast<int64_t>(
      std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(1, longest / most_ranges))));
  std::vector<int64_t> counts(static_cast<size_t>((longest - 1) / width) + 1);
  for (const int64_t length : lengths)
    ++counts[static_cast<size_t>((length - 1) / width)];
  const int64_t largest = std::ranges::max(counts);
  std::string text;
  for (size_t i = static_cast<size_t>((lengths.front() - 1) / width); i < counts.size(); ++i) {
    const auto first = static_cast<int64_t>(i) * width + 1;
    std::string range = grouped(first) + "-" + grouped(first + width - 1);
    range = std::string(static_cast<size_t>(std::max(0, 15 - display_width(range))), ' ') + range;
    const int columns = std::max(10, std::min(terminal.columns, 100) - 30);
    const auto bar = static_cast<size_t>(
        std::ceil(static_cast<double>(counts[i]) * columns / static_cast<double>(largest)));
    std::string blocks;
    for (size_t j = 0; j < bar; ++j)
      blocks += "█";
    text += "  " + terminal.dim(range) + " " + blocks + (bar > 0 ? " " : "") + grouped(counts[i]) +
            "\n";
  }
  return text;
}

std::string percentiles_text(const std::vector<int64_t>& lengths) {
  std::string text;
  for (const double percent : percents)
    text += (text.empty() ? "" : ", ") + percent_name(percent) + " " +
            grouped(percentile(lengths, percent));
  return text;
}

std::string steps_text(const DataVerbFlags& values, const FileStats& of) {
  const std::string packed =
      values.packing
          ? counted(of.rows, "row") + " of " + grouped(values.data.max_seq_len) + " tokens, " +
                percent_text(of.stats.tokens, of.rows * values.data.max_seq_len) + " full; "
          : "";
  return packed + counted(of.steps, "step") + " for " + number_text(values.epochs) +
         (values.epochs == 1 ? " epoch" : " epochs") + " of batches of " +
         grouped(values.batch_size * values.grad_accum);
}

void print(const DataVerbFlags& values, const FileStats& of, bool is_first,
           const Terminal& terminal) {
  Panel panel("graft data stats " + of.path.string());
  panel.row("format", concat(text::name_of(of.format), ", loss on ", text::name_of(of.loss_on),
                             of.chat_template ? ", through the model's chat template" : ""));
  panel.row("samples", grouped(of.stats.samples) + " of " +
                           counted(of.stats.records, of.is_plain ? "document" : "record"));
  panel.row("tokens", grouped(of.stats.tokens) + ", " + grouped(of.stats.trained_tokens) +
                          " of them learnt (" +
                          percent_text(of.stats.trained_tokens, of.stats.tokens) + ")");
  const std::string losses = losses_text(of.stats, values.data.max_seq_len);
  panel.row("left out", losses.empty() ? "nothing" : losses.substr(2));
  if (of.stats.longest > values.data.max_seq_len)
    panel.row("longest", counted(of.stats.longest, "token") + " before that");
  if (of.repeated > 0)
    panel.row("repeated", counted(of.repeated, "sample") + " equal to an earlier one");
  if (of.in_training > 0)
    panel.row("overlap", counted(of.in_training, "sample") +
                             " that the training data has too: a loss on them says little");
  if (is_first)
    panel.row("steps", steps_text(values, of));
  panel.row("lengths", percentiles_text(of.lengths));
  std::cout << panel.text(terminal) << "\n" << histogram(of.lengths, terminal);
}

io::Json json_of(const FileStats& of) {
  io::Json json = {{"file", of.path.string()},
                   {"format", text::name_of(of.format)},
                   {"loss_on", text::name_of(of.loss_on)},
                   {"chat_template", of.chat_template},
                   {"samples", of.stats.samples},
                   {"tokens", of.stats.tokens},
                   {"trained_tokens", of.stats.trained_tokens},
                   {"longest", of.stats.longest},
                   {"rows", of.rows},
                   {"steps", of.steps},
                   {"repeated", of.repeated},
                   {"in_training", of.in_training}};
  json.update(losses_json(of.stats));
  for (const double percent : percents)
    json["lengths"][percent_name(percent)] = percentile(of.lengths, percent);
  return json;
}

}  // namespace

ExitCode data_stats(const DataVerb& verb) {
  const Terminal terminal = terminal_of(1);
  std::vector<uint64_t> training;
  io::Json files = io::Json::array();
  for (const std::filesystem::path& path : verb.files) {
    const bool is_first = path == verb.files.front();
    const FileStats stats = stats_of(verb, path, training, is_first);
    if (verb.values.json)
      files.push_back(json_of(stats));
    else
      print(verb.values, stats, is_first, terminal);
  }
  if (verb.values.json)
    std::cout << io::to_text({{"files", files}}) << "\n";
  return ExitCode::done;
}

}  // namespace graft::cli
