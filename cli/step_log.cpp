#include "graft/cli/step_log.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "graft/io/file.h"
#include "graft/io/json.h"
#include "graft/tensor/error.h"

namespace graft::cli {
namespace {

constexpr int64_t max_log_bytes = int64_t{1} << 30;
constexpr const char* line_end = "}\n";

/// The lines of a log up to a step.
struct KeptLines {
  std::string text;
  int64_t last_step = -1;
  bool evaluated = false;  // the last one
};

KeptLines kept_lines(const std::filesystem::path& path, int64_t last_step) {
  KeptLines kept;
  if (last_step == 0 || !std::filesystem::exists(path))
    return kept;
  kept.text = io::read_file(path, max_log_bytes);
  size_t begin = 0;
  for (int64_t line = 1; begin < kept.text.size(); ++line) {
    const size_t end = kept.text.find('\n', begin);
    if (end == kept.text.npos)
      break;  // cut short by a crash: a step after the checkpoint
    const std::string where = path.string() + ":" + std::to_string(line);
    const std::string_view text = std::string_view(kept.text).substr(begin, end - begin);
    const io::Json json = io::parse_json(text, where);
    const int64_t step = io::JsonObject(json, where).integer("step");
    if (step > last_step)
      break;
    kept.last_step = step;
    kept.evaluated = json.contains("eval_loss");
    begin = end + 1;
  }
  kept.text.resize(begin);
  return kept;
}

std::string without_brace(const io::Json& json) {
  std::string text = io::to_text(json, -1);
  text.pop_back();
  return text;
}

}  // namespace

void StepLog::start(int64_t last_step) {
  const KeptLines kept = kept_lines(path_, last_step);
  io::write_file_atomically(path_, kept.text);
  if (kept.last_step == last_step && !kept.evaluated && kept.text.ends_with(line_end))
    kept_step_ = last_step;
  descriptor_ = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  GRAFT_CHECK(descriptor_ >= 0 && lseek(descriptor_, 0, SEEK_END) >= 0, IoError, "open ",
              path_.string(), ": ", std::strerror(errno));
}

StepLog::~StepLog() {
  release_held();
  flush();
  if (descriptor_ >= 0)
    close(descriptor_);
}

void StepLog::release_held() {
  if (!held_.empty())
    pending_ += held_ + line_end;
  held_.clear();
}

void StepLog::add(const train::StepRecord& record, bool evaluation_follows) {
  release_held();
  kept_step_ = -1;
  io::Json json;
  json["step"] = record.step;
  json["loss"] = record.loss;
  json["grad_norm"] = record.grad_norm;
  json["lr"] = record.lr;
  json["tokens"] = record.tokens;
  json["tokens_per_second"] = record.tokens_per_second;
  json["rss_bytes"] = record.rss_bytes;
  held_ = without_brace(json);
  held_step_ = record.step;
  if (!evaluation_follows)
    release_held();
}

void StepLog::add(const train::EvaluationRecord& record) {
  const bool is_kept = kept_step_ == record.step;
  if (!is_kept && (held_.empty() || held_step_ != record.step))
    return;
  io::Json json;
  json["eval_loss"] = record.result.loss;
  json["eval_perplexity"] = record.result.perplexity;
  json["eval_tokens"] = record.result.tokens;
  held_ += "," + without_brace(json).substr(1);
  // Written over the end of the line, which thus is in the file all the time until then.
  if (is_kept && lseek(descriptor_, -static_cast<off_t>(std::strlen(line_end)), SEEK_END) < 0)
    held_.clear();
  kept_step_ = -1;
  release_held();
}

bool StepLog::flush() {
  while (!pending_.empty()) {
    const ssize_t count = write(descriptor_, pending_.data(), pending_.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return false;
    pending_.erase(0, static_cast<size_t>(count));
  }
  return true;
}

void StepLog::finish() {
  release_held();
  GRAFT_CHECK(flush(), IoError, "write ", path_.string(), ": ", std::strerror(errno));
  while (fsync(descriptor_) != 0)
    GRAFT_CHECK(errno == EINTR, IoError, "write ", path_.string(), ": ", std::strerror(errno));
}

}  // namespace graft::cli
