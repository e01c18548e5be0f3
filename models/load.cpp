#include "graft/models/load.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "graft/io/gguf_model.h"
#include "graft/io/tensor_source.h"
#include "graft/models/base_source.h"
#include "graft/models/family.h"
#include "graft/models/gguf_config.h"
#include "graft/models/gguf_source.h"
#include "graft/models/weights.h"

namespace graft::models {
namespace {

namespace fs = std::filesystem;

/// A model on disk, opened: its configuration and its tensors.
struct Checkpoint {
  DecoderConfig config;
  std::unique_ptr<io::TensorSource> tensors;
  std::string format;
};

/// True where `path` looks like "organisation/name" on a hub.
bool is_hub_name(const std::string& path) {
  const size_t slash = path.find('/');
  return slash != std::string::npos && slash > 0 && slash + 1 < path.size() &&
         path.find('/', slash + 1) == std::string::npos && path[0] != '.' && path[0] != '~';
}

[[noreturn]] void refuse_missing(const fs::path& path) {
  const std::string name = path.string();
  if (is_hub_name(name)) {
    const std::string folder = path.filename().string();
    throw ConfigError(concat("load: there is no folder ", name,
                             " here, and graft downloads nothing. To use that model of the Hugging "
                             "Face hub, bring a copy here (hf download ",
                             name, " --local-dir ", folder, ") and give its folder: ", folder));
  }
  throw ConfigError(concat("load: there is no ", name,
                           "; a folder with config.json and safetensors, or a GGUF file expected"));
}

Checkpoint open_folder(const fs::path& folder) {
  const fs::path config_path = folder / "config.json";
  if (!fs::exists(config_path)) {
    GRAFT_CHECK(!fs::exists(folder / "adapter_config.json"), ConfigError, "load: ", folder.string(),
                " holds an adapter, a model expected; give the model it was "
                "trained on and this folder as its adapter");
    throw ConfigError(concat("load: ", folder.string(),
                             " has no config.json; a folder with config.json and safetensors, or a "
                             "GGUF file expected"));
  }
  const io::Json json = io::read_json_file(config_path);
  Checkpoint checkpoint{read_decoder_config(io::JsonObject(json, config_path.string())), nullptr,
                        "safetensors"};
  const fs::path generation_path = folder / "generation_config.json";
  if (fs::exists(generation_path)) {
    const io::Json generation = io::read_json_file(generation_path);
    read_generation_config(io::JsonObject(generation, generation_path.string()), checkpoint.config);
  }
  checkpoint.tensors = io::open_checkpoint(folder);
  return checkpoint;
}

Checkpoint open_gguf(const fs::path& path) {
  auto model = std::make_shared<const io::GgufModel>(path);
  Checkpoint checkpoint{read_gguf_config(*model), nullptr, "gguf"};
  checkpoint.tensors = std::make_unique<GgufSource>(std::move(model), checkpoint.config);
  return checkpoint;
}

Checkpoint open(const fs::path& path) {
  if (!fs::exists(path))
    refuse_missing(path);
  if (fs::is_directory(path))
    return open_folder(path);
  GRAFT_CHECK(path.extension() != ".safetensors" && path.extension() != ".json", ConfigError,
              "load: ", path.string(), " is one file of a model; give the folder it is in");
  return open_gguf(path);
}

/// The model of a checkpoint, whose tensors are found to fit it.
std::unique_ptr<nn::CausalLM> make(Checkpoint& checkpoint, const fs::path& path, DType dtype) {
  auto model = make_model(checkpoint.config, path.string(), dtype);
  checkpoint.tensors = with_prefix(std::move(checkpoint.tensors), model->members()[0]->name());
  check_tensors(*model, *checkpoint.tensors);
  return model;
}

/// The floating dtype of most numbers.
DType dtype_of_most(const io::TensorSource& tensors) {
  std::map<DType, int64_t> counts;
  for (const std::string& name : tensors.names()) {
    const io::TensorInfo info = tensors.info(name);
    if (is_floating(info.dtype))
      counts[info.dtype] += info.shape.numel();
  }
  const auto most =
      std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; });
  return most == counts.end() ? DType::f32 : most->first;
}

}  // namespace

std::unique_ptr<nn::CausalLM> load(const fs::path& path, const LoadOptions& options) {
  GRAFT_CHECK(is_floating(options.dtype), ConfigError, "load: dtype ", options.dtype,
              " given, a floating one expected");
  Checkpoint checkpoint = open(path);
  auto model = make(checkpoint, path, options.dtype);
  WeightOptions weights{.dtype = options.dtype, .device = options.device};
  if (options.progress)
    weights.progress = [&, total = nn::count_parameters(*model)](int64_t done) {
      options.progress({done, total});
    };
  load_tensors(*model, *checkpoint.tensors, weights);
  return model;
}

Description describe(const fs::path& path) {
  Checkpoint checkpoint = open(path);
  const auto model = make(checkpoint, path, LoadOptions().dtype);
  return {.info = model->info(),
          .format = checkpoint.format,
          .parameters = nn::count_parameters(*model),
          .file_dtype = dtype_of_most(*checkpoint.tensors)};
}

}  // namespace graft::models
