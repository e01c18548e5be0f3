#include "graft/models/load.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "graft/io/gguf_model.h"
#include "graft/io/tensor_source.h"
#include "graft/models/base_source.h"
#include "graft/models/bitsandbytes.h"
#include "graft/models/family.h"
#include "graft/models/gguf_config.h"
#include "graft/models/gguf_source.h"
#include "graft/models/load_empty.h"
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

constexpr const char* config_name = "config.json";

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
  const fs::path config_path = folder / config_name;
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
  require_model(path);
  if (fs::is_directory(path))
    return open_folder(path);
  GRAFT_CHECK(path.extension() != ".safetensors" && path.extension() != ".json", ConfigError,
              "load: ", path.string(), " is one file of a model; give the folder it is in");
  return open_gguf(path);
}

/// Lets the configuration say how the tensors are held, whatever it said before.
void take_over_format(Checkpoint& checkpoint) {
  quant::Config& config = checkpoint.config.quant;
  const std::optional<quant::Format> format = quantized_format(*checkpoint.tensors);
  config.load_in_4bit = format.has_value();
  if (!format)
    return;
  config.bnb_4bit_quant_type = format->type;
  config.bnb_4bit_use_double_quant = format->double_quant;
  config.blocksize = format->blocksize;
}

/// Opens the checkpoint at `path`, which tells how its weights are held.
Checkpoint open_surveyed(const fs::path& path) {
  Checkpoint checkpoint = open(path);
  take_over_format(checkpoint);
  return checkpoint;
}

/// A checkpoint in 4 bits is not put in 4 bits again.
void check_quantized_alike(const quant::Config& stored, const quant::Config& asked,
                           const fs::path& path) {
  GRAFT_CHECK(
      to_string(stored.format()) == to_string(asked.format()), ConfigError, "load: ", path.string(),
      " is quantised already, as ", to_string(stored.format()), ", but ", to_string(asked.format()),
      " is asked for; leave --quant and its like out, or give ", "the model as it was before");
  GRAFT_CHECK(
      !asked.llm_int8_skip_modules || asked.llm_int8_skip_modules == stored.llm_int8_skip_modules,
      ConfigError, "load: ", path.string(),
      " is quantised already; llm_int8_skip_modules cannot choose others of its modules");
}

/// What products in 4 bits multiply in.
DType compute_dtype(const LoadOptions& options) {
  const DType by_weights = options.dtype == DType::bf16 ? DType::bf16 : DType::f32;
  return options.quant.bnb_4bit_compute_dtype.value_or(by_weights);
}

/// How the model is to hold its linear layers.
quant::Config settled(const quant::Config& stored, const LoadOptions& options,
                      const fs::path& path) {
  quant::check(options.quant);
  if (stored.load_in_4bit && options.quant.load_in_4bit)
    check_quantized_alike(stored, options.quant, path);
  quant::Config config = stored.load_in_4bit ? stored : options.quant;
  if (!config.load_in_4bit)
    return {};
  GRAFT_CHECK(options.dtype != DType::f64, ConfigError,
              "load: dtype f64 given, but weights in 4 bits have f32 products");
  config.bnb_4bit_compute_dtype = compute_dtype(options);
  return config;
}

/// The model of a checkpoint, whose tensors are found to fit it.
std::unique_ptr<nn::CausalLM> make(Checkpoint& checkpoint, const fs::path& path, DType dtype) {
  auto model = make_model(checkpoint.config, path.string(), dtype);
  checkpoint.tensors = with_prefix(std::move(checkpoint.tensors), model->members()[0]->name());
  check_tensors(*model, *checkpoint.tensors);
  return model;
}

/// The numbers of the parameters that the source has in 4 bits.
int64_t quantized_count(nn::CausalLM& model, const io::TensorSource& source) {
  int64_t count = 0;
  for (const nn::NamedMember& parameter : nn::named_parameters(model)) {
    if (is_quantized(source, parameter.path))
      count += parameter.member->shape().numel();
  }
  return count;
}

/// The floating dtype of most numbers that are not in 4 bits.
DType dtype_of_most(const io::TensorSource& tensors) {
  std::map<DType, int64_t> counts;
  for (const std::string& name : tensors.names()) {
    const io::TensorInfo info = tensors.info(name);
    if (is_floating(info.dtype) && !is_quantized(tensors, name) &&
        !is_quantization_companion(tensors, name))
      counts[info.dtype] += info.shape.numel();
  }
  const auto most =
      std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; });
  return most == counts.end() ? DType::f32 : most->first;
}

}  // namespace

void require_model(const fs::path& path) {
  if (!fs::exists(path))
    refuse_missing(path);
  if (!fs::is_directory(path) || fs::exists(path / config_name))
    return;
  GRAFT_CHECK(!fs::exists(path / "adapter_config.json"), ConfigError, "load: ", path.string(),
              " holds an adapter, a model expected; give the model it was "
              "trained on and this folder as its adapter");
  throw ConfigError(concat("load: ", path.string(),
                           " has no config.json; a folder with config.json and safetensors, or a "
                           "GGUF file expected"));
}

std::unique_ptr<nn::CausalLM> load(const fs::path& path, const LoadOptions& options) {
  GRAFT_CHECK(is_floating(options.dtype), ConfigError, "load: dtype ", options.dtype,
              " given, a floating one expected");
  Checkpoint checkpoint = open_surveyed(path);
  const bool is_stored = checkpoint.config.quant.load_in_4bit;
  checkpoint.config.quant = settled(checkpoint.config.quant, options, path);
  auto model = make(checkpoint, path, options.dtype);
  WeightOptions weights{.dtype = options.dtype,
                        .device = options.device,
                        .format = checkpoint.config.quant.format(),
                        .compute = compute_dtype(options),
                        .on_quantized = options.on_quantized,
                        .streamed = options.streamed};
  if (!is_stored)
    weights.quantized = weights_to_quantize(*model, options.quant, options.matcher);
  if (options.progress)
    weights.progress = [&, total = nn::count_parameters(*model)](int64_t done) {
      options.progress({done, total});
    };
  load_tensors(*model, std::move(checkpoint.tensors), weights);
  return model;
}

std::unique_ptr<nn::CausalLM> load_without_numbers(const fs::path& path) {
  Checkpoint checkpoint = open_surveyed(path);
  return make(checkpoint, path, LoadOptions().dtype);
}

Description describe(const fs::path& path) {
  Checkpoint checkpoint = open_surveyed(path);
  const auto model = make(checkpoint, path, LoadOptions().dtype);
  return {.info = model->info(),
          .format = checkpoint.format,
          .parameters = nn::count_parameters(*model),
          .quantized = quantized_count(*model, *checkpoint.tensors),
          .file_dtype = dtype_of_most(*checkpoint.tensors)};
}

}  // namespace graft::models
