// Answers: prompts become text, shown while it grows.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graft/cli/flags.h"
#include "graft/models/generate.h"
#include "graft/nn/causal_lm.h"
#include "graft/text/tokenizer.h"

namespace graft::cli {

/// The flags of `generate` and `chat` that say how tokens are chosen and where an answer ends.
struct AnswerFlags {
  int64_t max_new_tokens = 128;
  double temperature = 0;
  int64_t top_k = 0;
  double top_p = 1;
  int64_t seed = 0;
  std::vector<std::string> stops{};
};
void add_answer_flags(Flags& flags, AnswerFlags& values);
/// Those of them that say where an answer ends: --max-new-tokens and --stop, in the present group.
void add_ending_flags(Flags& flags, AnswerFlags& values);
/// Throws ConfigError where --top-k or --top-p is to restrict sampling and nothing is sampled.
void check_answer_flags(Flags& flags, const AnswerFlags& values);

/// Finds stop strings in a text that comes in pieces, and holds back what may be the start of one.
class StopFinder {
 public:
  explicit StopFinder(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  /// The part of the text that is certain not to belong to a stop string. Nothing once one is
  /// found.
  std::string push(std::string_view piece);
  /// What was held back, at the end of the text.
  std::string finish();
  bool found() const { return found_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool found_ = false;
};

struct Answer {
  std::string text;          ///< without special tokens and without the stop string
  std::vector<int64_t> ids;  ///< all new tokens
  models::StopReason reason = models::StopReason::length;
};

/// Why an answer ended, as --json says it: "eos", "stop_string", "length" or "interrupted".
std::string_view name(models::StopReason reason);

/// Where an answer of StopReason::length was cut: "cut at --max-new-tokens 128".
std::string cut_text(const Answer& answer, const AnswerFlags& flags, int64_t positions);

/// What answers took, all of them together.
struct AnswerTimes {
  int64_t prompt_tokens = 0;
  int64_t first_tokens = 0;   ///< answers that have a token, which comes out of reading the prompt
  int64_t later_tokens = 0;   ///< the others
  double prompt_seconds = 0;  ///< until the first token
  double answer_seconds = 0;  ///< from there on

  double prompt_tokens_per_second() const;
  /// New tokens a second, where there is more than one without the time that prompts took.
  double tokens_per_second() const;
  AnswerTimes& operator+=(const AnswerTimes& other);
};

struct Answers {
  std::vector<Answer> answers;
  AnswerTimes times{};
};

/// What is to be continued.
struct Prompts {
  std::vector<std::vector<int64_t>> ids;
  /// The text goes on where the prompt ends, in the middle of a line: its first space counts.
  bool goes_on = false;
  int64_t first_row = 0;  ///< number of the first one, where there are several batches
};

/// Tells on stderr of adapters that tokens invoke (aLoRA) and that some of these prompts do not.
void note_uninvoked(const nn::CausalLM& model, const std::vector<std::vector<int64_t>>& prompts);

/// Continues each prompt. `show` is told of each piece of text as soon as it is certain. A signal
/// ends all of them (StopReason::cancelled). Throws as models::generate does.
Answers answer(const nn::CausalLM& model, const text::Tokenizer& tokenizer, const Prompts& prompts,
               const AnswerFlags& flags, const std::optional<nn::AdapterSelection>& adapters,
               const std::function<void(size_t row, const std::string& piece)>& show);

}  // namespace graft::cli
