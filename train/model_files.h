// The weights of a checkpoint in the forms that others read too: an adapter's folder as PEFT has
// it, a model's folder as transformers has it. So each checkpoint can be used like a result.
#pragma once

#include <filesystem>
#include <string>

#include "graft/nn/causal_lm.h"
#include "graft/peft/peft_model.h"
#include "graft/train/checkpoint.h"

namespace graft::train {

/// One adapter of a PeftModel, as save_pretrained writes it. The model must outlive this.
class AdapterFiles final : public Checkpointable {
 public:
  /// The adapter must be active and trained.
  explicit AdapterFiles(peft::PeftModel& model, std::string name = "default");
  void save(const std::filesystem::path& folder) const override;
  void load(const std::filesystem::path& folder) override;

 private:
  peft::PeftModel& model_;
  std::string name_;
};

/// A whole model whose weights are trained, as models::save_pretrained writes it in the dtype the
/// weights are held in. The model must outlive this.
class ModelFiles final : public Checkpointable {
 public:
  explicit ModelFiles(nn::CausalLM& model) : model_(model) {}
  void save(const std::filesystem::path& folder) const override;
  void load(const std::filesystem::path& folder) override;

 private:
  nn::CausalLM& model_;
};

}  // namespace graft::train
