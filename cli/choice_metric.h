// ChoiceMetric: the share of multiple-choice questions whose right choice is the likeliest.
//
// The convention is lm-eval's: a choice's log-likelihood is the sum over its tokens behind the
// context. `acc` takes the choice with the largest, `acc_norm` the one with the largest per
// character; of equals the first.
#pragma once

#include "graft/cli/eval_flags.h"
#include "graft/cli/metric.h"
#include "graft/text/choice_file.h"

namespace graft::cli {

class ChoiceMetric final : public Metric {
 public:
  /// Reads the file. Refers to the flags. Throws as text::read_choices does.
  ChoiceMetric(const EvalFlags& flags, const std::filesystem::path& file,
               const text::Tokenizer& tokenizer, const nn::ModelInfo& info);

  bool measure(const nn::CausalLM& model) override;
  std::vector<std::pair<std::string, std::string>> heading() const override;
  std::string text(size_t which) const override;
  std::string difference() const override;
  io::Json json(size_t which) const override;
  int64_t records() const override { return std::ssize(file_.questions); }
  io::Json record(int64_t index) const override;

 private:
  struct Measured {
    std::vector<double> log_likelihoods;  // of the samples: all choices of all questions
    std::vector<size_t> pick{}, pick_norm{};
    std::vector<bool> correct{}, correct_norm{};
  };
  void judge(Measured& measured) const;
  io::Json pick_json(const Measured& measured, size_t index) const;

  const EvalFlags& flags_;
  const text::Prompter prompter_;
  text::ChoiceFile file_;
  std::vector<Measured> measured_;
};

}  // namespace graft::cli
