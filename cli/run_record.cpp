#include "graft/cli/run_record.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "graft/cli/adapted_modules.h"
#include "graft/cli/config_file.h"
#include "graft/cli/machine.h"
#include "graft/cli/version.h"
#include "graft/io/checksum.h"
#include "graft/io/file.h"
#include "graft/tensor/error.h"
#include "graft/tensor/parallel.h"

namespace graft::cli {
namespace {

constexpr int record_version = 1;

io::Json counts_json(const SampleCounts& counts) {
  return {{"samples", counts.samples},
          {"tokens", counts.tokens},
          {"trained_tokens", counts.trained_tokens},
          {"longest", counts.longest}};
}

io::Json evaluation_json(const std::optional<train::Evaluation>& evaluation) {
  if (!evaluation)
    return nullptr;
  return {{"loss", evaluation->loss},
          {"perplexity", evaluation->perplexity},
          {"tokens", evaluation->tokens},
          {"samples", evaluation->samples}};
}

io::Json machine_json() {
  const Machine machine = this_machine();
  return {{"cpu", machine.cpu},
          {"features", machine.features},
          {"processors", machine.processors},
          {"threads", thread_count()},
          {"memory_bytes", machine.memory},
          {"system", machine.system}};
}

io::Json data_json(const TrainFlags& values, const TrainSetup& setup) {
  const text::SampleFile& data = *setup.data;
  io::Json json = counts_json(count(setup.samples()));
  json["format"] = text::name_of(data.format());
  json["loss_on"] = text::name_of(data.loss_on());
  json["chat_template"] = data.uses_chat_template();
  json.update(losses_json(data.stats()));
  if (values.packing)
    json["rows"] = setup.rows;
  json["file"] = data.path().filename().string();
  json["checksum"] = checksum_of_input(data.path());
  return json;
}

/// A path that means the same from any folder; what does not exist stays as it is.
std::string absolute_path(const std::string& path) {
  return std::filesystem::exists(path) ? std::filesystem::absolute(path).string() : path;
}

/// --chat-template with the path of the file whose template was taken; a template's name stays.
std::string absolute_template(const std::string& text, const text::Tokenizer* tokenizer) {
  std::error_code unknown;
  if (tokenizer == nullptr || !std::filesystem::is_regular_file(text, unknown))
    return text;
  const std::string& taken = tokenizer->chat_templates().at("default");
  const bool is_taken = std::filesystem::file_size(text, unknown) == taken.size() &&
                        io::read_file(text, std::ssize(taken)) == taken;
  return is_taken ? absolute_path(text) : text;
}

io::Json with_absolute_paths(io::Json settings, const text::Tokenizer* tokenizer) {
  for (const char* name : {"model", "data", "val-data", "out"})
    if (settings[name].is_string())
      settings[name] = absolute_path(settings[name]);
  for (const char* name : {"adapter", "plugin"})
    for (io::Json& text : settings[name])
      text = absolute_path(text);
  if (io::Json& text = settings["chat-template"]; text.is_string())
    text = absolute_template(text, tokenizer);
  return settings;
}

/// A member of a run's run.json; null where there is none, or no such file.
io::Json recorded(const std::filesystem::path& folder, const char* member) {
  const std::filesystem::path path = folder / "run.json";
  if (!std::filesystem::exists(path))
    return nullptr;
  try {
    return io::read_json_file(path).value(member, io::Json());
  } catch (const FormatError&) {
    return nullptr;  // nothing that a run depends on
  } catch (const io::Json::exception&) {
    return nullptr;
  }
}

}  // namespace

std::string name(train::RunEnd end) {
  switch (end) {
    case train::RunEnd::completed:
      return "completed";
    case train::RunEnd::early_stopped:
      return "early_stopped";
    case train::RunEnd::stopped:
      return "stopped";
  }
  return "unknown";
}

io::Json plan_json(const TrainFlags& values, TrainSetup& setup) {
  io::Json json;
  const nn::ModelInfo& info = setup.description.info;
  json["model"] = {{"path", values.model.model},
                   {"model_type", info.model_type},
                   {"parameters", setup.description.parameters},
                   {"held_as", held_text(setup.base->info())},
                   {"checksum", setup.fingerprint.at("model")}};
  json["trainable_parameters"] = setup.counts.trainable;
  json["all_parameters"] = setup.counts.all;
  json["data"] = data_json(values, setup);
  if (!setup.validation().empty())
    json["validation"] = counts_json(count(setup.validation()));
  json["batch_size"] = values.batch_size;
  json["grad_accum"] = values.grad_accum;
  json["steps"] = setup.total_steps();
  json["warmup_steps"] = train::warmup_steps(setup.options, setup.total_steps());
  json["threads"] = thread_count();
  if (setup.adapted) {
    json["modules"] = io::Json::array();
    for (const AdaptedModule& module : adapted_modules(*setup.adapted))
      json["modules"].push_back({{"path", module.path},
                                 {"in_features", module.in_features},
                                 {"out_features", module.out_features},
                                 {"r", module.r},
                                 {"alpha", module.alpha},
                                 {"scale", module.scale},
                                 {"parameters", module.parameters}});
  }
  return json;
}

io::Json outcome_json(const RunOutcome& outcome) {
  const train::RunResult& result = outcome.result;
  io::Json json;
  json["end"] = name(result.end);
  json["step"] = result.state.step;
  json["total_steps"] = result.total_steps;
  json["result_step"] = result.result_step;
  json["loss"] = result.last_step ? io::Json(result.last_step->loss) : io::Json();
  if (result.state.best_step >= 0)
    json["best"] = {{"step", result.state.best_step}, {"loss", result.state.best_loss}};
  json["validation_before"] = evaluation_json(outcome.before);
  json["validation_after"] = evaluation_json(outcome.after);
  json["tokens"] = result.state.tokens;
  json["input_tokens"] = result.state.input_tokens;
  json["seconds"] = result.seconds;
  json["training_seconds"] = outcome.training_seconds;
  json["tokens_per_second"] = outcome.tokens_per_second();
  json["peak_rss_bytes"] = peak_resident_bytes();
  json["files"] = outcome.files;
  return json;
}

void write_run_record(const RunFolder& folder, const Flags& flags, const TrainFlags& values,
                      TrainSetup& setup, const std::optional<train::Evaluation>& before,
                      const RunOutcome* outcome) {
  io::Json json;
  json["format"] = "graft run";
  json["format_version"] = record_version;
  json["graft"] = {{"version", version}, {"build", build}};
  json["settings"] = flags.resolved();
  json["machine"] = machine_json();
  json["seed"] = values.seed;
  io::Json plan = plan_json(values, setup);
  plan.erase("modules");  // adapter_config.json says it shorter
  json["plan"] = std::move(plan);
  const std::filesystem::path tokenizer =
      std::filesystem::path(values.model.model) / "tokenizer.json";
  if (std::filesystem::exists(tokenizer))
    json["tokenizer"] = {{"checksum", "xxh64:" + io::checksum_of_file(tokenizer)}};
  json["validation_before"] = evaluation_json(before);
  if (outcome != nullptr)
    json["result"] = outcome_json(*outcome);
  io::write_file_atomically(folder / "run.json", io::to_text(json) + "\n");
  io::write_file_atomically(
      folder / "run.toml",
      "# graft train --config run.toml repeats this run\n" +
          to_toml(with_absolute_paths(flags.resolved(), setup.tokenizer.get())));
}

std::optional<train::Evaluation> recorded_validation_before(const std::filesystem::path& folder) {
  const io::Json before = recorded(folder, "validation_before");
  if (!before.is_object())
    return std::nullopt;  // the run has no validation
  try {
    const io::JsonObject object(before, (folder / "run.json").string());
    const double loss = object.number("loss");
    return train::Evaluation{.loss = loss,
                             .perplexity = std::exp(loss),  // null in the file where it is inf
                             .tokens = object.integer("tokens"),
                             .samples = object.integer("samples")};
  } catch (const FormatError&) {
    return std::nullopt;
  }
}

io::Json recorded_result(const std::filesystem::path& folder) {
  const io::Json result = recorded(folder, "result");
  const bool is_whole = result.is_object() && result.contains("end") && result.contains("files") &&
                        result["files"].is_array();
  return is_whole && result["end"] != name(train::RunEnd::stopped) ? result : io::Json();
}

std::string recorded_model_path(const std::filesystem::path& folder, const std::string& path) {
  const io::Json settings = recorded(folder, "settings");
  const io::Json given = settings.is_object() ? settings.value("model", io::Json()) : io::Json();
  std::error_code unknown;
  const bool is_same =
      given.is_string() && std::filesystem::equivalent(given.get<std::string>(), path, unknown);
  return is_same ? given.get<std::string>() : path;
}

}  // namespace graft::cli
