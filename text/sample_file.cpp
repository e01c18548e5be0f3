#include "graft/text/sample_file.h"

#include <algorithm>
#include <utility>

#include "graft/io/checksum.h"

namespace graft::text {
namespace {

int64_t bytes_of(const Sample& sample) {
  return static_cast<int64_t>(
      (sample.input_ids.capacity() + sample.labels.capacity()) * sizeof(int64_t) + sizeof(Sample));
}

}  // namespace

SampleFile::SampleFile(const std::filesystem::path& path, const Tokenizer* tokenizer,
                       const DatasetOptions& options, const SampleFileOptions& file_options)
    : path_(path), reader_(path, tokenizer, options), room_(file_options.room) {
  constexpr int64_t calls_apart = 64;
  io::Checksum checksum;
  while (auto sample = reader_.next()) {
    checksum.add(std::span<const int64_t>(sample->input_ids));
    checksum.add(std::span<const int64_t>(sample->labels));
    add(*sample);
    keep(std::move(*sample));
    GRAFT_CHECK(!file_options.progress || size() % calls_apart != 0 ||
                    file_options.progress(reader_.bytes_done(), reader_.file_bytes()),
                ConfigError, "data: reading ", path.string(), " was given up");
  }
  if (entries_.empty())
    throw no_samples(reader_, path, options);
  entries_.shrink_to_fit();
  kept_.shrink_to_fit();
  checksum_ = checksum.text();
}

void SampleFile::add(const Sample& sample) {
  const SampleOrigin& origin = reader_.origin();
  entries_.push_back({.offset = origin.record.offset,
                      .line = origin.record.line,
                      .checksum = origin.checksum,
                      .first = origin.tokens.first,
                      .size = static_cast<uint32_t>(origin.record.size),
                      .tokens = static_cast<uint32_t>(origin.tokens.count),
                      .trained = static_cast<uint32_t>(count_trained_tokens(sample)),
                      .begins = origin.record.begins,
                      .ends = origin.record.ends});
  id_limit_ = std::max(id_limit_, std::ranges::max(sample.input_ids) + 1);
  id_limit_ = std::max(id_limit_, std::ranges::max(sample.labels) + 1);
}

void SampleFile::keep(Sample sample) {
  const int64_t bytes = bytes_of(sample);
  is_full_ = is_full_ || kept_bytes_ + bytes > room_;
  if (is_full_)
    return;
  kept_bytes_ += bytes;
  kept_.push_back(std::move(sample));
}

SampleInfo SampleFile::info(int64_t index) const {
  const Entry& entry = entries_[static_cast<size_t>(index)];
  return {entry.line, entry.tokens, entry.trained};
}

Sample SampleFile::sample(int64_t index) const {
  if (index < samples_in_memory())
    return kept_[static_cast<size_t>(index)];
  const Entry& entry = entries_[static_cast<size_t>(index)];
  return reader_.read_again({.record = {.offset = entry.offset,
                                        .size = entry.size,
                                        .line = entry.line,
                                        .begins = entry.begins,
                                        .ends = entry.ends},
                             .checksum = entry.checksum,
                             .tokens = {entry.first, entry.tokens}});
}

int64_t SampleFile::bytes_in_memory() const {
  return static_cast<int64_t>(entries_.capacity() * sizeof(Entry)) + kept_bytes_;
}

}  // namespace graft::text
