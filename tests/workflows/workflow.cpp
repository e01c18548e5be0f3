#include "graft/tests/workflows/workflow.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "graft/io/safetensors.h"

namespace graft::test {

Arguments joined(Arguments first, const Arguments& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

Arguments small_run(const std::filesystem::path& out) {
  return {"train",
          "--model",
          golden("models/gqa"),
          "--data",
          golden("lora_runs/data.jsonl"),
          "--out",
          out,
          "--max-seq-len",
          "64",
          "--learning-rate",
          "0.01",
          "--lora-r",
          "4",
          "--lora-dropout",
          "0.1",
          "--seed",
          "5"};
}

Arguments short_run(const std::filesystem::path& out) {
  return joined(small_run(out), {"--max-steps", "12", "--batch-size", "3", "--grad-accum", "2",
                                 "--val-split", "0.2", "--eval-steps", "4", "--save-steps", "3"});
}

std::vector<nlohmann::json> steps_of(const std::filesystem::path& out) {
  std::vector<nlohmann::json> steps;
  std::istringstream lines(content_of(out / "log.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    nlohmann::json step = nlohmann::json::parse(line);
    step.erase("tokens_per_second");
    step.erase("rss_bytes");
    steps.push_back(std::move(step));
  }
  return steps;
}

void check_exit(const CommandResult& result, int expected) {
  CHECK_MESSAGE(result.exit_code == expected, "exit code ", result.exit_code, ", expected ",
                expected, "; stderr:\n", result.err);
}

Tensor command_logits(const TemporaryFolder& scratch, const std::filesystem::path& model,
                      const Arguments& more) {
  std::ofstream(scratch / "ids.jsonl") << "{\"input_ids\": [7, 50, 5, 12, 33, 9]}\n";
  check_exit(run_graft(joined({"logits", "--model", model, "--data", scratch / "ids.jsonl", "--out",
                               scratch / "logits.safetensors"},
                              more)),
             0);
  return io::SafetensorsFile(scratch / "logits.safetensors", io::Access::read).load("logits.0");
}

nlohmann::json json_of(const CommandResult& result) {
  const nlohmann::json json = nlohmann::json::parse(result.out, nullptr, false);
  REQUIRE_MESSAGE(json.is_object(), "stdout is not one JSON object: ", result.out);
  return json;
}

}  // namespace graft::test
