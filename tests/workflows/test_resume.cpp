// Runs that are stopped and continued are the runs that were never stopped, to the byte.

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/tests/workflows/workflow.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

void erase_flag(Arguments& arguments, const std::string& flag) {
  const auto position = std::find(arguments.begin(), arguments.end(), flag);
  REQUIRE(position != arguments.end());
  arguments.erase(position, position + 2);
}

/// Long enough to be interrupted: 90 steps with dropout, accumulation, validation and saving.
Arguments interruptible_run(const fs::path& out) {
  Arguments arguments = short_run(out);
  for (const char* flag : {"--max-steps", "--eval-steps", "--save-steps"})
    erase_flag(arguments, flag);
  return joined(arguments, {"--max-steps", "90", "--eval-steps", "40", "--save-steps", "30"});
}

/// A run that spends nearly all of its time in validations: each step is validated on 960 samples.
Arguments validating_run(const TemporaryFolder& scratch, const fs::path& out) {
  const fs::path data = scratch / "valid.jsonl";
  if (!fs::exists(data)) {
    std::ofstream file(data);
    for (int i = 0; i < 20; ++i)
      file << content_of(golden("lora_runs/data.jsonl"));
  }
  Arguments arguments = short_run(out);
  for (const char* flag : {"--max-steps", "--val-split", "--eval-steps"})
    erase_flag(arguments, flag);
  return joined(arguments, {"--max-steps", "4", "--val-data", data, "--eval-steps", "1"});
}

nlohmann::json record_of(const fs::path& out) {
  return nlohmann::json::parse(content_of(out / "run.json"));
}

/// Starts the run, sends the signal after some steps, and expects the exit code.
CommandResult interrupt(const Arguments& arguments, const fs::path& out, int signal,
                        int64_t after_steps) {
  RunningCommand command(arguments);
  command.wait_for_lines(out / "log.jsonl", after_steps);
  command.send(signal);
  return command.finish();
}

void check_same_run(const fs::path& a, const fs::path& b, const char* weights) {
  CHECK(content_of(a / weights) == content_of(b / weights));
  CHECK(steps_of(a) == steps_of(b));
  const std::string optimizer = "checkpoints/step-90/optimizer.safetensors";
  CHECK(content_of(a / optimizer) == content_of(b / optimizer));
}

}  // namespace

TEST_CASE("resume: SIGINT finishes the step and saves, --resume gives the unbroken run's bytes") {
  const TemporaryFolder scratch;
  const fs::path whole = scratch / "whole", broken = scratch / "broken";
  check_exit(run_graft(interruptible_run(whole)), 0);
  const CommandResult stopped = interrupt(interruptible_run(broken), broken, SIGINT, 7);
  check_exit(stopped, 130);
  check_contains(stopped.out, "stopped and saved:");
  check_contains(stopped.out, "next: graft train --resume --out " + broken.string());
  const int64_t stopped_at = steps_of(broken).back()["step"];
  REQUIRE(stopped_at < 90);
  CHECK(fs::exists(broken / "checkpoints" / ("step-" + std::to_string(stopped_at))));
  CHECK(!fs::exists(broken / "adapter_model.safetensors"));
  // The next command that was shown: settings come from the run itself.
  const CommandResult resumed = run_graft({"train", "--resume", "--out", broken});
  check_exit(resumed, 0);
  check_contains(resumed.err, "continuing after step " + std::to_string(stopped_at));
  check_same_run(whole, broken, "adapter_model.safetensors");
  const auto record = nlohmann::json::parse(content_of(broken / "run.json"));
  CHECK(record["validation_before"] ==
        nlohmann::json::parse(content_of(whole / "run.json"))["validation_before"]);
}

TEST_CASE("resume: a run killed at any time continues from its newest checkpoint, log included") {
  const TemporaryFolder scratch;
  const fs::path whole = scratch / "whole", broken = scratch / "broken";
  check_exit(run_graft(interruptible_run(whole)), 0);
  check_exit(interrupt(interruptible_run(broken), broken, SIGKILL, 40), 128 + SIGKILL);
  CHECK(steps_of(broken).size() >= 40);
  const CommandResult resumed = run_graft(joined(interruptible_run(broken), {"--resume"}));
  check_exit(resumed, 0);
  check_contains(resumed.err, "continuing after step 30");
  check_same_run(whole, broken, "adapter_model.safetensors");
}

TEST_CASE("resume: a validation that was stopped is made up for, in log.jsonl too") {
  const TemporaryFolder scratch;
  const fs::path whole = scratch / "whole", broken = scratch / "broken";
  check_exit(run_graft(validating_run(scratch, whole)), 0);
  check_exit(interrupt(validating_run(scratch, broken), broken, SIGTERM, 2), 143);
  CHECK(steps_of(broken).size() == 3);
  CHECK(!steps_of(broken).back().contains("eval_loss"));  // else it was not stopped there
  check_exit(run_graft({"train", "--resume", "--out", broken}), 0);
  CHECK(steps_of(broken) == steps_of(whole));
  for (const char* key : {"best", "validation_before", "validation_after"})
    CHECK(record_of(broken)["result"][key] == record_of(whole)["result"][key]);
}

TEST_CASE(
    "resume: a signal during the validation before training trains nothing and loses nothing") {
  const TemporaryFolder scratch;
  const fs::path whole = scratch / "whole", broken = scratch / "broken";
  check_exit(run_graft(validating_run(scratch, whole)), 0);
  RunningCommand command(validating_run(scratch, broken));
  command.wait_for(broken / "log.jsonl");
  command.send(SIGINT);
  const CommandResult stopped = command.finish();
  check_exit(stopped, 130);
  CHECK(steps_of(broken).empty());
  check_contains(stopped.out, "stopped: 0 of 4 steps");
  check_exit(run_graft({"train", "--resume", "--out", broken}), 0);
  CHECK(steps_of(broken) == steps_of(whole));
  CHECK(record_of(broken)["validation_before"] == record_of(whole)["validation_before"]);
}

TEST_CASE("resume: full fine-tuning too, stopped by SIGTERM with exit code 143") {
  const TemporaryFolder scratch;
  const auto run = [&](const fs::path& out) {
    return Arguments{"train",
                     "--method",
                     "full",
                     "--model",
                     golden("models/gqa"),
                     "--data",
                     golden("lora_runs/data.jsonl"),
                     "--out",
                     out,
                     "--max-steps",
                     "90",
                     "--save-steps",
                     "60",
                     "--learning-rate",
                     "0.001"};
  };
  const fs::path whole = scratch / "whole", broken = scratch / "broken";
  check_exit(run_graft(run(whole)), 0);
  check_exit(interrupt(run(broken), broken, SIGTERM, 11), 143);
  check_exit(run_graft({"train", "--resume", "--out", broken}), 0);
  check_same_run(whole, broken, "model.safetensors");
}

TEST_CASE("resume: with the moments in 8 bits too, under the name transformers has for it") {
  const TemporaryFolder scratch;
  const auto run = [](const fs::path& out) {
    Arguments arguments = interruptible_run(out);
    erase_flag(arguments, "--lora-r");
    // Of 4096 numbers and more: the matrices are (128, 32) at least.
    return joined(arguments, {"--lora-r", "128", "--optim", "paged_adamw_8bit"});
  };
  const fs::path whole = scratch / "whole", broken = scratch / "broken";
  check_exit(run_graft(run(whole)), 0);
  check_exit(interrupt(run(broken), broken, SIGINT, 7), 130);
  check_exit(run_graft({"train", "--resume", "--out", broken}), 0);
  check_same_run(whole, broken, "adapter_model.safetensors");
  CHECK(record_of(whole)["settings"]["optim"] == "adamw8bit");
  CHECK(content_of(whole / "checkpoints/step-90/optimizer.safetensors").find("exp_avg_absmax") !=
        std::string::npos);
}

TEST_CASE("resume: a finished run is left as it is, and says how to train longer") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  check_exit(run_graft(short_run(out)), 0);
  const auto before = snapshot(out);
  const Arguments again = {"train", "--resume", "--out", out};
  const CommandResult result = run_graft(again);
  check_exit(result, 0);
  check_contains(result.out, "finished already: 12 of 12 steps");
  check_contains(result.out, "cosine");
  check_contains(result.out, "--adapter " + out.string() + " --data ");
  CHECK(snapshot(out) == before);
  auto json = json_of(run_graft(joined(again, {"--json"})));
  json.erase("out");
  CHECK(json == record_of(out)["result"]);
  // A result that is not there any more is written again, from the checkpoint.
  fs::remove(out / "adapter_model.safetensors");
  check_exit(run_graft(again), 0);
  CHECK(snapshot(out) == before);
}

TEST_CASE("resume: a finished run with a constant schedule can be made longer") {
  const TemporaryFolder scratch;
  const auto run = [&](const fs::path& out, const char* steps) {
    Arguments arguments = short_run(out);
    erase_flag(arguments, "--max-steps");
    return joined(arguments, {"--lr-schedule", "constant", "--max-steps", steps});
  };
  const fs::path whole = scratch / "whole", parts = scratch / "parts";
  check_exit(run_graft(run(whole, "16")), 0);
  check_exit(run_graft(run(parts, "12")), 0);
  const Arguments again = {"train", "--resume", "--out", parts};
  check_contains(run_graft(again).out,
                 "graft train --resume --out " + parts.string() + " --max-steps 24");
  check_exit(run_graft(joined(again, {"--max-steps", "16"})), 0);
  CHECK(steps_of(parts) == steps_of(whole));
  CHECK(record_of(parts)["result"]["step"] == 16);
}

TEST_CASE("resume: a run that was stopped early says how to go on nevertheless") {
  const TemporaryFolder scratch;
  Arguments arguments = short_run(scratch / "out");
  std::replace(arguments.begin(), arguments.end(), std::string("0.01"), std::string("0.3"));
  std::replace(arguments.begin(), arguments.end(), std::string("12"), std::string("200"));
  check_exit(run_graft(joined(arguments, {"--early-stop", "2"})), 0);
  const Arguments again = {"train", "--resume", "--out", scratch / "out"};
  const size_t steps = steps_of(scratch / "out").size();
  const CommandResult result = run_graft(again);
  check_exit(result, 0);
  check_contains(result.out, "--early-stop 4");
  CHECK(steps_of(scratch / "out").size() == steps);
  check_exit(run_graft(joined(again, {"--early-stop", "4"})), 0);
  CHECK(steps_of(scratch / "out").size() > steps);
}

TEST_CASE("resume: from whatever folder, where the run was given relative paths") {
  const TemporaryFolder scratch;
  fs::create_directory_symlink(golden("models/gqa"), scratch / "model");
  fs::copy(golden("lora_runs/q_v/initial"), scratch / "first=one");
  for (const char* name : {"data.jsonl", "valid.jsonl"})
    fs::copy_file(golden("lora_runs/data.jsonl"), scratch / name);
  fs::create_directory(scratch / "elsewhere");
  const CommandOptions here{.directory = scratch.path()};
  const auto check_run = [&](const char* name, const Arguments& more) {
    const fs::path out = scratch / name;
    check_exit(
        run_graft(joined({"train", "--model", "model", "--data", "./data.jsonl", "--val-data",
                          "valid.jsonl", "--out", name, "--max-steps", "6", "--save-steps", "3"},
                         more),
                  here),
        0);
    const auto before = snapshot(out);
    const auto check_resumed = [&](const fs::path& from, const fs::path& folder,
                                   const std::vector<std::string>& same) {
      fs::remove_all(out / "checkpoints/step-6");
      check_exit(run_graft({"train", "--resume", "--out", folder}, {.directory = from}), 0);
      for (const std::string& file : same)
        CHECK_MESSAGE(content_of(out / file) == before.at(file), name, "/", file);
    };
    check_resumed(scratch.path(), name,
                  {"adapter_model.safetensors", "adapter_config.json", "README.md", "run.toml"});
    check_resumed(scratch / "elsewhere", fs::path("..") / name, {"adapter_model.safetensors"});
  };
  check_run("new", {});
  check_run("further", {"--adapter", "first=one"});
}

TEST_CASE("resume: where there is nothing yet the run starts, and says so") {
  const TemporaryFolder scratch;
  const CommandResult result = run_graft(joined(short_run(scratch / "out"), {"--resume"}));
  check_exit(result, 0);
  check_contains(result.err, "there is no checkpoint");
}

TEST_CASE("resume: a folder without a run, or none at all, is named") {
  const TemporaryFolder scratch;
  const CommandResult none = run_graft({"train", "--resume"});
  check_exit(none, 2);
  check_contains(none.err, "--out is missing: give the folder of the run to continue");
  const CommandResult other = run_graft({"train", "--resume", "--out", scratch / "typo"});
  check_exit(other, 2);
  check_contains(other.err, "--resume finds no run in " + (scratch / "typo").string());
  CHECK(!fs::exists(scratch / "typo"));
}

TEST_CASE("resume: other settings are refused by name, and nothing is changed") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  check_exit(run_graft(short_run(out)), 0);
  const auto before = snapshot(out);
  const CommandResult result =
      run_graft({"train", "--resume", "--out", out, "--grad-accum", "4", "--lora-r", "8"});
  check_exit(result, 2);
  check_contains(result.err, "grad-accum");
  const CommandResult alpha = run_graft({"train", "--resume", "--out", out, "--lora-alpha", "8"});
  check_exit(alpha, 2);
  check_contains(alpha.err, "adapter is ");
  CHECK(snapshot(out) == before);
}

TEST_CASE("resume: where every checkpoint is damaged the run does not start from zero") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  check_exit(run_graft(short_run(out)), 0);
  for (const auto& entry : fs::directory_iterator(out / "checkpoints"))
    fs::resize_file(entry.path() / "adapter_model.safetensors", 100);
  const auto before = snapshot(out);
  const CommandResult result = run_graft({"train", "--resume", "--out", out});
  check_exit(result, 3);
  check_contains(result.err, "adapter_model.safetensors");
  CHECK(snapshot(out) == before);
}

TEST_CASE("resume: a damaged newest checkpoint is passed over with a warning") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  check_exit(run_graft(short_run(out)), 0);
  const std::string adapter = content_of(out / "adapter_model.safetensors");
  fs::resize_file(out / "checkpoints/step-12/optimizer.safetensors", 100);
  const CommandResult result = run_graft({"train", "--resume", "--out", out});
  check_exit(result, 0);
  check_contains(result.err, "step-12");
  check_contains(result.err, "continuing after step 9");
  CHECK(content_of(out / "adapter_model.safetensors") == adapter);
}

TEST_CASE("train: SIGUSR1 saves a checkpoint and the run goes on") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  RunningCommand command(interruptible_run(out));
  command.wait_for_lines(out / "log.jsonl", 5);
  command.send(SIGUSR1);
  const CommandResult result = command.finish();
  check_exit(result, 0);
  size_t count = 0;
  for (size_t at = 0; (at = result.err.find("saved ", at)) != std::string::npos; ++at)
    ++count;
  CHECK(count == 4);  // 30, 60, 90 and the one asked for
}

TEST_CASE("train: SIGHUP, a terminal that was closed, saves like SIGTERM") {
  std::signal(SIGHUP, SIG_DFL);  // the tests may run under nohup themselves
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  check_exit(interrupt(interruptible_run(out), out, SIGHUP, 5), 143);
  const int64_t stopped_at = steps_of(out).back()["step"];
  REQUIRE(stopped_at < 90);
  CHECK(fs::exists(out / "checkpoints" / ("step-" + std::to_string(stopped_at))));
}

TEST_CASE("train: under nohup the run goes on after SIGHUP") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  const fs::path graft = fs::absolute(std::getenv("GRAFT_COMMAND"));
  RunningCommand command(joined({graft}, interruptible_run(out)), {.program = "/usr/bin/nohup"});
  command.wait_for_lines(out / "log.jsonl", 5);
  command.send(SIGHUP);
  check_exit(command.finish(), 0);
  CHECK(steps_of(out).size() == 90);
}

TEST_CASE("train: a run goes on where nobody reads its output any more") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  const fs::path graft = fs::absolute(std::getenv("GRAFT_COMMAND"));
  const CommandResult result =
      run_graft(joined({"-c", "\"$@\" 2>&1 | head -n 1", "sh", graft}, short_run(out)),
                {.program = "/bin/sh"});
  check_exit(result, 0);
  CHECK(steps_of(out).size() == 12);
  CHECK(fs::exists(out / "adapter_model.safetensors"));
}
