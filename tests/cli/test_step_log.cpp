#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/cli/step_log.h"
#include "graft/io/json.h"
#include "graft/tests/support/command.h"

using namespace graft;
using graft::cli::StepLog;

namespace {

train::StepRecord step(int64_t number) {
  return {
      .step = number, .total_steps = 9, .loss = 1.0 / 3, .grad_norm = 2, .lr = 1e-4, .tokens = 5};
}

std::vector<io::Json> lines_of(const std::filesystem::path& file) {
  std::vector<io::Json> lines;
  std::istringstream text(test::content_of(file));
  for (std::string line; std::getline(text, line);)
    lines.push_back(io::parse_json(line, "log"));
  return lines;
}

}  // namespace

TEST_CASE("log: one object a step, an evaluation joins its step's") {
  const test::TemporaryFolder folder;
  const auto path = folder / "log.jsonl";
  {
    StepLog log(path);
    log.start(0);
    log.add(step(1), false);
    log.add(step(2), true);
    log.add({.step = 2, .result = {.loss = 1.5, .perplexity = 4.5, .tokens = 7, .samples = 2}});
    log.add(step(3), true);  // whose evaluation never comes
    log.finish();
  }
  const auto lines = lines_of(path);
  REQUIRE(lines.size() == 3);
  CHECK(lines[0]["step"] == 1);
  CHECK(lines[0]["loss"].get<double>() == 1.0 / 3);
  CHECK(!lines[0].contains("eval_loss"));
  CHECK(lines[1]["eval_loss"] == 1.5);
  CHECK(lines[1]["eval_tokens"] == 7);
  CHECK(lines[2]["step"] == 3);
}

TEST_CASE("log: continuing keeps the lines up to a step, and none that was cut short") {
  const test::TemporaryFolder folder;
  const auto path = folder / "log.jsonl";
  {
    StepLog log(path);
    log.start(0);
    for (int64_t number = 1; number <= 4; ++number)
      log.add(step(number), false);
  }
  std::ofstream(path, std::ios::app) << "{\"step\":5,\"lo";
  {
    StepLog log(path);
    log.start(2);
    log.add(step(3), false);
  }
  const auto lines = lines_of(path);
  REQUIRE(lines.size() == 3);
  CHECK(lines[2]["step"] == 3);
  StepLog(path).start(0);
  CHECK(lines_of(path).empty());
}

TEST_CASE("log: an evaluation that was stopped and comes on continuing joins the kept line") {
  const test::TemporaryFolder folder;
  const auto path = folder / "log.jsonl";
  const auto evaluated = [](int64_t number, double loss) {
    return train::EvaluationRecord{
        .step = number, .result = {.loss = loss, .perplexity = 2, .tokens = 7, .samples = 2}};
  };
  {
    StepLog log(path);
    log.start(0);
    log.add(step(1), false);
    log.add(step(2), true);
    log.finish();
  }
  const std::string stopped = test::content_of(path);
  {
    StepLog log(path);
    log.start(2);
    CHECK(test::content_of(path) == stopped);  // also where it is killed now
    log.add(evaluated(2, 1.5));
    log.add(evaluated(2, 9));  // there is one already
    log.add(step(3), false);
  }
  auto lines = lines_of(path);
  REQUIRE(lines.size() == 3);
  CHECK(lines[1]["eval_loss"] == 1.5);
  CHECK(lines[1]["lr"] == 1e-4);
  CHECK(lines[2]["step"] == 3);
  {
    StepLog log(path);
    log.start(2);  // whose line is complete
    log.add(evaluated(2, 9));
    log.add(step(3), false);
    log.add(evaluated(3, 9));  // was not held back
  }
  lines = lines_of(path);
  REQUIRE(lines.size() == 3);
  CHECK(lines[1]["eval_loss"] == 1.5);
  CHECK(!lines[2].contains("eval_loss"));
}

TEST_CASE("log: a line that is no object of ours is refused with its place") {
  const test::TemporaryFolder folder;
  const auto path = folder / "log.jsonl";
  std::ofstream(path) << "{\"step\":1}\nnonsense\n";
  StepLog log(path);
  const std::string message = test::message_of<FormatError>([&] { log.start(3); });
  test::check_contains(message, "log.jsonl:2");
}
