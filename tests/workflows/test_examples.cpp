// The programs of examples/ do what they say.

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/tests/workflows/workflow.h"

using namespace graft;
using namespace graft::test;

namespace {

/// Runs the example whose path the build put into this variable.
CommandResult run_example(const char* variable, const Arguments& arguments) {
  const char* program = std::getenv(variable);
  if (program == nullptr)
    skip("the examples were not built");
  CommandOptions options;
  options.program = program;
  return RunningCommand(arguments, options).finish();
}

}  // namespace

TEST_CASE("example: linear regression finds the weights again") {
  const CommandResult result = run_example("GRAFT_EXAMPLE_LINEAR_REGRESSION", {});
  check_exit(result, 0);
  check_contains(result.out, "largest difference from the true weights: 0.00");
}

TEST_CASE("example: LoRA training writes an adapter that the command takes") {
  const TemporaryFolder scratch;
  const auto out = scratch / "out";
  const CommandResult result = run_example(
      "GRAFT_EXAMPLE_LORA", {golden("models/gqa"), golden("lora_runs/data.jsonl"), out});
  check_exit(result, 0);
  for (const char* part : {"trainable params:", "step  20/20", "loss on the data:"})
    check_contains(result.out, part);
  const auto both =
      json_of(run_graft({"eval", "--model", golden("models/gqa"), "--adapter", out, "--data",
                         golden("lora_runs/data.jsonl"), "--compare-base", "--json"}));
  CHECK(both["loss"].get<double>() < both["base"]["loss"].get<double>());
}

TEST_CASE("example: inference with an adapter and without") {
  const TemporaryFolder scratch;
  const std::string model = data("models/stories260k/hf");
  std::ofstream(scratch / "data.jsonl") << "{\"text\": \"Once upon a time a robot ate soup.\"}\n";
  check_exit(run_example("GRAFT_EXAMPLE_LORA", {model, scratch / "data.jsonl", scratch / "out"}),
             0);
  const CommandResult result =
      run_example("GRAFT_EXAMPLE_INFERENCE", {model, scratch / "out", "Once upon a time"});
  check_exit(result, 0);
  check_contains(result.out, "without the adapter: Once upon a time, there was a little girl");
  CHECK(result.out.find("with the adapter:    Once upon a time, there") == std::string::npos);
}

TEST_CASE("example: wrong arguments are answered with the usage") {
  check_exit(run_example("GRAFT_EXAMPLE_LORA", {"one"}), 2);
  check_exit(run_example("GRAFT_EXAMPLE_INFERENCE", {"none", "none", "none"}), 1);
}
