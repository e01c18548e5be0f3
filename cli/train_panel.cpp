#include "graft/cli/train_panel.h"

#include <filesystem>
#include <map>
#include <tuple>

#include "graft/cli/adapted_modules.h"
#include "graft/cli/machine.h"
#include "graft/cli/train_advice.h"
#include "graft/tensor/parallel.h"

namespace graft::cli {
namespace {

std::string name_of(const std::string& path) {
  const std::filesystem::path plain = std::filesystem::path(path).lexically_normal();
  return (plain.has_filename() ? plain : plain.parent_path()).filename().string();
}

std::string model_text(const TrainFlags& values, const TrainSetup& setup) {
  const models::Description& model = setup.description;
  return values.model.model + ": " + model.info.model_type + ", " +
         counted(model.info.layers, "layer") + ", " + short_count(model.parameters) +
         " parameters, held as " + held_text(setup.base->info()) +
         (model.quantized > 0 ? ", as its files have it" : "");
}

std::string trainable_text(const TrainFlags& values, TrainSetup& setup) {
  const std::string count = grouped(setup.counts.trainable) + " parameters, " +
                            percent_text(setup.counts.trainable, setup.counts.all) + " of " +
                            short_count(setup.counts.all);
  if (!setup.adapted)
    return count + ": all weights of the model";
  const peft::LoraConfig& config = setup.adapted->config("default");
  const auto modules = static_cast<int64_t>(setup.adapted->targeted_modules("default").size());
  const std::string from = values.model.adapters.empty()
                               ? ""
                               : ", continuing " + adapter_of(values.model)->folder.string();
  const std::string method = setup.base->info().quant.load_in_4bit ? ": Q" : ": ";
  return count + method + (config.use_dora ? "DoRA" : "LoRA") + " with rank " + grouped(config.r) +
         ", alpha " + number_text(config.lora_alpha) + (config.use_rslora ? " (rsLoRA)" : "") +
         (config.lora_dropout > 0 ? ", dropout " + number_text(config.lora_dropout) : "") + " on " +
         counted(modules, "module") + from;
}

std::string data_text(const TrainFlags& values, const TrainSetup& setup) {
  const text::SampleFile& data = *setup.data;
  return data.path().string() + ": " + std::string(text::name_of(data.format())) + ", loss on " +
         std::string(text::name_of(data.loss_on())) + "; " + counts_text(count(setup.samples())) +
         losses_text(data.stats(), values.data.max_seq_len);
}

std::string validation_text(const TrainFlags& values, const TrainSetup& setup) {
  const std::string when = values.eval_steps > 0
                               ? "every " + counted(values.eval_steps, "step")
                               : std::string("before the first and after the last step");
  return setup.validation_source + ": " + counts_text(count(setup.validation())) + "; " + when +
         (values.early_stop > 0
              ? ", stops after " + counted(values.early_stop, "validation") + " without progress"
              : "");
}

std::string packing_text(const TrainFlags& values, const TrainSetup& setup) {
  const int64_t room = setup.rows * values.data.max_seq_len;
  return counted(setup.samples().size(), "sample") + " in " + counted(setup.rows, "row") + " of " +
         grouped(values.data.max_seq_len) + " tokens, " +
         percent_text(count(setup.samples()).tokens, room) + " full";
}

std::string batch_text(const TrainFlags& values) {
  return counted(values.batch_size, values.packing ? "row" : "sample") + " x " +
         grouped(values.grad_accum) + " = " + grouped(values.batch_size * values.grad_accum) +
         " a step";
}

std::string steps_text(const TrainFlags& values, const TrainSetup& setup) {
  const int64_t steps = setup.total_steps();
  const double epochs = static_cast<double>(steps) /
                        static_cast<double>(train::steps_per_epoch(setup.options, setup.rows));
  const int64_t warmup = train::warmup_steps(setup.options, steps);
  return counted(steps, "step") + " (" + number_text(epochs, 3) +
         (epochs == 1 ? " epoch), " : " epochs), ") + values.optim + ", learning rate " +
         number_text(values.learning_rate) + ", " + values.lr_schedule +
         (warmup > 0 ? ", " + counted(warmup, "warm-up step") : "");
}

std::string evaluation_text(const train::Evaluation& evaluation) {
  return fixed_text(evaluation.loss, 4) + " (perplexity " + number_text(evaluation.perplexity) +
         ")";
}

std::string speed_text(const RunOutcome& outcome) {
  return counted(outcome.result.input_tokens, "token") + " in " +
         duration_text(outcome.training_seconds) + ", " +
         grouped(static_cast<int64_t>(outcome.tokens_per_second())) + " tokens/s; all in all " +
         duration_text(outcome.result.seconds) + ", peak memory " +
         byte_text(peak_resident_bytes());
}

std::string next_command(const TrainFlags& values, const RunOutcome& outcome) {
  if (outcome.result.end == train::RunEnd::stopped)
    return "graft train --resume --out " + shell_word(values.out);
  if (values.is_full())
    return "graft chat --model " + shell_word(values.out);
  return "graft chat " + base_flags(values) + " --adapter " + shell_word(values.out);
}

std::string headline(const RunOutcome& outcome) {
  const train::RunResult& result = outcome.result;
  const std::string steps =
      grouped(result.state.step) + " of " + counted(result.total_steps, "step");
  switch (result.end) {
    case train::RunEnd::completed:
      return "finished: " + steps;
    case train::RunEnd::early_stopped:
      return "finished early: no progress, " + steps;
    case train::RunEnd::stopped:
      return (result.state.step == 0 ? "stopped: " : "stopped and saved: ") + steps;
  }
  return steps;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words)
    text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace

std::string start_panel(const TrainFlags& values, TrainSetup& setup, const Terminal& terminal) {
  Panel panel("graft train " + name_of(values.model.model));
  panel.row("model", model_text(values, setup));
  panel.row("trainable", trainable_text(values, setup));
  panel.row("data", data_text(values, setup));
  if (values.packing)
    panel.row("packing", packing_text(values, setup));
  if (!setup.validation().empty())
    panel.row("validation", validation_text(values, setup));
  panel.row("batch", batch_text(values));
  panel.row("run", steps_text(values, setup));
  panel.row("machine", "cpu, " + counted(thread_count(), "thread") + ", seed " +
                           std::to_string(values.seed) +
                           (values.gradient_checkpointing ? ", gradient checkpointing" : ""));
  panel.row("out", values.out);
  return panel.text(terminal);
}

std::string module_table(TrainSetup& setup, const Terminal& terminal) {
  if (!setup.adapted)
    return {};
  struct Kind {
    int64_t modules = 0;
    int64_t parameters = 0;
  };
  // Modules of one name, shape, rank and scale share a line.
  std::map<std::tuple<std::string, std::string, int64_t, double, double>, Kind> kinds;
  for (const AdaptedModule& module : adapted_modules(*setup.adapted)) {
    const std::string name = module.path.substr(module.path.rfind('.') + 1);
    const std::string shape = grouped(module.in_features) + " -> " + grouped(module.out_features);
    Kind& kind = kinds[{name, shape, module.r, module.alpha, module.scale}];
    ++kind.modules;
    kind.parameters += module.parameters;
  }
  std::vector<std::vector<std::string>> rows = {
      {"module", "count", "in -> out", "r", "alpha", "scale", "parameters"}};
  for (const auto& [key, kind] : kinds) {
    const auto& [name, shape, r, alpha, scale] = key;
    rows.push_back({name, grouped(kind.modules), shape, grouped(r), number_text(alpha),
                    number_text(scale), grouped(kind.parameters)});
  }
  return "\n" + table(rows, terminal);
}

std::string end_summary(const TrainFlags& values, const TrainSetup& setup,
                        const RunOutcome& outcome, const Terminal& terminal) {
  const train::RunResult& result = outcome.result;
  Panel panel(headline(outcome));
  if (result.last_step)
    panel.row("loss", fixed_text(result.last_step->loss, 4) + " in step " +
                          grouped(result.last_step->step));
  if (outcome.before)
    panel.row("validation before", evaluation_text(*outcome.before));
  if (outcome.after)
    panel.row("validation after", evaluation_text(*outcome.after));
  if (result.state.best_step >= 0 && !setup.validation().empty())
    panel.row(
        "best",
        fixed_text(result.state.best_loss, 4) + " after step " + grouped(result.state.best_step) +
            (result.result_step == result.state.best_step && result.end != train::RunEnd::stopped
                 ? ", these are the weights written"
                 : ""));
  panel.row("speed", speed_text(outcome));
  panel.row("written", values.out + ": " + joined(outcome.files));
  return panel.text(terminal) + "\n" + terminal.bold("next: ") + next_command(values, outcome) +
         "\n";
}

}  // namespace graft::cli
