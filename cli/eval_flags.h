// The flags of `graft eval`, and what they say together.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "graft/cli/answer.h"
#include "graft/cli/flags.h"
#include "graft/cli/model_flags.h"
#include "graft/cli/training_data.h"
#include "graft/text/answer_match.h"

namespace graft::cli {

struct EvalFlags {
  ModelFlags model;
  DataFlags data;
  std::string metric = "loss";
  int64_t batch_size = 4;
  std::optional<int64_t> limit;
  AnswerFlags answer{.max_new_tokens = 256};
  text::AnswerMatchOptions match;
  std::optional<std::string> target_delimiter;
  bool compare_base = false;
  std::string out;
  bool json = false;
  bool per_record = false;

  /// True where somebody wants to see what was measured of each record.
  bool wants_records() const { return per_record || !out.empty(); }
};

/// Declares them.
void add_eval_flags(Flags& flags, EvalFlags& values);
/// Throws ConfigError where one is missing, or contradicts another.
void check_eval_flags(Flags& flags, const EvalFlags& values);

}  // namespace graft::cli
