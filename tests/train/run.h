// What the tests of train share: small models with all that a run needs, samples, a watcher.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graft/models/load.h"
#include "graft/optim/adamw.h"
#include "graft/peft/peft_model.h"
#include "graft/tests/support/test.h"
#include "graft/train/model_files.h"
#include "graft/train/trainer.h"

namespace graft::train {

/// The samples of a file of tests/golden or of the test data: {"input_ids", "labels"} a line.
std::vector<text::Sample> read_samples(const std::filesystem::path& path);

/// The 48 samples of the golden runs, or the first few of them.
std::vector<text::Sample> golden_samples(size_t count = 48);

/// A tiny Llama under a LoRA with an optimizer; equal ones start with equal numbers.
struct TinyRun {
  explicit TinyRun(double dropout = 0.1, double lr = 1e-2);

  std::unique_ptr<nn::CausalLM> base;
  peft::PeftModel model;
  optim::AdamW adamw;
  AdapterFiles files;
};

/// The values of all that an optimizer trains and remembers, copied.
std::vector<Tensor> numbers_of(const optim::Optimizer& optimizer);
/// True where two lists hold the same bits.
bool same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b);

/// Keeps all it is told, and asks to stop when it was told to.
class Watcher final : public Observer {
 public:
  void on_warning(const std::string& message) override { warnings.push_back(message); }
  void on_phase(Phase phase) override { phases.push_back(phase); }
  void on_progress(int64_t done, int64_t total) override {
    if (on_evaluation_batch)
      on_evaluation_batch(done, total);
  }
  void on_step(const StepRecord& record) override {
    steps.push_back(record);
    if (after_step)
      after_step(record);
  }
  void on_evaluation(const EvaluationRecord& record) override { evaluations.push_back(record); }
  void on_checkpoint(const CheckpointRecord& record) override { checkpoints.push_back(record); }
  Request request() override { return wish; }

  std::vector<std::string> warnings;
  std::vector<Phase> phases;
  std::vector<StepRecord> steps;
  std::vector<EvaluationRecord> evaluations;
  std::vector<CheckpointRecord> checkpoints;
  std::function<void(const StepRecord&)> after_step;
  std::function<void(int64_t, int64_t)> on_evaluation_batch;
  Request wish = Request::none;
};

}  // namespace graft::train
