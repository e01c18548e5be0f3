// Samples by number: a list in memory, or a source that makes each when it is asked for, so that
// data may be larger than memory. Header only, so that graft-core can use it without graft-text.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/text/sample.h"

namespace graft::text {

/// What is known of a sample without making it.
struct SampleInfo {
  int64_t line = 0;            ///< of the data file; 0 where it comes from none
  int64_t tokens = 0;          ///< input_ids
  int64_t trained_tokens = 0;  ///< see count_trained_tokens
};

/// Samples that have been read and checked once: none is empty or without a trained token, and all
/// ids lie in [0, id_limit()). Immutable; may be asked from several threads.
class SampleSource {
 public:
  virtual ~SampleSource() = default;
  virtual int64_t size() const = 0;
  /// Takes constant time.
  virtual SampleInfo info(int64_t index) const = 0;
  /// The same sample each time. Throws IoError, or FormatError where its file has changed since.
  virtual Sample sample(int64_t index) const = 0;
  /// One more than the largest id.
  virtual int64_t id_limit() const = 0;
  /// A checksum of all ids and labels in their order.
  virtual std::string checksum() const = 0;
};

/// Refers to a list or to a source, either of which must outlive it; cheap to copy. What takes
/// samples takes this, and is given a vector as well.
class Samples {
 public:
  Samples() = default;
  Samples(std::span<const Sample> list) : list_(list) {}
  Samples(std::span<Sample> list) : list_(list) {}
  Samples(const std::vector<Sample>& list) : list_(list) {}
  Samples(const SampleSource& source) : source_(&source) {}

  int64_t size() const {
    return source_ != nullptr ? source_->size() : static_cast<int64_t>(list_.size());
  }
  bool empty() const { return size() == 0; }
  SampleInfo info(int64_t index) const {
    if (source_ != nullptr)
      return source_->info(index);
    const Sample& sample = list_[static_cast<size_t>(index)];
    return {sample.line, static_cast<int64_t>(sample.input_ids.size()),
            count_trained_tokens(sample)};
  }
  Sample sample(int64_t index) const {
    return source_ != nullptr ? source_->sample(index) : list_[static_cast<size_t>(index)];
  }
  /// nullptr for a list.
  const SampleSource* source() const { return source_; }
  /// Empty for a source.
  std::span<const Sample> list() const { return list_; }

 private:
  std::span<const Sample> list_;
  const SampleSource* source_ = nullptr;
};

/// Some of the samples of a source, which must outlive it.
class SamplePart final : public SampleSource {
 public:
  /// `checksum` is that of these samples, or says how they were chosen from the source.
  SamplePart(const SampleSource& source, std::vector<int64_t> indices, std::string checksum)
      : source_(&source), indices_(std::move(indices)), checksum_(std::move(checksum)) {}

  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  SampleInfo info(int64_t index) const override {
    return source_->info(indices_[static_cast<size_t>(index)]);
  }
  Sample sample(int64_t index) const override {
    return source_->sample(indices_[static_cast<size_t>(index)]);
  }
  int64_t id_limit() const override { return source_->id_limit(); }
  std::string checksum() const override { return checksum_; }

 private:
  const SampleSource* source_;
  std::vector<int64_t> indices_;
  std::string checksum_;
};

}  // namespace graft::text
