#include "graft/peft/adapter_file.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "graft/peft/matching.h"
#include "graft/peft/sites.h"
#include "graft/tensor/error.h"

namespace graft::peft {
namespace {

constexpr std::string_view prefix = "base_model.model.";
/// Lists of a difference longer than this are cut.
constexpr size_t lines_shown = 6;

/// "\n  missing: …" for each of the lines, or as many as fit.
std::string listed(std::string_view what, const std::vector<std::string>& lines) {
  std::string text;
  for (size_t i = 0; i < std::min(lines.size(), lines_shown); ++i)
    text += concat("\n  ", what, ": ", lines[i]);
  if (lines.size() > lines_shown)
    text += concat("\n  ", what, ": ", lines.size() - lines_shown, " more");
  return text;
}

/// How the tensors of a file differ from those expected.
struct Difference {
  std::vector<std::string> missing, unexpected, reshaped;

  bool any() const { return !missing.empty() || !unexpected.empty() || !reshaped.empty(); }
  std::string describe() const {
    return concat("the adapter does not fit its configuration and this model: ", missing.size(),
                  " tensors are missing, ", unexpected.size(), " unexpected, ", reshaped.size(),
                  " of another shape", listed("missing", missing), listed("unexpected", unexpected),
                  listed("shape", reshaped));
  }
};

using Parameters = std::map<std::string, nn::Member*>;

/// The parameters of the base model by the keys they can have in an adapter's file.
Parameters base_parameters_by_key(nn::Module& base) {
  Parameters parameters;
  for (const nn::NamedMember& parameter : base_parameters(base)) {
    const size_t name = parameter.path.size() - parameter.member->name().size();
    parameters.emplace(concat(prefix, parameter.path), parameter.member);
    parameters.emplace(
        concat(prefix, parameter.path.substr(0, name), base_layer, parameter.member->name()),
        parameter.member);
  }
  return parameters;
}

bool same_values(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() &&
         std::ranges::equal(a.contiguous().bytes(), b.contiguous().bytes());
}

/// Refuses a base weight that is not the model's, whichever of the two was rounded.
void check_base_weight(const io::SafetensorsFile& file, const std::string& key,
                       const nn::Member& member) {
  const Tensor found = file.load(key);
  const Tensor held = member.value();
  if (same_values(found.to(held.dtype()), held) || same_values(held.to(found.dtype()), found))
    return;
  throw FormatError(file.path(), file.entry(key).begin,
                    concat(key,
                           " is not the weight of this model: the adapter was saved over a "
                           "base model that had been changed; load that one"));
}

/// True for the keys under which PEFT repeats a bias of a module that is saved whole:
/// "<module>.original_module.<bias>" and "<module>.modules_to_save.<adapter>.<bias>".
bool is_repetition(std::string_view name, const std::vector<ExpectedTensor>& expected) {
  return std::ranges::any_of(expected, [&](const ExpectedTensor& tensor) {
    const std::string& parameter = tensor.saved_parameter;
    if (parameter.empty() || !is_or_ends_in(parameter, "bias"))
      return false;
    const std::string_view module =
        std::string_view(tensor.key).substr(0, tensor.key.size() - parameter.size());
    if (!name.starts_with(module))
      return false;
    const std::string_view rest = name.substr(module.size());
    return rest == concat("original_module.", parameter) ||
           (rest.starts_with("modules_to_save.") && is_or_ends_in(rest, parameter));
  });
}

Difference compare(const io::SafetensorsFile& file, const std::vector<ExpectedTensor>& expected,
                   const Parameters& base) {
  Difference difference;
  std::set<std::string> keys;
  std::vector<std::string> missing;
  for (const ExpectedTensor& tensor : expected) {
    keys.insert(tensor.key);
    if (!file.contains(tensor.key)) {
      missing.push_back(tensor.key);
      difference.missing.push_back(concat(tensor.key, " ", tensor.shape));
    } else if (const Shape& shape = file.entry(tensor.key).shape; shape != tensor.shape) {
      difference.reshaped.push_back(
          concat(tensor.key, " is ", shape, ", ", tensor.shape, " expected"));
    }
  }
  for (const std::string& name : file.names()) {
    if (keys.contains(name) || base.contains(name) || is_repetition(name, expected))
      continue;
    std::string line = name;
    if (keys.contains(concat(prefix, name)))
      line += concat(" (without PEFT's prefix ", prefix, ")");
    else if (difference.unexpected.size() < lines_shown)
      line += concat(" ", file.entry(name).shape, did_you_mean(name, missing));
    difference.unexpected.push_back(std::move(line));
  }
  return difference;
}

}  // namespace

std::filesystem::path adapter_model_file(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / adapter_model_name;
  const std::filesystem::path pickle = folder / "adapter_model.bin";
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored) && std::filesystem::exists(pickle, ignored))
    throw FormatError(pickle.string(), -1,
                      concat("a pickle, which can run code when it is opened; graft never reads "
                             "them. Where you trust it, load the adapter with PEFT and call "
                             "save_pretrained, which writes ",
                             adapter_model_name));
  return file;
}

std::string adapter_key(std::string_view path, std::string_view parameter) {
  return concat(prefix, path, ".", parameter);
}

std::vector<Tensor> read_adapter(const std::filesystem::path& folder,
                                 const std::vector<ExpectedTensor>& expected, nn::Module& base,
                                 BaseWeights base_weights, DType dtype) {
  const io::SafetensorsFile file(adapter_model_file(folder), io::Access::read);
  Parameters base_keys = base_parameters_by_key(base);
  for (const ExpectedTensor& tensor : expected)
    base_keys.erase(tensor.key);
  if (const Difference difference = compare(file, expected, base_keys); difference.any())
    throw FormatError(file.path(), -1, difference.describe());
  for (const std::string& name : file.names()) {
    const auto found = base_keys.find(name);
    if (base_weights == BaseWeights::checked && found != base_keys.end())
      check_base_weight(file, name, *found->second);
  }
  std::vector<Tensor> tensors;
  for (const ExpectedTensor& tensor : expected) {
    const DType held = file.info(tensor.key).dtype;
    if (!is_floating(held))
      throw FormatError(file.path(), file.entry(tensor.key).begin,
                        concat(tensor.key, " is ", held, ", floating-point numbers expected"));
    tensors.push_back(file.load(tensor.key).to(dtype));
  }
  return tensors;
}

void write_adapter(const std::filesystem::path& file, std::vector<io::NamedTensor> tensors) {
  std::ranges::sort(tensors, {}, &io::NamedTensor::name);
  io::write_safetensors(file, tensors, {{"format", "pt"}});
}

}  // namespace graft::peft
