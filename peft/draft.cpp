#include "graft/peft/draft.h"

#include <algorithm>
#include <utility>

#include "graft/peft/adapted_embedding.h"
#include "graft/peft/adapted_linear.h"
#include "graft/peft/adapter_file.h"
#include "graft/peft/alora.h"
#include "graft/peft/base_parts.h"
#include "graft/peft/dora.h"
#include "graft/peft/init.h"
#include "graft/tensor/embedding.h"
#include "graft/tensor/error.h"
#include "graft/tensor/parallel.h"
#include "graft/tensor/pointwise.h"

namespace graft::peft {
namespace {

/// Whether an adapter can be put on the layer, whose type is Like: it is a Plain one, or an Adapted
/// one already.
template <class Plain, class Adapted>
void check_kind(const nn::Module& layer, const std::string& path) {
  GRAFT_CHECK(dynamic_cast<const Plain*>(&layer) != nullptr ||
                  dynamic_cast<const Adapted*>(&layer) != nullptr,
              ConfigError, "add adapter: ", path,
              " is a layer of a kind that adapters cannot be put on");
}

/// The layer with adapters at a place, which is put there if need be.
template <class Plain, class Adapted, class Like>
Adapted& adapted(nn::Child<Like>& child) {
  if (dynamic_cast<Adapted*>(&*child) == nullptr) {
    child.replace([](std::unique_ptr<Like> old) -> std::unique_ptr<Like> {
      std::unique_ptr<Plain> base(static_cast<Plain*>(old.release()));
      return std::make_unique<Adapted>(std::move(base));
    });
  }
  return static_cast<Adapted&>(*child);
}

/// Puts a Plain layer in the place of an adapted one: the base where none is given.
template <class Plain, class Adapted, class Like>
std::unique_ptr<nn::Module> replace(nn::Child<Like>& child, std::unique_ptr<nn::Module> layer) {
  std::unique_ptr<nn::Module> replaced;
  child.replace([&](std::unique_ptr<Like> old) -> std::unique_ptr<Like> {
    auto& adapted = static_cast<Adapted&>(*old);
    replaced = std::move(old);
    if (layer == nullptr)
      return adapted.release_base();
    return std::unique_ptr<Like>(static_cast<Plain*>(layer.release()));
  });
  return replaced;
}

template <class T>
std::unique_ptr<T> as(std::unique_ptr<AdapterBase> adapter) {
  return std::unique_ptr<T>(static_cast<T*>(adapter.release()));
}

LoraOptions options_of(const LoraConfig& config, const SelectedLayer& layer) {
  return {.r = layer.r,
          .scaling = layer.scaling,
          .dropout = config.lora_dropout,
          .dropout_module = dropout_module_of(layer.site.path),
          .bias = config.lora_bias};
}

/// Of a parameter of an adapter: which size is the rank, or -1.
int rank_dimension_of(std::string_view parameter) {
  if (parameter == "lora_A.weight" || parameter == "lora_embedding_A")
    return 0;
  return parameter == "lora_B.weight" || parameter == "lora_embedding_B" ? 1 : -1;
}

Shape transposed(const Shape& shape) {
  return {shape[1], shape[0]};
}

}  // namespace

Tensor file_value(const AdapterTensor& tensor) {
  const Tensor& value = tensor.variable.value();
  return tensor.is_transposed ? value.transpose(0, 1).contiguous() : value;
}

Tensor held_value(const AdapterTensor& tensor, const Tensor& in_file) {
  return tensor.is_transposed ? in_file.transpose(0, 1).contiguous() : in_file;
}

void set_file_values(const std::vector<AdapterTensor>& tensors, const std::vector<Tensor>& values) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].is_repeated)
      Variable(tensors[i].variable).set_value(held_value(tensors[i], values[i]));
  }
}

AdapterDraft::AdapterDraft(const Selection& selection, std::string name)
    : selection_(selection), name_(std::move(name)) {
  for (const SelectedLayer& layer : selection.layers)
    add_layer(layer);
  for (const SelectedCopy& copy : selection.copies)
    add_copy(copy);
}

void AdapterDraft::add_layer(const SelectedLayer& layer) {
  const Site& site = layer.site;
  if (site.embedding != nullptr) {
    check_kind<nn::Embedding, AdaptedEmbedding>(*site.module, site.path);
    const nn::EmbeddingLike& base = **site.embedding;
    std::unique_ptr<LoraEmbedding> lora;
    if (selection_.config.use_dora)
      lora = std::make_unique<DoraEmbedding>(base.weight(), layer.r, layer.scaling);
    else
      lora = std::make_unique<LoraEmbedding>(base.rows(), base.features(), layer.r, layer.scaling);
    add_tensors(site.path, *lora);
    if (tied_embedding_ == nullptr)
      tied_embedding_ = lora.get();
    adapters_.push_back(std::move(lora));
    return;
  }
  check_kind<nn::Linear, AdaptedLinear>(*site.module, site.path);
  const LoraOptions options = options_of(selection_.config, layer);
  if (layer.is_tied) {
    adapters_.push_back(std::make_unique<TiedLora>(*tied_embedding_, options));
    add_tied_tensors(layer);
    return;
  }
  const nn::Linear& base = *linear_of(site);
  if (selection_.config.use_dora)
    adapters_.push_back(std::make_unique<Dora>(base.weight(), options));
  else if (selection_.config.alora_invocation_tokens)
    adapters_.push_back(std::make_unique<Alora>(base.in_features(), base.out_features(), options));
  else
    adapters_.push_back(std::make_unique<Lora>(base.in_features(), base.out_features(), options));
  add_tensors(site.path, *adapters_.back());
}

void AdapterDraft::add_tensors(const std::string& path, nn::Module& adapter) {
  for (nn::Member* parameter : adapter.members())
    tensors_.push_back({.key = adapter_key(path, parameter->name()),
                        .name = concat(path, ".", name_, ".", parameter->name()),
                        .shape = parameter->shape(),
                        .variable = *parameter->variable(),
                        .rank_dimension = rank_dimension_of(parameter->name())});
}

/// The head's A is the embedding's B, transposed, and the other way round.
void AdapterDraft::add_tied_tensors(const SelectedLayer& head) {
  const auto add = [&](std::string_view parameter, nn::Parameter& same) {
    tensors_.push_back({.key = adapter_key(head.site.path, parameter),
                        .name = concat(head.site.path, ".", name_, ".", parameter),
                        .shape = transposed(same.shape()),
                        .variable = *same,
                        .is_transposed = true,
                        .is_repeated = true,
                        .rank_dimension = rank_dimension_of(parameter)});
  };
  add("lora_A.weight", tied_embedding_->lora_b());
  add("lora_B.weight", tied_embedding_->lora_a());
}

AdapterTensor& AdapterDraft::tensor_of(const Variable& variable) {
  return *std::ranges::find_if(
      tensors_, [&](const AdapterTensor& each) { return each.variable.id() == variable.id(); });
}

bool AdapterDraft::is_adapted(const std::string& path) const {
  return std::ranges::any_of(selection_.layers,
                             [&](const SelectedLayer& layer) { return layer.site.path == path; });
}

void AdapterDraft::add_copy(const SelectedCopy& copy) {
  Shape shape = copy.member->shape();
  std::string key = copy.parameter;
  std::string parameter = copy.parameter;
  if (copy.kind == CopyKind::bias && is_adapted(copy.module)) {
    key = concat(base_layer, copy.parameter);
  } else if (copy.kind == CopyKind::tokens) {
    shape = {static_cast<int64_t>(copy.rows.size()), shape[1]};
    parameter = "trainable_tokens_delta";
    key = "token_adapter.trainable_tokens_delta";
  }
  const bool is_repeated = copy.same_as >= 0;
  const Variable variable =
      is_repeated ? overrides_[static_cast<size_t>(copy.same_as)].value : Variable(Tensor());
  overrides_.push_back({.adapter = name_, .value = variable, .rows = {}});
  if (copy.kind == CopyKind::tokens)
    overrides_.back().rows = Tensor::from(copy.rows, {shape[0]});
  if (is_repeated && copy.kind == CopyKind::tokens)
    return;  // PEFT's file has them once
  tensors_.push_back(
      {.key = adapter_key(copy.module, key),
       .name = concat(copy.module, ".", name_, ".", parameter),
       .shape = copy.is_transposed ? transposed(shape) : shape,
       .variable = variable,
       .saved_parameter = copy.kind == CopyKind::saved_module ? copy.parameter : std::string(),
       .is_transposed = copy.is_transposed,
       .is_repeated = is_repeated,
       .is_bias_of_base = copy.kind == CopyKind::bias,
       .copied = copy.member,
       .rows = overrides_.back().rows});
}

void AdapterDraft::take_from_base(DType dtype) {
  if (!takes_from_base(selection_.config))
    return;
  std::vector<const SelectedLayer*> layers;
  std::vector<Lora*> loras;
  for (size_t i = 0; i < adapters_.size(); ++i) {
    if (auto* lora = dynamic_cast<Lora*>(adapters_[i].get())) {
      layers.push_back(&selection_.layers[i]);
      loras.push_back(lora);
    }
  }
  parallel_for(static_cast<int64_t>(loras.size()), 1, [&](int64_t begin, int64_t) {
    const auto i = static_cast<size_t>(begin);
    const SelectedLayer& layer = *layers[i];
    const BasePart part = part_of(linear_of(layer.site)->weight().value(), layer.r, layer.scaling,
                                  selection_.config, layer.site.path);
    loras[i]->take(part.a.to(dtype), part.b.to(dtype));
  });
  for (Lora* lora : loras) {
    tensor_of(*lora->lora_a()).taken = lora->taken()->a.value();
    tensor_of(*lora->lora_b()).taken = ops::scale(lora->taken()->b.value(), -1);
  }
}

void AdapterDraft::initialize(uint64_t seed, DType dtype) {
  const LoraConfig& config = selection_.config;
  const bool is_tied = std::ranges::any_of(selection_.layers, &SelectedLayer::is_tied);
  for (size_t i = 0; i < adapters_.size(); ++i) {
    const std::string& path = selection_.layers[i].site.path;
    AdapterBase* adapter = adapters_[i].get();
    if (auto* lora = dynamic_cast<Lora*>(adapter))
      peft::initialize(*lora, config.init_lora_weights, seed, path, dtype);
    else if (auto* embedding = dynamic_cast<LoraEmbedding*>(adapter))
      peft::initialize(*embedding, config.init_lora_weights,
                       is_tied && embedding == tied_embedding_, seed, path, dtype);
    if (auto* dora = dynamic_cast<Dora*>(adapter))
      dora->initialize_magnitude();
    else if (auto* dora_embedding = dynamic_cast<DoraEmbedding*>(adapter))
      dora_embedding->initialize_magnitude();
  }
  for (size_t i = 0; i < overrides_.size(); ++i) {
    const SelectedCopy& copy = selection_.copies[i];
    if (copy.same_as >= 0)
      continue;
    const Tensor value = copy.member->value();
    nn::Override& start = overrides_[i];
    start.value.set_value(start.is_whole() ? value.clone().to(dtype)
                                           : ops::embedding(value, start.rows).to(dtype));
  }
}

void AdapterDraft::put_on() {
  for (size_t i = 0; i < overrides_.size(); ++i)
    selection_.copies[i].member->overrides()->add(std::move(overrides_[i]));
  for (size_t i = 0; i < adapters_.size(); ++i)
    add_to_layer(selection_.layers[i].site, name_, std::move(adapters_[i]));
}

void add_to_layer(const Site& site, const std::string& name, std::unique_ptr<AdapterBase> adapter) {
  if (site.embedding != nullptr)
    adapted<nn::Embedding, AdaptedEmbedding>(*site.embedding)
        .add(name, as<EmbeddingAdapter>(std::move(adapter)));
  else
    adapted<nn::Linear, AdaptedLinear>(*site.linear).add(name, as<Adapter>(std::move(adapter)));
}

void remove_adapter(nn::Module& model, const std::string& name) {
  for (const nn::NamedMember& parameter : base_parameters(model))
    parameter.member->overrides()->remove(name);
  for (const Site& site : sites_of(model)) {
    AdaptedLayer* layer = adapted_layer(*site.module);
    if (layer == nullptr)
      continue;
    layer->remove(name);
    if (!layer->has_adapters())
      replace_adapted(site, nullptr);
  }
}

std::unique_ptr<nn::Module> replace_adapted(const Site& site, std::unique_ptr<nn::Module> layer) {
  if (site.linear != nullptr)
    return replace<nn::Linear, AdaptedLinear>(*site.linear, std::move(layer));
  return replace<nn::Embedding, AdaptedEmbedding>(*site.embedding, std::move(layer));
}

}  // namespace graft::peft
