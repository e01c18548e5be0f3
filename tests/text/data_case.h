// A data file and a small tokenizer to read it with, so that masks can be read.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "graft/tests/text/small_chat.h"
#include "graft/text/dataset.h"

namespace graft::text {

class DataCase {
 public:
  explicit DataCase(const std::string& content, const std::string& chat_template = turns_template,
                    const std::string& name = "data.jsonl")
      : name_(name) {
    write_small_tokenizer(folder_.path(), chat_template);
    write_text(file(), content);
    tokenizer_.emplace(Tokenizer::load(folder_.path()));
  }

  Dataset read(const DatasetOptions& options = {}) const {
    return read_dataset(file(), &*tokenizer_, options);
  }
  /// Every sample as masked text, one a line.
  std::string masks(const DatasetOptions& options = {}) const {
    std::string text;
    for (const Sample& sample : read(options).samples)
      text += masked_text(*tokenizer_, sample) + "\n";
    return text;
  }
  std::string refusal(const DatasetOptions& options = {}) const {
    return test::message_of<FormatError>([&] { read(options); });
  }
  std::string wrong_setting(const DatasetOptions& options) const {
    return test::message_of<ConfigError>([&] { read(options); });
  }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  std::filesystem::path file() const { return folder_ / name_; }

 private:
  test::TemporaryFolder folder_;
  std::string name_;
  std::optional<Tokenizer> tokenizer_;
};

}  // namespace graft::text
