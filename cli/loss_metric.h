// LossMetric: mean loss and perplexity over the tokens that training would learn.
#pragma once

#include "graft/cli/eval_flags.h"
#include "graft/cli/eval_samples.h"
#include "graft/cli/metric.h"
#include "graft/train/evaluate.h"

namespace graft::cli {

class LossMetric final : public Metric {
 public:
  /// Reads the file. Refers to the flags and to the tokenizer, which may be null for tokenised
  /// records. Throws as read_samples does.
  LossMetric(const EvalFlags& flags, const std::filesystem::path& file,
             const text::Tokenizer* tokenizer, const nn::ModelInfo& info);

  bool measure(const nn::CausalLM& model) override;
  std::vector<std::pair<std::string, std::string>> heading() const override;
  std::string text(size_t which) const override;
  std::string difference() const override;
  io::Json json(size_t which) const override;
  int64_t records() const override { return data_.samples().size(); }
  io::Json record(int64_t index) const override;

 private:
  struct Measured {
    train::Evaluation evaluation;
    /// Of each sample the losses of its tokens, where somebody wants to see them.
    std::vector<std::vector<float>> losses;
  };
  std::vector<std::string> pieces_of(const text::Sample& sample) const;

  const EvalFlags& flags_;
  const text::Tokenizer* tokenizer_;
  EvalSamples data_;
  std::vector<Measured> measured_;
};

}  // namespace graft::cli
