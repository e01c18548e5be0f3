#include "graft/models/save.h"

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "graft/io/file.h"
#include "graft/io/json.h"
#include "graft/io/safetensors.h"
#include "graft/models/weights.h"

namespace graft::models {
namespace {

namespace fs = std::filesystem;

/// The parameters of one file.
struct Shard {
  std::string file;
  std::vector<nn::NamedMember> parameters;
  int64_t bytes = 0;
};

int64_t bytes_of(const nn::NamedMember& parameter, DType dtype) {
  return parameter.member->shape().numel() * static_cast<int64_t>(element_size(dtype));
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
    const int64_t bytes = bytes_of(parameter, options.dtype);
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

void write_shard(const fs::path& folder, const Shard& shard,
                 const std::set<std::string>& transposed, DType dtype) {
  std::vector<io::NamedTensor> tensors;
  for (const nn::NamedMember& parameter : shard.parameters) {
    Tensor value = parameter.member->value().to(dtype);
    if (transposed.contains(parameter.path))
      value = value.transpose(0, 1).contiguous();
    tensors.push_back({parameter.path, std::move(value)});
  }
  io::write_safetensors(folder / shard.file, tensors, {{"format", "pt"}});
}

constexpr const char* index_name = "model.safetensors.index.json";

void write_index(const fs::path& folder, const std::vector<Shard>& shards) {
  io::Json weight_map = io::Json::object();
  int64_t total = 0;
  for (const Shard& shard : shards) {
    total += shard.bytes;
    for (const nn::NamedMember& parameter : shard.parameters)
      weight_map[parameter.path] = shard.file;
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

std::string config_text(const nn::ModelInfo& info, DType dtype) {
  constexpr std::pair<DType, const char*> torch_names[] = {{DType::f64, "float64"},
                                                           {DType::f32, "float32"},
                                                           {DType::bf16, "bfloat16"},
                                                           {DType::f16, "float16"}};
  io::Json config = io::parse_json(info.config_json, "config.json");
  for (const auto& [candidate, torch_name] : torch_names) {
    if (candidate == dtype)
      config["torch_dtype"] = torch_name;
  }
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
  const std::vector<Shard> shards = cut_into_shards(nn::named_parameters(model), options);
  std::error_code error;
  fs::create_directories(folder, error);
  GRAFT_CHECK(!error, IoError, "save_pretrained: cannot make the folder ", folder.string(), ": ",
              error.message());
  const std::set<std::string> transposed = transposed_in_files(model);
  for (const Shard& shard : shards)
    write_shard(folder, shard, transposed, options.dtype);
  if (shards.size() > 1)
    write_index(folder, shards);
  remove_stale_weights(folder, shards);
  io::write_file_atomically(folder / "config.json", config_text(model.info(), options.dtype));
}

}  // namespace graft::models
