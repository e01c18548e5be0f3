#include "graft/train/trainer_state.h"

#include <nlohmann/json.hpp>

#include "graft/io/json.h"

namespace graft::train {
namespace {

constexpr int64_t format_version = 1;

}  // namespace

std::string to_text(const TrainerState& state) {
  const io::Json json = {{"version", format_version},
                         {"step", state.step},
                         {"epoch", state.sampler.epoch},
                         {"position", state.sampler.position},
                         {"tokens", state.tokens},
                         {"input_tokens", state.input_tokens},
                         {"evaluated_step", state.evaluated_step},
                         {"best_step", state.best_step},
                         {"best_loss", state.best_loss},
                         {"without_best", state.without_best}};
  return io::to_text(json) + "\n";
}

TrainerState parse_trainer_state(std::string_view text, std::string_view file) {
  const io::Json json = io::parse_json(text, file);
  const io::JsonObject object(json, file);
  if (object.integer("version") != format_version)
    throw object.wrong("version",
                       concat(format_version, "; it was written by another version of graft"));
  TrainerState state;
  state.step = object.integer("step", {.min = 0});
  state.sampler.epoch = object.integer("epoch", {.min = 0});
  state.sampler.position = object.integer("position", {.min = 0});
  state.tokens = object.integer("tokens", {.min = 0});
  state.input_tokens = object.integer("input_tokens", {.min = 0});
  state.evaluated_step = object.integer("evaluated_step", {.min = -1});
  state.best_step = object.integer("best_step", {.min = -1});
  state.best_loss = object.number("best_loss");
  state.without_best = object.integer("without_best", {.min = 0});
  return state;
}

}  // namespace graft::train
