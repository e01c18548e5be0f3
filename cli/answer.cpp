#include "graft/cli/answer.h"

#include <algorithm>
#include <chrono>
#include <iostream>

#include "graft/cli/interrupt.h"
#include "graft/cli/terminal.h"
#include "graft/tensor/error.h"
#include "graft/text/stream_decoder.h"

namespace graft::cli {
namespace {

double rate(int64_t tokens, double seconds) {
  return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
}

/// How many bytes at the end of `text` are the start of `stop`, but not all of it.
size_t started_bytes(std::string_view text, std::string_view stop) {
  for (size_t count = std::min(text.size(), stop.size() - 1); count > 0; --count)
    if (text.ends_with(stop.substr(0, count)))
      return count;
  return 0;
}

/// One answer in the making.
struct Row {
  Row(const text::Tokenizer& tokenizer, const AnswerFlags& flags)
      : decoder(tokenizer), finder(flags.stops) {}
  text::StreamDecoder decoder;
  StopFinder finder;
  std::string text;
};

}  // namespace

void add_ending_flags(Flags& flags, AnswerFlags& values) {
  flags.add("max-new-tokens", values.max_new_tokens, "N", "longest answer", {1, int64_t{1} << 31});
  flags.add("stop", values.stops, "TEXT", "end the answer before this text; may be repeated");
}

void add_answer_flags(Flags& flags, AnswerFlags& values) {
  flags.group("Answer");
  add_ending_flags(flags, values);
  flags.add("temperature", values.temperature, "X",
            "above 0 samples; 0 takes the likeliest token each time", {0, 1e3});
  flags.add("top-k", values.top_k, "K", "sample among the K likeliest; 0: among all",
            {0, int64_t{1} << 31});
  flags.add("top-p", values.top_p, "P", "sample among the likeliest that sum to P",
            {.least = 0, .most = 1, .above_least = true});
  flags.add("seed", values.seed, "N", "of sampling; without sampling it changes nothing",
            {0, int64_t{1} << 62});
}

void check_answer_flags(Flags& flags, const AnswerFlags& values) {
  if (values.temperature > 0)
    return;
  constexpr std::string_view reason =
      "restricts sampling, but at --temperature 0 (the default) the likeliest token is taken each "
      "time: give --temperature 1, say, or leave it out";
  if (values.top_k > 0)
    flags.set_aside("top-k", "temperature", reason);
  if (values.top_p < 1)
    flags.set_aside("top-p", "temperature", reason);
}

std::string StopFinder::push(std::string_view piece) {
  if (found_)
    return {};
  held_ += piece;
  size_t first = held_.npos, held_back = 0;
  for (const std::string& stop : stops_) {
    if (stop.empty())
      continue;
    first = std::min(first, held_.find(stop));
    held_back = std::max(held_back, started_bytes(held_, stop));
  }
  found_ = first != held_.npos;
  const size_t certain = found_ ? first : held_.size() - held_back;
  std::string result = held_.substr(0, certain);
  held_.erase(0, found_ ? held_.size() : certain);
  return result;
}

std::string StopFinder::finish() {
  return std::exchange(held_, {});
}

std::string_view name(models::StopReason reason) {
  switch (reason) {
    case models::StopReason::stop_id:
      return "eos";
    case models::StopReason::caller:
      return "stop_string";
    case models::StopReason::length:
      return "length";
    case models::StopReason::cancelled:
      return "interrupted";
  }
  return "unknown";
}

std::string cut_text(const Answer& answer, const AnswerFlags& flags, int64_t positions) {
  if (std::ssize(answer.ids) >= flags.max_new_tokens)
    return concat("cut at --max-new-tokens ", flags.max_new_tokens);
  return concat("cut at the model's last position, ", positions);
}

double AnswerTimes::prompt_tokens_per_second() const {
  return rate(prompt_tokens, prompt_seconds);
}

double AnswerTimes::tokens_per_second() const {
  return later_tokens > 0 ? rate(later_tokens, answer_seconds) : rate(first_tokens, prompt_seconds);
}

AnswerTimes& AnswerTimes::operator+=(const AnswerTimes& other) {
  prompt_tokens += other.prompt_tokens;
  first_tokens += other.first_tokens;
  later_tokens += other.later_tokens;
  prompt_seconds += other.prompt_seconds;
  answer_seconds += other.answer_seconds;
  return *this;
}

void note_uninvoked(const nn::CausalLM& model, const std::vector<std::vector<int64_t>>& prompts) {
  const nn::Context context = model.resolve({}, prompts);
  if (!context.adapters)
    return;
  for (const nn::AdapterPart& part : context.adapters->parts) {
    const auto count = std::ranges::count(part.starts, nn::AdapterPart::nowhere);
    if (count == 0)
      continue;
    std::cerr << "the adapter " << shown(part.adapter) << " changes nothing for "
              << (prompts.size() == 1 ? "this prompt"
                                      : concat(count, " of ", prompts.size(), " prompts"))
              << ": the tokens that invoke it (alora_invocation_tokens) are not there\n";
  }
}

Answers answer(const nn::CausalLM& model, const text::Tokenizer& tokenizer, const Prompts& prompts,
               const AnswerFlags& flags, const std::optional<nn::AdapterSelection>& adapters,
               const std::function<void(size_t row, const std::string& piece)>& show) {
  std::vector<Row> rows(prompts.ids.size(), Row(tokenizer, flags));
  for (size_t row = 0; prompts.goes_on && row < rows.size(); ++row)
    if (!prompts.ids[row].empty())
      rows[row].decoder.push(prompts.ids[row].back());  // what it says is the prompt's
  const auto add = [&](size_t row, const std::string& piece) {
    rows[row].text += piece;
    if (!piece.empty())
      show(row, piece);
  };
  models::GenerateOptions options;
  options.max_new_tokens = flags.max_new_tokens;
  options.temperature = flags.temperature;
  options.top_k = flags.top_k;
  options.top_p = flags.top_p;
  options.seed = static_cast<uint64_t>(flags.seed);
  options.first_row = prompts.first_row;
  options.stop_ids = tokenizer.stop_ids();
  const std::vector<int64_t>& more = model.info().eos_token_ids;
  options.stop_ids.insert(options.stop_ids.end(), more.begin(), more.end());
  options.adapters = adapters;
  const auto start = std::chrono::steady_clock::now();
  const auto seconds_since_start = [start] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  Answers result;
  AnswerTimes& times = result.times;
  for (const std::vector<int64_t>& ids : prompts.ids)
    times.prompt_tokens += std::ssize(ids);
  options.on_token = [&](int64_t index, int64_t token) {
    const auto row = static_cast<size_t>(index);
    if (times.prompt_seconds == 0)
      times.prompt_seconds = seconds_since_start();
    add(row, rows[row].finder.push(rows[row].decoder.push(token)));
    if (stop_requested())
      return models::Verdict::cancel;
    return rows[row].finder.found() ? models::Verdict::end_row : models::Verdict::go_on;
  };
  std::vector<models::Continuation> continuations = models::generate(model, prompts.ids, options);
  const double seconds = seconds_since_start();
  if (times.prompt_seconds == 0)
    times.prompt_seconds = seconds;
  times.answer_seconds = seconds - times.prompt_seconds;
  for (const models::Continuation& continuation : continuations) {
    times.first_tokens += continuation.ids.empty() ? 0 : 1;
    times.later_tokens += std::max<int64_t>(0, std::ssize(continuation.ids) - 1);
  }
  for (size_t row = 0; row < rows.size(); ++row) {
    add(row, rows[row].finder.push(rows[row].decoder.finish()));
    add(row, rows[row].finder.finish());
    const bool stopped = rows[row].finder.found();  // perhaps only by the bytes held back
    result.answers.push_back(
        {.text = std::move(rows[row].text),
         .ids = std::move(continuations[row].ids),
         .reason = stopped ? models::StopReason::caller : continuations[row].reason});
  }
  return result;
}

}  // namespace graft::cli
