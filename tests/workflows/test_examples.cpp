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

TEST_CASE("example: QLoRA training from a dense model and from one in 4 bits") {
  for (const auto& [model, held] :
       {std::pair<std::string, std::string>{"models/gqa", "nf4 with double quantisation"},
        {"qlora/fp4", "fp4, blocks of 64, 4.50 bits"}}) {
    CAPTURE(model);
    const TemporaryFolder scratch;
    const auto out = scratch / "out";
    const CommandResult result =
        run_example("GRAFT_EXAMPLE_QLORA", {golden(model), golden("lora_runs/data.jsonl"), out});
    check_exit(result, 0);
    for (const std::string& part : {held, std::string("step  20/20"), std::string("wrote ")})
      check_contains(result.out, part);
    const bool is_dense = model == "models/gqa";
    const auto both = json_of(run_graft(
        {"eval", "--model", golden(model), "--quant", is_dense ? "nf4" : "none", "--adapter", out,
         "--data", golden("lora_runs/data.jsonl"), "--compare-base", "--json"}));
    CHECK(both["loss"].get<double>() < both["base"]["loss"].get<double>());
  }
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

TEST_CASE("example: merging in memory, back again, and for good") {
  const TemporaryFolder scratch;
  const CommandResult result = run_example(
      "GRAFT_EXAMPLE_MERGE", {golden("models/gqa"), golden("peft_files/q_v"), scratch / "merged"});
  check_exit(result, 0);
  check_contains(result.out, "unmerged: logits differ by 0.0e+00");
  check_exit(run_graft({"inspect", scratch / "merged"}), 0);
}

TEST_CASE("example: combining two adapters into three others") {
  const TemporaryFolder scratch;
  const CommandResult result =
      run_example("GRAFT_EXAMPLE_COMBINE", {golden("models/gqa"), golden("peft_files/q_v"),
                                            golden("peft_files/all_linear"), scratch / "out"});
  check_exit(result, 0);
  check_contains(result.out, "sum    rank  8, leaves out 0.00% of the energy");
  check_contains(result.out, "small  rank  2");
  for (const char* name : {"sum", "small", "ties"})
    check_exit(run_graft({"inspect", scratch / "out" / name}), 0);
}

TEST_CASE("example: several adapters, switched and mixed in a batch") {
  const TemporaryFolder scratch;
  const std::string model = data("models/stories260k/hf");
  for (const char* food : {"soup", "stones"}) {
    std::ofstream(scratch / "data.jsonl")
        << "{\"text\": \"Once upon a time a robot ate " << food << ".\"}\n";
    check_exit(run_example("GRAFT_EXAMPLE_LORA", {model, scratch / "data.jsonl", scratch / food}),
               0);
  }
  const CommandResult result =
      run_example("GRAFT_EXAMPLE_SEVERAL_ADAPTERS",
                  {model, scratch / "soup", scratch / "stones", "Once upon a time"});
  check_exit(result, 0);
  const auto after = [&](const std::string& label) {
    const size_t begin = result.out.find(label);
    REQUIRE(begin != result.out.npos);
    const size_t answer = begin + label.size();
    return result.out.substr(answer, result.out.find('\n', answer) - answer);
  };
  CHECK(after("\nother: ") == after("row 1, other: "));
  CHECK(after("one: ") == after("row 0, one: "));
  CHECK(after("one: ") != after("\nother: "));
  check_contains(result.out, "row 2, __base__: , there was a little girl");
  check_contains(result.out, "left: other");
}

TEST_CASE("example: wrong arguments are answered with the usage") {
  check_exit(run_example("GRAFT_EXAMPLE_LORA", {"one"}), 2);
  check_exit(run_example("GRAFT_EXAMPLE_QLORA", {"one"}), 2);
  check_exit(run_example("GRAFT_EXAMPLE_INFERENCE", {"none", "none", "none"}), 1);
  for (const char* example :
       {"GRAFT_EXAMPLE_MERGE", "GRAFT_EXAMPLE_COMBINE", "GRAFT_EXAMPLE_SEVERAL_ADAPTERS"})
    check_exit(run_example(example, {"one"}), 2);
}
