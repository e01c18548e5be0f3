#include "graft/train/model_files.h"

#include <utility>
#include <vector>

#include "graft/io/tensor_source.h"
#include "graft/models/save.h"
#include "graft/peft/adapter_file.h"

namespace graft::train {
namespace {

/// Replaces the values of all variables at once.
void set_values(std::vector<NamedVariable>& variables, std::vector<Tensor> values) {
  for (size_t i = 0; i < variables.size(); ++i)
    variables[i].variable.set_value(std::move(values[i]));
}

/// The trained parameters of an adapter under the keys of its file.
std::vector<NamedVariable> with_file_keys(peft::PeftModel& model, const std::string& name) {
  const std::vector<NamedVariable> parameters = model.trainable_parameters();
  std::vector<NamedVariable> result;
  for (const std::string& path : model.targeted_modules(name)) {
    const std::string prefix = concat(path, ".", name, ".");
    for (const auto& [parameter, variable] : parameters) {
      if (parameter.starts_with(prefix))
        result.push_back({peft::adapter_key(path, parameter.substr(prefix.size())), variable});
    }
  }
  return result;
}

}  // namespace

AdapterFiles::AdapterFiles(peft::PeftModel& model, std::string name)
    : model_(model), name_(std::move(name)) {
  GRAFT_CHECK(!with_file_keys(model_, name_).empty(), ConfigError, "checkpoint: the adapter '",
              name_, "' is not trained; set_adapter makes it so");
}

void AdapterFiles::save(const std::filesystem::path& folder) const {
  model_.save_pretrained(folder, {name_});
}

void AdapterFiles::load(const std::filesystem::path& folder) {
  std::vector<NamedVariable> parameters = with_file_keys(model_, name_);
  std::vector<peft::ExpectedTensor> expected;
  for (const auto& [key, variable] : parameters)
    expected.push_back({key, variable.shape()});
  set_values(parameters, peft::read_adapter(name_ == "default" ? folder : folder / name_, expected,
                                            model_.base_model(), parameters[0].variable.dtype()));
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
