#include "graft/cli/eval_samples.h"

#include <numeric>
#include <utility>

#include "graft/cli/terminal.h"
#include "graft/tensor/error.h"

namespace graft::cli {
namespace {

std::unique_ptr<const text::SampleFile> read_file(DataFlags flags,
                                                  const std::filesystem::path& file,
                                                  const text::Tokenizer* tokenizer,
                                                  int64_t vocab_size) {
  flags.path = file.string();
  return read_samples(flags, tokenizer, vocab_size, text::DataPart::valid);
}

}  // namespace

std::filesystem::path eval_file(const std::filesystem::path& path) {
  const bool only_test = !text::find_data_file(path, text::DataPart::valid) &&
                         text::find_data_file(path, text::DataPart::test);
  return text::data_file(path, only_test ? text::DataPart::test : text::DataPart::valid);
}

EvalSamples::EvalSamples(DataFlags flags, std::optional<int64_t> limit,
                         const std::filesystem::path& file, const text::Tokenizer* tokenizer,
                         const nn::ModelInfo& info)
    : max_seq_len_(flags.max_seq_len),
      file_(read_file(std::move(flags), file, tokenizer, info.vocab_size)) {
  if (limit && *limit < file_->size()) {
    std::vector<int64_t> first(static_cast<size_t>(*limit));
    std::iota(first.begin(), first.end(), int64_t{0});
    limited_ = std::make_unique<text::SamplePart>(*file_, std::move(first), file_->checksum());
  }
  warn_of_long_inputs(file.string(), lengths_of(samples()), info.max_positions,
                      concat("--max-seq-len ", info.max_positions, " cuts them"));
}

std::string EvalSamples::text() const {
  const SampleCounts counts = count(samples());
  return concat(text::name_of(file_->format()), ", loss on ", text::name_of(file_->loss_on()),
                "; ") +
         counted(counts.samples, "sample") + ", " + counted(counts.trained_tokens, "token") +
         " with a loss" + losses_text(file_->stats(), max_seq_len_);
}

}  // namespace graft::cli
