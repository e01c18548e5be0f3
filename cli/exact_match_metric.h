// ExactMatchMetric: the share of records whose greedy answer is the expected one.
#pragma once

#include "graft/cli/eval_flags.h"
#include "graft/cli/metric.h"
#include "graft/text/answer_match.h"
#include "graft/text/prompt_file.h"

namespace graft::cli {

class ExactMatchMetric final : public Metric {
 public:
  /// Reads the file. Refers to the flags and to the tokenizer. Throws as text::read_prompts does,
  /// and FormatError where --answer-pattern finds nothing in an expected answer.
  ExactMatchMetric(const EvalFlags& flags, const std::filesystem::path& file,
                   const text::Tokenizer& tokenizer, const nn::ModelInfo& info);

  bool measure(const nn::CausalLM& model) override;
  std::vector<std::pair<std::string, std::string>> heading() const override;
  std::string text(size_t which) const override;
  std::string difference() const override;
  io::Json json(size_t which) const override;
  int64_t records() const override { return std::ssize(file_.prompts); }
  io::Json record(int64_t index) const override;

 private:
  struct Measured {
    std::vector<Answer> answers;                         // in the order of the file
    std::vector<std::optional<std::string>> compared{};  // what is compared of them
    std::vector<bool> correct{};
    int64_t cut = 0;        // at --max-new-tokens, or at the model's last position
    int64_t unmatched = 0;  // in which --answer-pattern finds nothing
  };
  std::optional<std::string> compared(const std::string& text, size_t index) const;
  void judge(Measured& measured) const;
  io::Json answer_json(const Measured& measured, size_t index) const;

  const EvalFlags& flags_;
  const text::Tokenizer& tokenizer_;
  const std::string path_;
  const text::Prompter prompter_;
  const text::AnswerMatch match_;
  text::PromptFile file_;
  std::vector<std::string> expected_;  // what is compared of the expected answers
  std::vector<Measured> measured_;
};

}  // namespace graft::cli
