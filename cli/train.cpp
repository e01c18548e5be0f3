// graft train: fine-tunes a model and writes the adapter, its log and its checkpoints.

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <new>
#include <nlohmann/json.hpp>

#include "graft/cli/commands.h"
#include "graft/cli/flags.h"
#include "graft/cli/interrupt.h"
#include "graft/cli/run_folder.h"
#include "graft/cli/run_record.h"
#include "graft/cli/step_log.h"
#include "graft/cli/terminal.h"
#include "graft/cli/train_advice.h"
#include "graft/cli/train_flags.h"
#include "graft/cli/train_panel.h"
#include "graft/cli/train_setup.h"
#include "graft/cli/train_view.h"
#include "graft/models/load.h"
#include "graft/models/save.h"
#include "graft/nn/weight.h"
#include "graft/peft/sites.h"
#include "graft/train/trainer.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

/// The names in a folder, without temporary ones.
std::vector<std::string> files_of(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with('.'))
      names.push_back(entry.is_directory() ? name + "/" : name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// One call of `graft train`, behind the flags.
class Training {
 public:
  Training(const Flags& flags, const TrainFlags& values)
      : flags_(flags), values_(values), setup_(prepare_training(values)) {}

  void print_plan();
  ExitCode run();

 private:
  void resume(train::Trainer& trainer);
  /// Says that the run has come to its end before; `result` is in its run.json, and stays.
  ExitCode leave_finished(train::Trainer& trainer, io::Json result);
  /// Nothing without validation data, or where a signal came meanwhile.
  std::optional<train::Evaluation> evaluate(TrainView& view);
  /// Runs the trainer; errors then say how to go on.
  train::RunResult train(train::Trainer& trainer) const;
  /// Validates the result and writes it.
  void finish(TrainView& view);
  void write_weights();
  /// The model that LoftQ made, where the adapter fits no other; a resumed run has it already.
  void write_base();
  void print_outcome() const;

  const Flags& flags_;
  const TrainFlags& values_;
  TrainSetup setup_;
  const Terminal terminal_ = terminal_of(2);
  RunOutcome outcome_;
};

void Training::print_plan() {
  const Terminal terminal = terminal_of(1);
  if (values_.json)
    std::cout << io::to_text(plan_json(values_, setup_)) << "\n";
  else
    std::cout << start_panel(values_, setup_, terminal) << module_table(setup_, terminal)
              << "\nThis was a dry run: nothing was trained or written.\n";
}

void Training::resume(train::Trainer& trainer) {
  if (!values_.resume)
    return;
  const bool resumed = trainer.resume();
  if (resumed && trainer.is_complete())
    return;
  if (resumed)
    std::cerr << "continuing after step " << grouped(trainer.state().step) << "\n";
  else
    std::cerr << "there is no checkpoint in " << values_.out
              << " yet: starting from the beginning\n";
}

std::optional<train::Evaluation> Training::evaluate(TrainView& view) {
  if (setup_.validation().empty())
    return std::nullopt;
  view.on_phase(train::Phase::evaluating);
  const auto progress = [&](int64_t done, int64_t total) {
    view.on_progress(done, total);
    return !stop_requested();
  };
  const auto result =
      train::evaluate(setup_.model(), setup_.validation(),
                      {.batch_size = values_.batch_size, .adapters = {}, .progress = progress});
  view.clear_live_line();
  return result;
}

train::RunResult Training::train(train::Trainer& trainer) const {
  try {
    return trainer.run();
  } catch (const NonFiniteError& error) {
    throw NonFiniteError(error.what() + after_non_finite(values_, trainer.saved_step()));
  } catch (const OutOfMemory& error) {
    throw OutOfMemory(error.what() + after_out_of_memory(values_, trainer.saved_step()));
  } catch (const std::bad_alloc&) {
    throw OutOfMemory("out of memory" + after_out_of_memory(values_, trainer.saved_step()));
  }
}

void Training::finish(TrainView& view) {
  const train::RunResult& result = outcome_.result;
  const bool is_known = result.evaluation && result.state.evaluated_step == result.result_step;
  outcome_.after = is_known ? result.evaluation : evaluate(view);
  write_weights();
}

void Training::write_weights() {
  const fs::path out = values_.out;
  if (setup_.adapted)
    setup_.adapted->save_pretrained(out, setup_.adapted->available_adapters(),
                                    {.subtract_mutated_init = values_.subtract_mutated_init});
  else
    models::save_pretrained(*setup_.base, out, {.dtype = setup_.base->info().dtype});
  if (setup_.tokenizer)
    setup_.tokenizer->save(out);
}

void Training::write_base() {
  const fs::path folder = values_.base_folder();
  if (!values_.writes_base() || fs::exists(folder / "config.json"))
    return;
  const DType dtype = setup_.description.file_dtype;
  const auto model =
      models::load(values_.model.model,
                   {.dtype = dtype, .quant = quant_config(values_.model), .streamed = true});
  std::map<std::string, nn::Member*> held;
  for (const nn::NamedMember& parameter : peft::base_parameters(*setup_.base))
    held[parameter.path] = parameter.member;
  for (const nn::NamedMember& parameter : nn::named_parameters(*model)) {
    auto* weight = dynamic_cast<nn::Weight*>(parameter.member);
    if (weight == nullptr || !weight->form().format)
      continue;
    const auto& own = dynamic_cast<const nn::Weight&>(*held.at(parameter.path));
    weight->load(std::get<quant::QuantizedTensor>(own.storage()));
  }
  if (setup_.tokenizer) {
    fs::create_directories(folder);
    setup_.tokenizer->save(folder);
  }
  models::save_pretrained(*model, folder, {.dtype = dtype});
}

ExitCode Training::leave_finished(train::Trainer& trainer, io::Json result) {
  const auto is_missing = [&](const io::Json& name) {
    return !name.is_string() || !fs::exists(fs::path(values_.out) / name.get<std::string>());
  };
  if (std::ranges::any_of(result["files"], is_missing)) {
    train(trainer);  // nothing but taking up the best weights, with --keep-best
    write_weights();
  }
  if (values_.json) {
    result["out"] = values_.out;
    std::cout << io::to_text(result) << "\n";
    return ExitCode::done;
  }
  const int64_t step = trainer.state().step;
  std::cout << "finished already: " << grouped(step) << " of "
            << counted(trainer.total_steps(), "step") << "; the result in " << values_.out
            << " stays as it is\n"
            << after_finished(values_, step, trainer.total_steps());
  return ExitCode::done;
}

void Training::print_outcome() const {
  if (!values_.json) {
    std::cerr << std::endl;
    std::cout << end_summary(values_, setup_, outcome_, terminal_of(1));
    return;
  }
  io::Json json;
  json["out"] = values_.out;
  json.update(outcome_json(outcome_));
  std::cout << io::to_text(json) << "\n";
}

ExitCode Training::run() {
  watch_signals();
  survive_broken_pipes();
  std::cerr << start_panel(values_, setup_, terminal_) << std::endl;
  const RunFolder folder(values_.out, values_.out_policy());
  train::CheckpointStore store(folder / "checkpoints", *setup_.weights,
                               {.keep = values_.keep, .fingerprint = setup_.fingerprint});
  StepLog log(folder / "log.jsonl");
  TrainView view(terminal_, log,
                 {.total_steps = setup_.total_steps(),
                  .eval_steps = values_.eval_steps,
                  .has_validation = !setup_.validation().empty()});
  train::Trainer trainer(
      setup_.model(), *setup_.optimizer, setup_.samples(), setup_.options,
      {.validation = setup_.validation(), .observer = &view, .checkpoints = &store});
  resume(trainer);
  if (io::Json result = recorded_result(values_.out);
      values_.resume && trainer.is_complete() && !result.is_null())
    return leave_finished(trainer, std::move(result));
  log.start(trainer.state().step);
  const bool at_start = trainer.state().step == 0;
  outcome_.before = at_start ? evaluate(view) : recorded_validation_before(values_.out);
  if (outcome_.before && at_start)
    std::cerr << "validation before training: loss " << fixed_text(outcome_.before->loss, 4)
              << ", perplexity " << number_text(outcome_.before->perplexity) << std::endl;
  write_run_record(folder, flags_, values_, setup_, outcome_.before, nullptr);
  write_base();

  outcome_.result = train(trainer);
  outcome_.training_seconds = view.training_seconds();
  view.clear_live_line();
  log.finish();
  if (outcome_.result.end != train::RunEnd::stopped)
    finish(view);
  outcome_.files = files_of(folder.path());
  write_run_record(folder, flags_, values_, setup_, outcome_.before, &outcome_);
  print_outcome();
  return outcome_.result.end == train::RunEnd::stopped ? interrupted_exit_code() : ExitCode::done;
}

/// 'graft train --resume --out DIR' is enough: the run's own settings apply.
void take_up_settings(Flags& flags, const TrainFlags& values) {
  if (!values.resume)
    return;
  flags.require("out", "the folder of the run to continue");
  const fs::path settings = fs::path(values.out) / "run.toml";
  const bool is_there = fs::exists(settings);
  if (is_there && !flags.given("config"))
    flags.read_config(settings.string());
  GRAFT_CHECK(is_there || flags.given("data"), ConfigError, "train: --resume finds no run in ",
              values.out, " (there is no ", settings.string(),
              "); give the folder of a run, or --model and --data to begin one there");
}

}  // namespace

ExitCode run_train(Arguments arguments) {
  TrainFlags values;
  Flags flags("train",
              "Fine-tunes a model on a data set and writes a LoRA adapter that PEFT loads too "
              "(or, with --method full, a whole model).");
  add_train_flags(flags, values);
  if (!flags.parse(arguments)) {
    std::cout << flags.help(terminal_of(1).columns);
    return ExitCode::done;
  }
  take_up_settings(flags, values);
  if (values.resume && !flags.typed("model"))
    values.model.model = recorded_model_path(values.out, values.model.model);
  use_data_folder(values);
  settle_train_flags(flags, values);
  apply_model_flags(flags, values.model);
  std::vector<fs::path> inputs = {values.model.model, values.data.path};
  if (!values.validation_data.empty())
    inputs.push_back(values.validation_data);
  if (const std::optional<AdapterName> adapter = adapter_of(values.model))
    inputs.push_back(adapter->folder);
  check_out_folder(values.out, values.out_policy(), inputs);
  Training training(flags, values);
  if (!values.dry_run)
    return training.run();
  training.print_plan();
  return ExitCode::done;
}

}  // namespace graft::cli
