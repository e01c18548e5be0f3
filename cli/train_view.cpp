#include "graft/cli/train_view.h"

#include <algorithm>
#include <array>
#include <iostream>
#include <span>

#include "graft/cli/interrupt.h"

namespace graft::cli {
namespace {

constexpr int64_t lasting_lines = 50;  // of a whole run, at most, besides the first and the last

std::string padded(std::string text, int width) {
  const int missing = width - display_width(text);
  return std::string(static_cast<size_t>(std::max(missing, 0)), ' ') + std::move(text);
}

/// The parts that are not empty, with room between.
std::string joined(std::span<const std::string> parts) {
  std::string line;
  for (const std::string& part : parts)
    if (!part.empty())
      line += (line.empty() ? "" : "  ") + part;
  return line;
}

}  // namespace

TrainView::TrainView(const Terminal& terminal, StepLog& log, const Options& options)
    : terminal_(terminal), log_(log), options_(options) {}

TrainView::~TrainView() {
  clear_live_line();
}

void TrainView::clear_live_line() {
  if (live_)
    std::cerr << "\r\x1b[K" << std::flush;
  live_ = false;
}

void TrainView::print(const std::string& line) {
  clear_live_line();
  std::cerr << line << std::endl;
}

void TrainView::show_live(const std::string& line) {
  // A line that wraps could not be taken back.
  if (!terminal_.interactive || display_width(line) >= terminal_.columns)
    return;
  std::cerr << "\r\x1b[K" << line << std::flush;
  live_ = true;
}

std::string TrainView::step_line(const train::StepRecord& record) const {
  const std::string total = grouped(record.total_steps);
  const auto speed = static_cast<int64_t>(record.tokens_per_second);
  const double left = static_cast<double>(record.total_steps - record.step) * seconds_per_step_;
  std::array parts = {
      "step " + padded(grouped(record.step), display_width(total)) + "/" + total,
      "loss " + terminal_.bold(padded(fixed_text(record.loss, 4), 6)),
      "grad " + padded(fixed_text(record.grad_norm, 2), 5),
      "lr " + scientific_text(record.lr),
      padded(grouped(speed), 5) + " tok/s",
      padded(byte_text(record.rss_bytes), 8),
      record.step < record.total_steps ? "left " + duration_text(left) : "",
  };
  // A narrow terminal gets fewer of them, so that no line is broken.
  for (const size_t dispensable : {5, 2, 4, 3})
    if (terminal_.interactive && display_width(joined(parts)) >= terminal_.columns)
      parts[dispensable].clear();
  return joined(parts);
}

void TrainView::on_step(const train::StepRecord& record) {
  const bool is_last = record.step == record.total_steps;
  const bool evaluates =
      options_.has_validation &&
      (is_last || (options_.eval_steps > 0 && record.step % options_.eval_steps == 0));
  log_.add(record, evaluates);
  if (log_.flush()) {
    log_was_full_ = false;
  } else if (!log_was_full_) {
    log_was_full_ = true;
    on_warning("log.jsonl cannot be written now (is the disk full?); its lines are kept in memory");
  }
  training_seconds_ += record.seconds;
  // The first steps take longer; later ones are averaged over about twenty.
  const double weight = seconds_per_step_ == 0 ? 1 : 0.05;
  seconds_per_step_ += weight * (record.seconds - seconds_per_step_);
  const int64_t every =
      std::max<int64_t>(1, (record.total_steps + lasting_lines - 1) / lasting_lines);
  const std::string line = step_line(record);
  if (record.step == 1 || is_last || record.step % every == 0)
    print(line);
  else
    show_live(line);
}

void TrainView::on_evaluation(const train::EvaluationRecord& record) {
  log_.add(record);
  log_.flush();
  std::string line = "validation after step " + grouped(record.step) + ": loss " +
                     terminal_.bold(fixed_text(record.result.loss, 4)) + ", perplexity " +
                     number_text(record.result.perplexity);
  if (record.is_best)
    line += terminal_.green(", the best so far");
  else
    line += ", the best is " + counted(record.without_best, "evaluation") + " ago";
  print(line);
}

void TrainView::on_checkpoint(const train::CheckpointRecord& record) {
  print("saved " + record.folder.string() + " (" + byte_text(record.bytes) + ")" +
        (record.is_best ? ", the best so far" : ""));
}

void TrainView::on_warning(const std::string& message) {
  print(terminal_.yellow("graft: warning:") + " " + message);
}

void TrainView::on_phase(train::Phase phase) {
  if (phase == train::Phase::evaluating)
    show_live("evaluating …");
  if (phase == train::Phase::saving)
    show_live("saving …");
}

void TrainView::on_progress(int64_t done, int64_t total) {
  show_live("evaluating … " + grouped(done) + " of " + counted(total, "sample"));
}

train::Request TrainView::request() {
  if (!stop_requested())
    return take_save_request() ? train::Request::save : train::Request::none;
  if (!stop_was_said_)
    print("stopping: this step is finished and saved; a second signal stops at once");
  stop_was_said_ = true;
  return train::Request::stop;
}

}  // namespace graft::cli
