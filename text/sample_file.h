// SampleFile: the samples of a data file of any size.
//
// The file is read once from front to back, which finds every fault and counts every token. Of
// each sample 48 bytes are kept; the samples themselves too as long as they fit a given room, the
// others are made again from the file whenever they are asked for. Each is the same bits each time:
// a record that has changed in the meantime is an error.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "graft/text/dataset.h"
#include "graft/text/sample_source.h"

namespace graft::text {

struct SampleFileOptions {
  /// Bytes of token ids and labels that are kept in memory.
  int64_t room = int64_t{256} << 20;
  /// Called now and then while the file is read, with the bytes done and their number; returns
  /// false to give up, which is thrown as a ConfigError.
  std::function<bool(int64_t done, int64_t total)> progress{};
};

class SampleFile final : public SampleSource {
 public:
  /// Reads the file. `tokenizer` must outlive this; it may be null for tokenised records. Throws as
  /// read_dataset does.
  SampleFile(const std::filesystem::path& path, const Tokenizer* tokenizer,
             const DatasetOptions& options, const SampleFileOptions& file_options = {});

  int64_t size() const override { return static_cast<int64_t>(entries_.size()); }
  SampleInfo info(int64_t index) const override;
  Sample sample(int64_t index) const override;
  int64_t id_limit() const override { return id_limit_; }
  std::string checksum() const override { return checksum_; }

  const std::filesystem::path& path() const { return path_; }
  RecordFormat format() const { return reader_.format(); }
  FileKind kind() const { return reader_.kind(); }
  LossOn loss_on() const { return reader_.loss_on(); }
  bool uses_chat_template() const { return reader_.uses_chat_template(); }
  const DatasetStats& stats() const { return reader_.stats(); }
  /// Samples that are kept in memory: the first ones.
  int64_t samples_in_memory() const { return static_cast<int64_t>(kept_.size()); }
  /// Bytes that this holds, without the tokenizer.
  int64_t bytes_in_memory() const;

 private:
  /// Of a sample; SampleOrigin in less room.
  struct Entry {
    int64_t offset, line;
    uint64_t checksum;
    int64_t first;  // token of the record
    uint32_t size;  // of the record, below 2^31
    uint32_t tokens, trained;
    bool begins, ends;
  };
  void add(const Sample& sample);
  void keep(Sample sample);

  std::filesystem::path path_;
  DatasetReader reader_;
  int64_t room_;
  std::vector<Entry> entries_;
  std::vector<Sample> kept_;
  int64_t kept_bytes_ = 0;
  bool is_full_ = false;
  int64_t id_limit_ = 0;
  std::string checksum_;
};

}  // namespace graft::text
