#include "graft/models/gguf_lora.h"

#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <utility>

#include "graft/io/gguf.h"
#include "graft/io/gguf_write.h"
#include "graft/models/family.h"
#include "graft/models/gguf_metadata.h"
#include "graft/models/gguf_rows.h"
#include "graft/models/model_info.h"
#include "graft/nn/embedding.h"
#include "graft/quant/gguf_blocks.h"

namespace graft::models {
namespace {

using quant::GgmlType;

constexpr std::string_view alpha_key = "adapter.lora.alpha";
constexpr std::string_view embedding_name = "token_embd.weight";
constexpr std::string_view a_end = ".lora_a";
constexpr std::string_view b_end = ".lora_b";

/// What a file can say of a model's modules.
class Modules {
 public:
  explicit Modules(nn::CausalLM& model) : config_(config_of(model.info())), heads_(config_) {
    nn::for_each_member(model, [&](const std::string& path, nn::Member& member) {
      if (dynamic_cast<nn::LinearLike*>(member.module()) != nullptr ||
          dynamic_cast<nn::EmbeddingLike*>(member.module()) != nullptr)
        shapes_.emplace(path, Shape{});
      if (const std::string_view weight = ".weight"; path.ends_with(weight))
        if (const auto module = shapes_.find(path.substr(0, path.size() - weight.size()));
            module != shapes_.end())
          module->second = member.shape();
    });
  }

  const DecoderConfig& config() const { return config_; }
  const Family& family() const { return *config_.family; }
  int64_t interleaved_heads(const std::string& module) const {
    return heads_.interleaved_in(module + ".");
  }
  /// The name of the module's weight in a file. Throws ConfigError where there can be no pair.
  std::string name_of(const std::string& module) const;
  /// The module of a weight in a file; nothing where the model has none.
  std::optional<std::string> module_of(std::string_view weight) const {
    const std::string name = hugging_face_name(weight, family().gguf_names);
    const std::string module = name.substr(0, name.rfind('.'));
    return shapes_.contains(module) && name.ends_with(".weight") ? std::optional(module)
                                                                 : std::nullopt;
  }
  /// What is wrong with the shapes of a pair; empty where nothing is.
  std::string misfit_of(const LoraPair& pair) const;

 private:
  DecoderConfig config_;
  GgufHeads heads_;
  std::map<std::string, Shape> shapes_;  // of the weights, (out, in), by the modules' paths
};

std::string Modules::name_of(const std::string& module) const {
  std::vector<std::string> paths;
  for (const auto& [path, shape] : shapes_)
    paths.push_back(path);
  GRAFT_CHECK(shapes_.contains(module), ConfigError, "the model has no module ", module,
              did_you_mean(module, paths), " that an adapter could be for");
  const std::optional<std::string> name = gguf_name(module + ".weight", family().gguf_names);
  GRAFT_CHECK(name && *name != "position_embd.weight", ConfigError, "the adapter changes ", module,
              ", which llama.cpp applies no adapter to");
  const bool is_end = name == embedding_name || name == "output.weight";
  GRAFT_CHECK(!is_end || !config_.tied_head, ConfigError, "the adapter changes ", module,
              ", but head and embedding of the model are one matrix, and llama.cpp can apply no "
              "adapter to one end of it; merge the adapter (graft merge) and convert the model");
  return *name;
}

std::string Modules::misfit_of(const LoraPair& pair) const {
  const Shape& weight = shapes_.at(pair.module);
  const bool is_embedding =
      gguf_name(pair.module + ".weight", family().gguf_names) == std::string(embedding_name);
  const int64_t columns = is_embedding ? weight[0] : weight[1];
  const int64_t rows = is_embedding ? weight[1] : weight[0];
  if (pair.a.rank() == 2 && pair.b.rank() == 2 && pair.a.dim(0) == pair.b.dim(1) &&
      pair.a.dim(0) > 0 && pair.a.dim(1) == columns && pair.b.dim(0) == rows)
    return {};
  return concat(pair.module, ": matrices ", pair.a.shape(), " and ", pair.b.shape(), " given, (r,",
                columns, ") and (", rows, ",r) expected");
}

GgmlType type_of(const Tensor& x, const std::string& module) {
  switch (x.dtype()) {
    case DType::f32:
      return GgmlType::f32;
    case DType::f16:
      return GgmlType::f16;
    case DType::bf16:
      return GgmlType::bf16;
    default:
      throw DTypeError(
          concat("write_gguf_lora: ", module, " is ", x.dtype(), ", f32, f16 or bf16 expected"));
  }
}

io::GgufTensorOut tensor_out(std::string name, const Tensor& x, const std::string& module) {
  return {std::move(name), static_cast<uint32_t>(type_of(x, module)), x.shape(),
          [x = x.contiguous()](io::FileWriter& out) { out.write(x.bytes()); }};
}

/// A matrix of a file, not decoded where it need not be.
Tensor tensor_of(const io::GgufFile& file, const io::GgufTensor& tensor) {
  constexpr std::array plain = {std::pair(GgmlType::f32, DType::f32),
                                std::pair(GgmlType::f16, DType::f16),
                                std::pair(GgmlType::bf16, DType::bf16)};
  for (const auto& [type, dtype] : plain) {
    if (static_cast<uint32_t>(type) != tensor.type)
      continue;
    Tensor result = Tensor::empty(tensor.shape, dtype);
    std::memcpy(result.as_view().data, tensor.bytes.data(), tensor.bytes.size());
    return result;
  }
  try {
    return quant::decode_blocks(tensor.type, tensor.bytes, tensor.shape);
  } catch (const DTypeError& error) {
    throw FormatError(file.path(), -1, concat(tensor.name, ": ", error.what()));
  }
}

void check_metadata(const io::GgufFile& file, const Family& family) {
  GRAFT_CHECK(file.text("adapter.type") == "lora", ConfigError, file.path(), ": adapter.type is ",
              file.text("adapter.type"), ", lora expected");
  const std::string architecture = file.text("general.architecture");
  GRAFT_CHECK(
      architecture == family.gguf_architecture, ConfigError, file.path(),
      ": the adapter is for the architecture ", architecture, ", the model is of ",
      family.gguf_architecture.empty() ? "none that GGUF files have" : family.gguf_architecture);
  for (const std::string& key : file.keys())
    GRAFT_CHECK(!key.starts_with("adapter.") || key == "adapter.type" || key == alpha_key,
                ConfigError, file.path(), ": ", key, " is ", file.described(key),
                ", which is not supported");
}

std::optional<double> read_alpha(const io::GgufFile& file) {
  const double alpha = shortest_decimal(file.number_or(alpha_key, 0));
  if (!std::isfinite(alpha))
    throw FormatError(file.path(), -1, concat(alpha_key, " is ", alpha, ", a number expected"));
  return alpha == 0 ? std::nullopt : std::optional(alpha);  // as llama.cpp takes it
}

/// The pairs of a file by the names of the weights, as they stand there.
std::map<std::string, LoraPair> pairs_of(const io::GgufFile& file) {
  std::map<std::string, LoraPair> pairs;
  for (const io::GgufTensor& tensor : file.tensors()) {
    const std::string& name = tensor.name;
    const bool is_a = name.ends_with(a_end);
    GRAFT_CHECK(is_a || name.ends_with(b_end), ConfigError, file.path(), ": ", name,
                " is no low-rank matrix, which is not supported");
    LoraPair& pair = pairs[name.substr(0, name.size() - a_end.size())];
    (is_a ? pair.a : pair.b) = tensor_of(file, tensor);
  }
  return pairs;
}

}  // namespace

bool is_gguf_adapter(const std::filesystem::path& file) {
  return io::GgufFile(file).text_or("general.type", "model") == "adapter";
}

void write_gguf_lora(io::FileWriter& out, const GgufLora& lora, nn::CausalLM& model) {
  const Modules modules(model);
  const Family& family = modules.family();
  GRAFT_CHECK(!family.gguf_architecture.empty(), ConfigError, "a model of type ", family.model_type,
              " has no architecture in GGUF files");
  const double alpha = lora.alpha.value_or(0);
  GRAFT_CHECK(!lora.alpha || (std::isfinite(alpha) && static_cast<float>(alpha) != 0), ConfigError,
              "alpha is ", alpha,
              ", which llama.cpp takes for a factor of 1; another number "
              "expected");
  io::GgufValues values;
  values.add_text("general.architecture", family.gguf_architecture);
  values.add_text("general.type", "adapter");
  values.add_text("adapter.type", "lora");
  values.add_f32(alpha_key, static_cast<float>(alpha));
  std::vector<io::GgufTensorOut> tensors;
  for (const LoraPair& pair : lora.pairs) {
    const std::string name = modules.name_of(pair.module);
    const std::string misfit = modules.misfit_of(pair);
    GRAFT_CHECK(misfit.empty(), ConfigError, "the adapter does not fit the model: ", misfit);
    const int64_t heads = modules.interleaved_heads(pair.module);
    const Tensor a = name == embedding_name ? pair.a.transpose(0, 1).contiguous() : pair.a;
    const Tensor b = heads > 0 ? interleaved(pair.b, heads) : pair.b;
    tensors.push_back(tensor_out(concat(name, a_end), a, pair.module));
    tensors.push_back(tensor_out(concat(name, b_end), b, pair.module));
  }
  io::write_gguf(out, values, tensors);
}

GgufLora read_gguf_lora(const std::filesystem::path& path, nn::CausalLM& model) {
  const io::GgufFile file(path);
  const Modules modules(model);
  check_metadata(file, modules.family());
  GgufLora lora{.alpha = read_alpha(file), .pairs = {}};
  for (auto& [weight, pair] : pairs_of(file)) {
    const auto refuse = [&, &name = weight](const auto&... what) {
      throw FormatError(file.path(), -1, concat(name, ": ", what...));
    };
    const std::optional<std::string> module = modules.module_of(weight);
    if (!module)
      refuse("the model has no such weight");
    if (!pair.a.defined() || !pair.b.defined())
      refuse("lora_a or lora_b is missing");
    pair.module = *module;
    if (weight == embedding_name && pair.a.rank() == 2)
      pair.a = pair.a.transpose(0, 1).contiguous();
    if (const std::string misfit = modules.misfit_of(pair); !misfit.empty())
      refuse(misfit);
    if (const int64_t heads = modules.interleaved_heads(pair.module); heads > 0)
      pair.b = deinterleaved(pair.b, heads);
    lora.pairs.push_back(std::move(pair));
  }
  if (lora.pairs.empty())
    throw FormatError(file.path(), -1, "there are no matrices of an adapter in it");
  return lora;
}

}  // namespace graft::models
