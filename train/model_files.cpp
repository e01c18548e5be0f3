#include "graft/train/model_files.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "graft/io/tensor_source.h"
#include "graft/models/save.h"

namespace graft::train {
namespace {

/// Replaces the values of all variables at once.
void set_values(std::vector<NamedVariable>& variables, std::vector<Tensor> values) {
  for (size_t i = 0; i < variables.size(); ++i)
    variables[i].variable.set_value(std::move(values[i]));
}

}  // namespace

AdapterFiles::AdapterFiles(peft::PeftModel& model, std::string name)
    : model_(model), name_(std::move(name)) {
  const std::vector<std::string> active = model_.active_adapters();
  const bool trained =
      std::ranges::find(active, name_) != active.end() && !model_.trainable_parameters().empty();
  GRAFT_CHECK(trained, ConfigError, "checkpoint: the adapter '", name_,
              "' is not trained; set_adapter makes it so");
}

void AdapterFiles::save(const std::filesystem::path& folder) const {
  model_.save_pretrained(folder, {name_});
}

void AdapterFiles::load(const std::filesystem::path& folder) {
  model_.load_weights(name_ == "default" ? folder : folder / name_, name_);
}

void ModelFiles::save(const std::filesystem::path& folder) const {
  models::save_pretrained(model_, folder, {.dtype = model_.info().dtype});
}

void ModelFiles::load(const std::filesystem::path& folder) {
  std::vector<NamedVariable> parameters = nn::trainable_parameters(model_);
  const auto source = io::open_checkpoint(folder, io::Access::read);
  std::vector<Tensor> values;
  for (const auto& [name, variable] : parameters) {
    values.push_back(source->load(name));
    if (values.back().shape() != variable.shape() || values.back().dtype() != variable.dtype())
      throw FormatError(
          source->file_of(name), -1,
          concat("'", name, "' is ", values.back().dtype(), " ", values.back().shape(), ", ",
                 variable.dtype(), " ", variable.shape(), " expected"));
  }
  set_values(parameters, std::move(values));
}

}  // namespace graft::train
