#include "graft/models/gguf_source.h"

#include <algorithm>
#include <array>
#include <utility>

#include "graft/models/family.h"
#include "graft/models/gguf_names.h"
#include "graft/models/gguf_rope.h"
#include "graft/models/gguf_rows.h"
#include "graft/quant/gguf_blocks.h"

namespace graft::models {
namespace {

/// True for the matrices of GPT-2 that Hugging Face's files hold as (in, out), GGUF files as
/// (out, in).
bool is_transposed(std::string_view name) {
  constexpr std::array<std::string_view, 3> endings{".c_attn.weight", ".c_proj.weight",
                                                    ".c_fc.weight"};
  return name.starts_with("transformer.h.") &&
         std::ranges::any_of(endings, [&](std::string_view end) { return name.ends_with(end); });
}

/// GGUF files hold the weights of norms as they are multiplied with.
Tensor without_offset(const Tensor& weight, double offset) {
  Tensor result = Tensor::empty(weight.shape(), weight.dtype());
  const float* from = weight.data<float>();
  std::transform(from, from + weight.numel(), result.data<float>(),
                 [offset](float value) { return value - static_cast<float>(offset); });
  return result;
}

}  // namespace

GgufSource::GgufSource(std::shared_ptr<const io::GgufModel> model, const DecoderConfig& config)
    : model_(std::move(model)), heads_(config), norm_offset_(config.family->design.norm_offset) {
  for (const io::GgufPlace& place : model_->tensors()) {
    const std::string& name = place.tensor->name;
    if (!config.ropes.empty() && is_gguf_rope_table(name))
      continue;
    const auto [entry, is_new] =
        tensors_.emplace(hugging_face_name(name, config.family->gguf_names), place);
    if (!is_new)
      throw FormatError(place.file->path(), -1,
                        concat("tensors '", entry->second.tensor->name, "' and '", name,
                               "' are both ", entry->first));
  }
}

std::vector<std::string> GgufSource::names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors_)
    names.push_back(name);
  return names;
}

bool GgufSource::contains(std::string_view name) const {
  return tensors_.find(name) != tensors_.end();
}

const io::GgufPlace& GgufSource::find(std::string_view name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end())
    throw FormatError(model_->path(), -1,
                      concat("there is no tensor '", name, "'", did_you_mean(name, names())));
  return it->second;
}

io::TensorInfo GgufSource::info(std::string_view name) const {
  const auto& [tensor, file] = find(name);
  try {
    quant::block_traits(tensor->type);
  } catch (const DTypeError& error) {
    throw FormatError(file->path(), -1, concat(tensor->name, ": ", error.what()));
  }
  const Shape& shape = tensor->shape;
  return {DType::f32, is_transposed(name) && shape.rank() == 2 ? Shape{shape[1], shape[0]} : shape};
}

Tensor GgufSource::load(std::string_view name) const {
  info(name);  // refuses what cannot be decoded
  const auto& [tensor, file] = find(name);
  const Tensor numbers = quant::decode_blocks(tensor->type, tensor->bytes, tensor->shape);
  if (is_transposed(name) && numbers.rank() == 2)
    return numbers.transpose(0, 1);
  if (norm_offset_ != 0 && name.ends_with("norm.weight"))
    return without_offset(numbers, norm_offset_);
  const int64_t heads = heads_.interleaved_in(name);
  if (heads == 0)
    return numbers;
  // fits: heads are within count_limits
  if (numbers.rank() == 0 || numbers.dim(0) % (2 * heads) != 0)
    throw FormatError(file->path(), -1,
                      concat(tensor->name, ": shape ", tensor->shape, ", rows of ", heads,
                             " heads of even size expected"));
  return deinterleaved(numbers, heads);
}

void GgufSource::drop_pages(std::string_view name) const {
  const auto& [tensor, file] = find(name);
  file->file()->drop_pages(tensor->bytes);
}

std::string GgufSource::file_of(std::string_view name) const {
  return find(name).file->path();
}

}  // namespace graft::models
