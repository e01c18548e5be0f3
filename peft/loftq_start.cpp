#include "graft/peft/loftq_start.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "graft/peft/adapted_layer.h"
#include "graft/peft/adapter_file.h"
#include "graft/peft/loftq.h"
#include "graft/tensor/error.h"
#include "graft/tensor/reduce.h"

namespace graft::peft {
namespace {

/// The weight of a layer that LoftQ can start; refuses others.
nn::Weight& weight_to_quantize(nn::Module& base, const Site& site) {
  GRAFT_CHECK(site.linear != nullptr, ConfigError, "loftq: ", site.path,
              " is an embedding; it starts adapters on linear layers only");
  GRAFT_CHECK(adapted_layer(*site.module) == nullptr, ConfigError, "loftq: ", site.path,
              " has an adapter already, which was made for its weight as it is");
  nn::Weight& weight = dynamic_cast<nn::Weight&>(*weight_of(site));
  int64_t users = 0;
  nn::for_each_member(base, [&](const std::string&, nn::Member& member) {
    users += member.identity() == weight.identity();
  });
  GRAFT_CHECK(users == 1, ConfigError, "loftq: ", site.path,
              " shares its weight with another layer, which would be quantised as well; leave it "
              "out of target_modules");
  return weight;
}

/// As PEFT quantises.
constexpr quant::Format peft_format{quant::QuantType::nf4, 64, false};

LoftQ start_on(const nn::Weight& weight, const std::string& path, LoftQOptions options,
               const OriginalWeight& original) {
  const nn::WeightStorage storage = weight.storage();
  const auto* held = std::get_if<quant::QuantizedTensor>(&storage);
  GRAFT_CHECK(held == nullptr || original, ConfigError, "loftq: ", path,
              " is in 4 bits already, and what it was before is not known: give "
              "PeftOptions::original_weight, or a model that is not quantised");
  const Tensor w = held == nullptr
                       ? weight.value()
                       : original_of(original, path, quant::dequantize(*held, DType::f32));
  GRAFT_CHECK(ops::all_finite(w), NonFiniteError, "loftq: ", path, " has a NaN or an infinity");
  options.format = weight.form().format.value_or(peft_format);
  if (held != nullptr) {
    options.quantized = quant::to_blocks(*held);
  }
  return loftq(w, options);
}

/// What takes the weight's place, held as the weight was held.
quant::QuantizedTensor replacement(const nn::Weight& weight, quant::QuantizedTensor value) {
  const nn::WeightStorage storage = weight.storage();
  const auto* held = std::get_if<quant::QuantizedTensor>(&storage);
  if (held == nullptr) {
    value.compute = value.dtype == DType::bf16 ? DType::bf16 : DType::f32;
    return quant::to_panels(value);
  }
  value.compute = held->compute;
  return held->layout == quant::Layout::panels ? quant::to_panels(value) : value;
}

void set(std::vector<AdapterTensor>& tensors, const std::string& key, const Tensor& value) {
  AdapterTensor& tensor = *std::ranges::find(tensors, key, &AdapterTensor::key);
  tensor.variable.set_value(value.to(tensor.variable.dtype()));
}

}  // namespace

std::vector<QuantizedWeight> start_with_loftq(
    nn::Module& base, const Selection& selection, std::vector<AdapterTensor>& tensors,
    const OriginalWeight& original, const std::function<void(const LoftQError&)>& on_layer) {
  const int64_t iterations = selection.config.loftq_config.value_or(LoftQConfig()).loftq_iter;
  std::vector<nn::Weight*> weights;
  for (const SelectedLayer& layer : selection.layers)
    weights.push_back(&weight_to_quantize(base, layer.site));
  std::vector<QuantizedWeight> replaced;
  for (size_t i = 0; i < weights.size(); ++i) {
    const SelectedLayer& layer = selection.layers[i];
    const std::string path = layer.site.path + ".weight";
    LoftQ start =
        start_on(*weights[i], path,
                 {.r = layer.r, .scaling = layer.scaling, .iterations = iterations}, original);
    set(tensors, adapter_key(layer.site.path, "lora_A.weight"), start.lora_a);
    set(tensors, adapter_key(layer.site.path, "lora_B.weight"), start.lora_b);
    if (on_layer)
      on_layer({path, start.quantized_alone, start.residual});
    replaced.push_back({weights[i], replacement(*weights[i], std::move(start.weight))});
  }
  return replaced;
}

void warn_of_dense_weights(const Selection& selection, const Observer& observer) {
  if (selection.config.init_lora_weights != LoraInit::loftq || !observer)
    return;
  for (const SelectedLayer& layer : selection.layers) {
    const auto* weight = dynamic_cast<const nn::Weight*>(weight_of(layer.site));
    if (weight == nullptr || weight->form().format)
      continue;
    observer(
        concat("the adapter was started by LoftQ and makes up for what weights lose in 4 bits, "
               "but ",
               layer.site.path, " is not in 4 bits: quantise the model as it was then"));
    return;
  }
}

}  // namespace graft::peft
