#include "graft/cli/train_advice.h"

#include <filesystem>

#include "graft/cli/terminal.h"
#include "graft/tensor/error.h"

namespace graft::cli {
namespace {

/// "--quant nf4 --blocksize 128", with a space in front; nothing where it holds none.
std::string quant_flags(const ModelFlags& values) {
  if (values.quant == "none")
    return "";
  return concat(
      " --quant ", values.quant, values.no_double_quant ? " --no-double-quant" : "",
      values.blocksize == ModelFlags().blocksize ? "" : concat(" --blocksize ", values.blocksize));
}

/// A run of its own that begins with the weights in `folder`.
std::string train_further(const TrainFlags& values, const std::filesystem::path& folder) {
  const std::string weights =
      values.is_full() ? concat("--method full --model ", shell_word(folder.string()))
                       : concat(base_flags(values), " --adapter ", shell_word(folder.string()));
  return concat("graft train ", weights, " --data ", shell_word(values.data.path));
}

std::filesystem::path checkpoint(const TrainFlags& values, int64_t step) {
  return std::filesystem::path(values.out) / "checkpoints" / concat("step-", step);
}

std::string saved_text(const TrainFlags& values, int64_t step) {
  return concat("\nThe state after step ", step, " is saved: ", checkpoint(values, step).string());
}

}  // namespace

std::string base_flags(const TrainFlags& values) {
  if (values.writes_base())
    return concat("--model ", shell_word(values.base_folder().string()));
  return concat("--model ", shell_word(values.model.model), quant_flags(values.model));
}

std::string after_non_finite(const TrainFlags& values, std::optional<int64_t> saved_step) {
  const std::string rate = number_text(values.learning_rate / 2);
  if (!saved_step)
    return concat("\nNothing was saved before it. To begin again: --overwrite --learning-rate ",
                  rate);
  return concat(saved_text(values, *saved_step),
                "\n--resume would come to the same end, and takes no other learning rate. To go on "
                "from there, or from an earlier checkpoint, with a lower one:\n  ",
                train_further(values, checkpoint(values, *saved_step)), " --learning-rate ", rate,
                " --out ANOTHER");
}

std::string after_out_of_memory(const TrainFlags& values, std::optional<int64_t> saved_step) {
  const std::string less = concat(values.gradient_checkpointing ? "" : "--gradient-checkpointing, ",
                                  "a smaller --batch-size with a larger --grad-accum, or a smaller "
                                  "--max-seq-len");
  if (!saved_step)
    return concat("\nNothing was saved before it. Less memory is needed with ", less);
  std::string text = saved_text(values, *saved_step);
  if (!values.gradient_checkpointing)
    return concat(text,
                  "\nTo go on with less memory and the same result:\n  graft train --resume --out ",
                  shell_word(values.out), " --gradient-checkpointing");
  return concat(text, "\nLess memory is needed with ", less, ", in a run of its own:\n  ",
                train_further(values, checkpoint(values, *saved_step)), " --out ANOTHER");
}

std::string after_finished(const TrainFlags& values, int64_t step, int64_t total_steps) {
  const std::string resume = concat("\n  graft train --resume --out ", shell_word(values.out));
  if (step < total_steps)
    return concat("It ended early, for want of a lower validation loss. To go on nevertheless:",
                  resume, " --early-stop ", 2 * values.early_stop, "\n");
  if (values.lr_schedule == "constant")
    return concat("To train longer:", resume, " --max-steps ", 2 * total_steps, "\n");
  const std::filesystem::path weights = values.out;
  return concat("Its ", values.lr_schedule, " schedule ends here. To train longer, in a run of its",
                " own:\n  ", train_further(values, weights), " --out ANOTHER\n");
}

}  // namespace graft::cli
