#include "graft/models/save.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "graft/io/file.h"
#include "graft/io/json.h"
#include "graft/io/safetensors.h"
#include "graft/models/bitsandbytes.h"
#include "graft/models/quantization.h"
#include "graft/models/torch_dtype.h"
#include "graft/models/weights.h"
#include "graft/quant/blocks.h"

namespace graft::models {
namespace {

namespace fs = std::filesystem;

/// The parameters of one file.
struct Shard {
  std::string file;
  std::vector<nn::NamedMember> parameters;
  int64_t bytes = 0;                 ///< of the tensors
  std::vector<std::string> names{};  ///< of the tensors, once they are written
};

/// How a parameter is held in 4 bits; nothing where it is dense.
std::optional<quant::Format> format_of(const nn::NamedMember& parameter) {
  const auto* weight = dynamic_cast<const nn::Weight*>(parameter.member);
  return weight == nullptr ? std::nullopt : weight->form().format;
}

/// What is written of a model's weights.
struct Form {
  DType dtype;
  bool dequantize;
  DType quant_storage;
  std::set<std::string> transposed;
};

io::LazyTensor as_it_is(io::NamedTensor tensor) {
  const io::TensorInfo info{tensor.tensor.dtype(), tensor.tensor.shape()};
  return {std::move(tensor.name), info, [value = std::move(tensor.tensor)] { return value; }};
}

/// The numbers of a parameter, rounded once.
Tensor dense_value(nn::Member& parameter, DType dtype) {
  if (const auto* weight = dynamic_cast<nn::Weight*>(&parameter); weight && weight->form().format)
    return quant::dequantize(std::get<quant::QuantizedTensor>(weight->storage()), dtype);
  return parameter.value().to(dtype);
}

/// The tensors of a file that hold a parameter. What is dense is made as it is written.
std::vector<io::LazyTensor> tensors_of(const nn::NamedMember& parameter, const Form& form) {
  std::vector<io::LazyTensor> tensors;
  if (!form.dequantize && format_of(parameter)) {
    const nn::WeightStorage held = static_cast<nn::Weight*>(parameter.member)->storage();
    for (io::NamedTensor& part : quantized_tensors(
             parameter.path, std::get<quant::QuantizedTensor>(held), form.quant_storage))
      tensors.push_back(as_it_is(std::move(part)));
    return tensors;
  }
  const bool is_transposed = form.transposed.contains(parameter.path);
  const Shape shape = parameter.member->shape();
  tensors.push_back({parameter.path,
                     {form.dtype, is_transposed ? Shape{shape[1], shape[0]} : shape},
                     [member = parameter.member, dtype = form.dtype, is_transposed] {
                       const Tensor value = dense_value(*member, dtype);
                       return is_transposed ? value.transpose(0, 1) : value;
                     }});
  return tensors;
}

/// Of the tensors that hold numbers in 4 bits, but for the text beside them.
int64_t bytes_in_4_bits(int64_t numbers, const quant::Format& format) {
  const auto number_size = static_cast<int64_t>(sizeof(float));
  const auto blocks_of = [](int64_t count, int64_t size) { return (count + size - 1) / size; };
  const int64_t scales = blocks_of(numbers, format.blocksize);
  const int64_t codes_and_map = blocks_of(numbers, 2) + 16 * number_size;
  if (!format.double_quant)
    return codes_and_map + scales * number_size;
  return codes_and_map + scales + number_size * (256 + blocks_of(scales, quant::nested_blocksize));
}

int64_t bytes_of(const nn::NamedMember& parameter, const SaveOptions& options) {
  const int64_t numbers = parameter.member->shape().numel();
  const std::optional<quant::Format> format = format_of(parameter);
  if (format && !options.dequantize)
    return bytes_in_4_bits(numbers, *format);
  return numbers * static_cast<int64_t>(element_size(options.dtype));
}

/// "model-00002-of-00003.safetensors".
std::string shard_name(size_t number, size_t count) {
  const auto padded = [](size_t n) {
    const std::string digits = std::to_string(n);
    return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
  };
  return "model-" + padded(number) + "-of-" + padded(count) + ".safetensors";
}

/// Fills file after file in the order of the parameters.
std::vector<Shard> cut_into_shards(const std::vector<nn::NamedMember>& parameters,
                                   const SaveOptions& options) {
  std::vector<Shard> shards(1);
  for (const nn::NamedMember& parameter : parameters) {
    const int64_t bytes = bytes_of(parameter, options);
    if (!shards.back().parameters.empty() && shards.back().bytes + bytes > options.max_shard_bytes)
      shards.emplace_back();
    shards.back().parameters.push_back(parameter);
    shards.back().bytes += bytes;
  }
  if (shards.size() == 1)
    shards[0].file = "model.safetensors";
  for (size_t i = 0; i < shards.size() && shards.size() > 1; ++i)
    shards[i].file = shard_name(i + 1, shards.size());
  return shards;
}

void write_shard(const fs::path& folder, Shard& shard, const Form& form) {
  std::vector<io::LazyTensor> tensors;
  shard.bytes = 0;
  for (const nn::NamedMember& parameter : shard.parameters) {
    for (io::LazyTensor& tensor : tensors_of(parameter, form)) {
      shard.names.push_back(tensor.name);
      const auto& [dtype, shape] = tensor.info;
      shard.bytes += shape.numel() * static_cast<int64_t>(element_size(dtype));
      tensors.push_back(std::move(tensor));
    }
  }
  io::write_safetensors(folder / shard.file, tensors, {{"format", "pt"}});
}

constexpr const char* index_name = "model.safetensors.index.json";

void write_index(const fs::path& folder, const std::vector<Shard>& shards) {
  io::Json weight_map = io::Json::object();
  int64_t total = 0;
  for (const Shard& shard : shards) {
    total += shard.bytes;
    for (const std::string& name : shard.names)
      weight_map[name] = shard.file;
  }
  const io::Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
  io::write_file_atomically(folder / index_name, io::to_text(index) + "\n");
}

/// Removes the weight files of a model that was in the folder before: readers would take them for
/// parts of this one.
void remove_stale_weights(const fs::path& folder, const std::vector<Shard>& shards) {
  std::set<std::string> current;
  for (const Shard& shard : shards)
    current.insert(shard.file);
  if (shards.size() > 1)
    current.insert(index_name);
  std::vector<fs::path> stale;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (is_weight_file(name) && !current.contains(name))
      stale.push_back(entry.path());
  }
  for (const fs::path& path : stale)
    fs::remove(path);
}

std::string config_text(const nn::ModelInfo& info, DType dtype, bool is_quantized) {
  io::Json config = io::parse_json(info.config_json, "config.json");
  config["torch_dtype"] = torch_name(dtype);
  if (is_quantized)
    config["quantization_config"] = to_json(info.quant);
  return io::to_text(config) + "\n";
}

}  // namespace

bool is_weight_file(std::string_view name) {
  return name == "model.safetensors" || name == index_name ||
         (name.starts_with("model-") && name.ends_with(".safetensors"));
}

void save_pretrained(nn::CausalLM& model, const fs::path& folder, const SaveOptions& options) {
  GRAFT_CHECK(is_floating(options.dtype), ConfigError, "save_pretrained: dtype ", options.dtype,
              " given, a floating one expected");
  nn::for_each_member(model, [](const std::string& path, nn::Member& member) {
    GRAFT_CHECK(member.module() == nullptr || !member.module()->is_opaque(), ConfigError,
                "save_pretrained: ", path,
                " carries adapters, a plain model expected; merge them "
                "first");
  });
  const std::vector<nn::NamedMember> parameters = nn::named_parameters(model);
  std::vector<Shard> shards = cut_into_shards(parameters, options);
  std::error_code error;
  fs::create_directories(folder, error);
  GRAFT_CHECK(!error, IoError, "save_pretrained: cannot make the folder ", folder.string(), ": ",
              error.message());
  const nn::ModelInfo& info = model.info();
  const Form form{options.dtype, options.dequantize, info.quant.bnb_4bit_quant_storage,
                  transposed_in_files(model)};
  for (Shard& shard : shards)
    write_shard(folder, shard, form);
  if (shards.size() > 1)
    write_index(folder, shards);
  remove_stale_weights(folder, shards);
  const bool is_quantized =
      !options.dequantize && std::ranges::any_of(parameters, [](const nn::NamedMember& entry) {
        return format_of(entry).has_value();
      });
  io::write_file_atomically(folder / "config.json", config_text(info, options.dtype, is_quantized));
}

}  // namespace graft::models
