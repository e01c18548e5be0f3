#include "graft/cli/inspection.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "graft/cli/terminal.h"
#include "graft/cli/training_data.h"
#include "graft/io/safetensors.h"
#include "graft/models/load.h"
#include "graft/peft/config.h"
#include "graft/tensor/error.h"
#include "graft/text/dataset.h"
#include "graft/text/record_reader.h"
#include "graft/train/checkpoint.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

/// Of tokenised data whose model is not known.
constexpr int64_t max_vocabulary = int64_t{1} << 24;
constexpr int64_t max_record_bytes = int64_t{64} << 20;
constexpr size_t most_listed = 40;  // tensors shown to people; --json has all

std::string shape_text(const Shape& shape) {
  return concat(shape);
}

/// "5, 6, 7"
std::string listed(const std::vector<int64_t>& ids) {
  std::string text;
  for (const int64_t id : ids)
    text += concat(text.empty() ? "" : ", ", id);
  return text;
}

/// The bytes of all tensors of a file.
int64_t data_bytes(const io::SafetensorsFile& file) {
  int64_t nbytes = 0;
  for (const io::SafetensorsEntry& entry : file.entries())
    nbytes += entry.end - entry.begin;
  return nbytes;
}

int64_t element_count(const io::SafetensorsFile& file) {
  int64_t count = 0;
  for (const io::SafetensorsEntry& entry : file.entries())
    count += entry.shape.numel();
  return count;
}

/// "F32", or "F32, BF16".
std::string dtypes_of(const io::SafetensorsFile& file) {
  std::set<std::string> names;
  for (const io::SafetensorsEntry& entry : file.entries())
    names.emplace(entry.dtype);
  std::string text;
  for (const std::string& name : names)
    text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// The module a LoRA tensor belongs to: "…q_proj" of "…q_proj.lora_A.weight"; empty for others.
std::string lora_module(const std::string& key) {
  const size_t position = key.find(".lora_A.");
  return position == key.npos ? std::string() : key.substr(0, position);
}

/// How many modules of each name: "q_proj x30, v_proj x30".
std::string module_summary(const io::SafetensorsFile& file) {
  std::map<std::string, int64_t> counts;
  for (const io::SafetensorsEntry& entry : file.entries())
    if (const std::string module = lora_module(entry.name); !module.empty())
      ++counts[module.substr(module.rfind('.') + 1)];
  std::string text;
  for (const auto& [name, count] : counts)
    text += (text.empty() ? "" : ", ") + name + " x" + std::to_string(count);
  return text;
}

std::shared_ptr<const io::Json> shared(const io::Json& json) {
  return std::make_shared<const io::Json>(json);
}

/// A record as JSON; that of a plain text as a text record.
io::Json parsed(const text::RecordReader& file, const text::Record& record) {
  if (file.kind() == text::FileKind::plain)
    return {{"text", ""}};
  return io::parse_json(record.bytes, concat(file.path(), ":", record.place.line),
                        {.max_bytes = max_record_bytes});
}

/// The first record's keys, e.g. "prompt, completion".
std::string keys_of_first(const fs::path& file) {
  text::RecordReader records(file);
  const std::optional<text::Record> record = records.next();
  if (!record)
    throw FormatError(file.string(), -1, "there is no record in it");
  const io::Json json = parsed(records, *record);
  if (json.is_string())
    return "none, they are texts";
  std::string keys;
  for (const std::string& key :
       io::JsonObject(json, concat(file.string(), ":", record->place.line)).keys())
    keys += (keys.empty() ? "" : ", ") + key;
  return keys;
}

bool is_tokenised(const fs::path& file) {
  return keys_of_first(file).find("input_ids") != std::string::npos;
}

/// What can be said of records without a tokenizer.
Inspection inspect_records(const fs::path& file) {
  int64_t count = 0;
  text::RecordReader records(file);
  while (const std::optional<text::Record> record = records.next()) {
    parsed(records, *record);
    count += record->place.ends;
  }
  Inspection result{.kind = "data set", .rows = {}, .json = nullptr};
  result.rows = {{"records", grouped(count)},
                 {"keys", keys_of_first(file)},
                 {"tokens", "not counted: add --model MODEL, whose tokenizer reads them"}};
  result.json = shared({{"records", count}, {"keys", keys_of_first(file)}});
  return result;
}

/// What the weights take with those that are not in 4 bits as `dtype`.
int64_t bytes_in_memory(const models::Description& model, DType dtype) {
  const double bits = quant::bits_per_number(model.info.quant.format());
  return (model.parameters - model.quantized) * static_cast<int64_t>(element_size(dtype)) +
         std::llround(static_cast<double>(model.quantized) * bits / 8);
}

}  // namespace

Inspection inspect_model(const fs::path& path) {
  const models::Description model = models::describe(path);
  const nn::ModelInfo& info = model.info;
  Inspection result{.kind = "model", .rows = {}, .json = nullptr};
  result.rows = {
      {"family", info.model_type + " (" + info.architecture + ")"},
      {"format", model.format},
      {"parameters", grouped(model.parameters)},
      {"layers", grouped(info.layers)},
      {"hidden size", grouped(info.hidden_size) + ", MLP " + grouped(info.intermediate_size)},
      {"heads", grouped(info.heads) + " of size " + grouped(info.head_dim) + ", " +
                    grouped(info.kv_heads) + " for keys and values"},
      {"vocabulary", grouped(info.vocab_size) +
                         (info.tied_head ? ", the head shares the embedding" : ", own head")},
      {"positions", grouped(info.max_positions)},
      {"in memory", byte_text(bytes_in_memory(model, DType::f32)) + " as f32, " +
                        byte_text(bytes_in_memory(model, DType::bf16)) + " as bf16"},
  };
  if (model.quantized > 0)
    result.rows.emplace_back("in 4 bits", grouped(model.quantized) + " parameters: " +
                                              quant::to_string(info.quant.format()));
  const io::Json json = {{"model_type", info.model_type},
                         {"architecture", info.architecture},
                         {"format", model.format},
                         {"parameters", model.parameters},
                         {"quantized_parameters", model.quantized},
                         {"layers", info.layers},
                         {"hidden_size", info.hidden_size},
                         {"intermediate_size", info.intermediate_size},
                         {"heads", info.heads},
                         {"kv_heads", info.kv_heads},
                         {"head_dim", info.head_dim},
                         {"vocab_size", info.vocab_size},
                         {"max_positions", info.max_positions},
                         {"tied_head", info.tied_head}};
  result.json = shared(json);
  return result;
}

Inspection inspect_adapter(const fs::path& folder) {
  const peft::LoraConfig config = peft::read_lora_config(folder / "adapter_config.json");
  const io::SafetensorsFile file(folder / "adapter_model.safetensors", io::Access::read);
  const double scale = peft::scaling(config, config.r, config.lora_alpha);
  const std::string base = config.base_model_name_or_path.value_or("not said");
  Inspection result{.kind = "adapter", .rows = {}, .json = nullptr};
  result.rows = {
      {"rank", grouped(config.r) + ", alpha " + number_text(config.lora_alpha) + ", scale " +
                   number_text(scale) + (config.use_rslora ? " (rsLoRA)" : "") +
                   (config.use_dora ? ", DoRA" : "")},
      {"targets", concat(config.target_modules)},
      {"modules", module_summary(file)},
      {"parameters", grouped(element_count(file)) + " in " +
                         counted(static_cast<int64_t>(file.entries().size()), "tensor") + ", " +
                         dtypes_of(file)},
      {"size", byte_text(data_bytes(file))},
      {"base model", base},
  };
  if (!config.rank_pattern.empty() || !config.alpha_pattern.empty())
    result.rows.emplace_back("patterns", "some modules have a rank or alpha of their own");
  if (config.alora_invocation_tokens)
    result.rows.emplace_back("invoked by",
                             "tokens " + listed(*config.alora_invocation_tokens) + " (aLoRA)");
  io::Json json = {{"r", config.r},
                   {"lora_alpha", config.lora_alpha},
                   {"scale", scale},
                   {"use_rslora", config.use_rslora},
                   {"use_dora", config.use_dora},
                   {"target_modules", concat(config.target_modules)},
                   {"parameters", element_count(file)},
                   {"tensors", file.entries().size()},
                   {"bytes", data_bytes(file)},
                   {"base_model", base}};
  if (config.alora_invocation_tokens)
    json["alora_invocation_tokens"] = *config.alora_invocation_tokens;
  const train::CheckpointSearch checkpoints = train::find_checkpoints(folder / "checkpoints");
  if (!checkpoints.valid.empty()) {
    result.rows.emplace_back("checkpoints",
                             counted(static_cast<int64_t>(checkpoints.valid.size()), "checkpoint") +
                                 ", the newest after step " + grouped(checkpoints.valid[0].step));
    json["newest_checkpoint_step"] = checkpoints.valid[0].step;
  }
  for (const train::DamagedCheckpoint& damaged : checkpoints.damaged)
    result.rows.emplace_back("damaged", damaged.folder.string() + ": " + damaged.problem);
  result.json = shared(json);
  return result;
}

Inspection inspect_checkpoint(const fs::path& folder) {
  const train::CheckpointInfo checkpoint = train::verify_checkpoint(folder);
  const train::TrainerState state = train::read_trainer_state(checkpoint);
  Inspection result{.kind = "checkpoint", .rows = {}, .json = nullptr};
  result.rows = {
      {"step", grouped(state.step)},
      {"position", "epoch " + grouped(state.sampler.epoch + 1) + ", " +
                       counted(state.sampler.position, "sample") + " into it"},
      {"tokens", grouped(state.input_tokens) + " seen, " + grouped(state.tokens) + " with a loss"},
      {"size", byte_text(checkpoint.bytes) + ", all files verified"},
  };
  if (state.best_step >= 0)
    result.rows.emplace_back("best", "loss " + fixed_text(state.best_loss, 4) + " after step " +
                                         grouped(state.best_step));
  for (const auto& [name, value] : checkpoint.fingerprint)
    result.rows.emplace_back(name, value);
  const io::Json json = {{"step", state.step},
                         {"epoch", state.sampler.epoch},
                         {"position", state.sampler.position},
                         {"tokens", state.tokens},
                         {"input_tokens", state.input_tokens},
                         {"bytes", checkpoint.bytes},
                         {"fingerprint", checkpoint.fingerprint}};
  result.json = shared(json);
  return result;
}

Inspection inspect_data(const fs::path& path, const std::string& model) {
  const fs::path file = text::data_file(path, text::DataPart::train);
  const std::optional<text::Tokenizer> tokenizer =
      model.empty() ? std::nullopt : load_tokenizer(model);
  if (!tokenizer && !is_tokenised(file))
    return inspect_records(file);
  text::DatasetOptions options;
  options.vocab_size = tokenizer ? 0 : max_vocabulary;
  text::DatasetReader reader(file, tokenizer ? &*tokenizer : nullptr, options);
  while (reader.next()) {
  }
  const text::DatasetStats& stats = reader.stats();
  Inspection result{.kind = "data set", .rows = {}, .json = nullptr};
  result.rows = {
      {"format", concat(text::name_of(reader.format()))},
      {"loss on", concat(text::name_of(reader.loss_on()), " by default")},
      {"samples", grouped(stats.samples)},
      {"tokens", grouped(stats.tokens) + ", " + grouped(stats.trained_tokens) +
                     " of them learnt (" + percent_text(stats.trained_tokens, stats.tokens) + ")"},
      {"longest", counted(stats.longest, "token")},
  };
  if (stats.without_stop > 0)
    result.rows.emplace_back("no stop token", counted(stats.without_stop, "sample") +
                                                  ": from those a model does not learn to stop");
  result.json = shared({{"format", text::name_of(reader.format())},
                        {"loss_on", text::name_of(reader.loss_on())},
                        {"samples", stats.samples},
                        {"tokens", stats.tokens},
                        {"trained_tokens", stats.trained_tokens},
                        {"longest", stats.longest},
                        {"without_stop", stats.without_stop}});
  return result;
}

Inspection inspect_tensors(const fs::path& path) {
  const io::SafetensorsFile file(path, io::Access::read);
  Inspection result{.kind = "tensors", .rows = {}, .json = nullptr};
  result.rows = {{"tensors", grouped(static_cast<int64_t>(file.entries().size()))},
                 {"parameters", grouped(element_count(file)) + ", " + dtypes_of(file)},
                 {"size", byte_text(data_bytes(file))}};
  for (const auto& [key, value] : file.metadata())
    result.rows.emplace_back("metadata", key + " = " + value);
  io::Json json;
  json["metadata"] = file.metadata();
  for (size_t i = 0; i < file.entries().size(); ++i) {
    const io::SafetensorsEntry& entry = file.entries()[i];
    if (i < most_listed)
      result.rows.emplace_back(
          "", entry.name + " " + std::string(entry.dtype) + " " + shape_text(entry.shape));
    io::Json shape = io::Json::array();
    for (int dimension = 0; dimension < entry.shape.rank(); ++dimension)
      shape.push_back(entry.shape[dimension]);
    json["tensors"][entry.name] = {{"dtype", std::string(entry.dtype)}, {"shape", shape}};
  }
  if (file.entries().size() > most_listed)
    result.rows.emplace_back("", concat("and ", file.entries().size() - most_listed, " more"));
  result.json = shared(json);
  return result;
}

}  // namespace graft::cli
