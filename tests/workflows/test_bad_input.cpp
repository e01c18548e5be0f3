// Bad input, one kind at a time: a clear message, the documented exit code, nothing written or
// lost.

#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/tests/workflows/workflow.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

void write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
}

/// A copy of a golden model that may be spoiled.
fs::path copied_model(const TemporaryFolder& scratch) {
  fs::copy(golden("models/gqa"), scratch / "model", fs::copy_options::recursive);
  return scratch / "model";
}

/// The short run with one flag set to another value.
Arguments with(Arguments arguments, const std::string& flag, const std::string& value) {
  const auto position = std::find(arguments.begin(), arguments.end(), flag);
  if (position != arguments.end())
    arguments.erase(position, position + 2);
  return joined(std::move(arguments), {flag, value});
}

/// Runs, expects the exit code and parts of the message, and an --out that was not made.
void check_refused(const TemporaryFolder& scratch, const Arguments& arguments, int exit_code,
                   const std::vector<std::string>& parts) {
  const CommandResult result = run_graft(arguments);
  check_exit(result, exit_code);
  check_contains(result.err, "graft: error: ");
  for (const std::string& part : parts)
    check_contains(result.err, part);
  CHECK(result.out == "");
  CHECK_MESSAGE(!fs::exists(scratch / "out"), "the folder was made; stderr: ", result.err);
}

/// A run on data with these lines.
void check_data_refused(const std::string& lines, int exit_code,
                        const std::vector<std::string>& parts) {
  const TemporaryFolder scratch;
  write(scratch / "data.jsonl", lines);
  check_refused(scratch, with(short_run(scratch / "out"), "--data", scratch / "data.jsonl"),
                exit_code, parts);
}

constexpr const char* good_line = "{\"input_ids\": [1, 2, 3, 4]}\n";

}  // namespace

TEST_CASE("bad model: one that is not there, a hub name, a pickle, a damaged file") {
  const TemporaryFolder scratch;
  const Arguments run = short_run(scratch / "out");
  check_refused(scratch, with(run, "--model", "HuggingFaceTB/SmolLM2-135M"), 2,
                {"HuggingFaceTB/SmolLM2-135M"});
  const fs::path model = copied_model(scratch);
  const fs::path weights = model / "model.safetensors";
  const std::string bytes = content_of(weights);
  write(weights, bytes.substr(0, bytes.size() / 2));
  check_refused(scratch, with(run, "--model", model), 3, {"model.safetensors", "byte"});
  std::string flipped = bytes;
  flipped[0] = '\xff';  // the length of the header
  write(weights, flipped);
  check_refused(scratch, with(run, "--model", model), 3, {"model.safetensors"});
  fs::remove(weights);
  write(model / "pytorch_model.bin", "PK");
  check_refused(scratch, with(run, "--model", model), 3, {"pickle", "safetensors"});
  write(weights, bytes);
  write(model / "config.json", "{\"model_type\": \"llama\", ");
  check_refused(scratch, with(run, "--model", model), 3, {"config.json", "byte"});
}

TEST_CASE("bad data: one that is not there, is empty, or is no JSON") {
  const TemporaryFolder scratch;
  check_refused(scratch, with(short_run(scratch / "out"), "--data", scratch / "none.jsonl"), 4,
                {"none.jsonl", "No such file"});
  check_data_refused("", 3, {"data.jsonl"});
  check_data_refused(std::string(good_line) + "{\"input_ids\": [1, 2,\n", 3, {"data.jsonl:2"});
  check_data_refused(std::string(good_line) + "[1]\n", 3, {"data.jsonl:2"});
}

TEST_CASE("bad data: records of another kind, ids outside the vocabulary, nothing to learn") {
  check_data_refused(std::string(good_line) + "{\"txt\": \"a\"}\n", 3, {"data.jsonl:2"});
  check_data_refused(std::string(good_line) + "{\"input_ids\": [1, 96]}\n", 3, {"data.jsonl:2"});
  check_data_refused(std::string(good_line) + "{\"input_ids\": [1, 2], \"labels\": [-100, -100]}\n",
                     3, {"data.jsonl:2"});
  check_data_refused(std::string(good_line) + "{\"input_ids\": [1, 2], \"labels\": [1]}\n", 3,
                     {"data.jsonl:2"});
  check_data_refused("{\"text\": \"a model without a tokenizer\"}\n", 2, {"tokenizer"});
}

TEST_CASE("bad targets: one that matches nothing names the nearest; bad patterns are refused") {
  const TemporaryFolder scratch;
  const Arguments run = short_run(scratch / "out");
  check_refused(scratch, with(run, "--target-modules", "q_porj,v_proj"), 2, {"q_porj", "q_proj"});
  check_refused(scratch, with(run, "--target-modules", "re:.*(q_proj"), 2, {"(q_proj"});
  check_refused(scratch, with(run, "--target-modules", "re:nothing"), 2, {"nothing"});
  check_refused(scratch, with(run, "--exclude-modules", "lm_haed"), 2, {"lm_haed"});
  check_refused(scratch, with(run, "--target-modules", ","), 2, {"--target-modules is empty"});
}

TEST_CASE("bad adapter: of another model, with another tensor, without its tensors, or none") {
  const TemporaryFolder scratch;
  const Arguments run = {
      "train", "--model",      golden("models/gqa"), "--data", golden("lora_runs/data.jsonl"),
      "--out", scratch / "out"};
  check_refused(scratch, with(run, "--adapter", golden("lora_runs/tinystories/initial")), 3,
                {"missing"});
  check_refused(scratch, with(run, "--adapter", golden("models/gqa")), 4, {"adapter_config.json"});
  fs::copy(golden("lora_runs/q_v/initial"), scratch / "adapter");
  fs::remove(scratch / "adapter" / "adapter_model.safetensors");
  check_refused(scratch, with(run, "--adapter", scratch / "adapter"), 4,
                {"adapter_model.safetensors"});
  write(scratch / "adapter" / "adapter_config.json", "{\"peft_type\": \"LOHA\"}");
  check_refused(scratch, with(run, "--adapter", scratch / "adapter"), 3, {"LOHA"});
}

TEST_CASE("bad flags: contradictions are named") {
  const TemporaryFolder scratch;
  const Arguments run = short_run(scratch / "out");
  const Arguments plain = {
      "train", "--model",      golden("models/gqa"), "--data", golden("lora_runs/data.jsonl"),
      "--out", scratch / "out"};
  check_refused(scratch, with(run, "--epochs", "2"), 2, {"--epochs and --max-steps"});
  check_refused(scratch, with(run, "--method", "full"), 2, {"--lora-r", "--method full"});
  check_refused(scratch, with(run, "--adapter", golden("lora_runs/q_v/initial")), 2,
                {"--lora-r", "--adapter"});
  check_refused(scratch, joined(plain, {"--eval-steps", "2"}), 2, {"--val-data"});
  check_refused(scratch, joined(plain, {"--early-stop", "2"}), 2, {"--early-stop"});
  check_refused(scratch, joined(plain, {"--keep-best"}), 2, {"--keep-best"});
  check_refused(scratch, joined(plain, {"--adam-betas", "0.9,1.5"}), 2, {"--adam-betas"});
  check_refused(scratch, joined(plain, {"--max-steps", "5", "--warmup-steps", "9"}), 2,
                {"warm-up"});
  check_refused(scratch, joined(plain, {"--resume", "--overwrite"}), 2, {"--overwrite"});
  check_refused(scratch, joined(plain, {"--val-split", "0.001", "--max-seq-len", "1"}), 2,
                {"--max-seq-len"});
}

TEST_CASE("bad flags: what this version does not do is refused by name") {
  const TemporaryFolder scratch;
  const Arguments run = short_run(scratch / "out");
  check_refused(scratch, with(run, "--quant", "nf4"), 2, {"--quant", "nf4"});
  check_refused(scratch, with(run, "--device", "cuda:0"), 2, {"--device", "cuda:0"});
  check_refused(scratch, with(run, "--optim", "adamw8bit"), 2, {"adamw8bit", "adamw"});
  check_refused(scratch, with(run, "--init-lora-weights", "pissa"), 2, {"pissa"});
  check_refused(scratch, joined(run, {"--use-dora"}), 2, {"--use-dora"});
  check_refused(scratch, joined(run, {"--packing"}), 2, {"--packing"});
  check_refused(scratch, joined(run, {"--adapter", "a", "--adapter", "b"}), 2, {"--adapter"});
}

TEST_CASE("out folder: one that is not empty is refused and left as it is") {
  const TemporaryFolder scratch;
  write(scratch / "out" / "mine.txt", "precious");
  const auto before = snapshot(scratch.path());
  const CommandResult result = run_graft(short_run(scratch / "out"));
  check_exit(result, 2);
  for (const char* part : {"is not empty (mine.txt)", "--resume", "--overwrite"})
    check_contains(result.err, part);
  CHECK(snapshot(scratch.path()) == before);
}

TEST_CASE("out folder: --overwrite replaces the run and keeps other files") {
  const TemporaryFolder scratch;
  check_exit(run_graft(short_run(scratch / "out")), 0);
  write(scratch / "out" / "mine.txt", "precious");
  const CommandResult result =
      run_graft(joined(with(short_run(scratch / "out"), "--max-steps", "2"), {"--overwrite"}));
  check_exit(result, 0);
  CHECK(steps_of(scratch / "out").size() == 2);
  CHECK(content_of(scratch / "out" / "mine.txt") == "precious");
  CHECK(!fs::exists(scratch / "out" / "checkpoints" / "step-12"));
}

TEST_CASE("out folder: a refused run does not touch the one it was to overwrite") {
  const TemporaryFolder scratch;
  check_exit(run_graft(short_run(scratch / "out")), 0);
  const auto before = snapshot(scratch.path());
  check_exit(run_graft(joined(with(short_run(scratch / "out"), "--target-modules", "none"),
                              {"--overwrite"})),
             2);
  CHECK(snapshot(scratch.path()) == before);
}

TEST_CASE("out folder: everything a run writes lies in it") {
  const TemporaryFolder scratch;
  check_exit(run_graft(short_run(scratch / "out")), 0);
  for (const auto& entry : fs::directory_iterator(scratch.path()))
    CHECK(entry.path().filename() == "out");
  for (const auto& [name, content] : snapshot(scratch / "out"))
    CHECK_MESSAGE(name.find(".tmp") == std::string::npos, name);
}

TEST_CASE("not finite: the run stops before anything is spoiled, with exit code 5") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  Arguments arguments = with(short_run(out), "--learning-rate", "1e30");
  arguments = with(arguments, "--max-steps", "60");
  arguments = joined(with(arguments, "--max-grad-norm", "0"), {"--lr-schedule", "constant"});
  const CommandResult result = run_graft(arguments);
  check_exit(result, 5);
  check_contains(result.err, "step");
  CHECK(!fs::exists(out / "adapter_model.safetensors"));
  for (const auto& [name, content] : snapshot(out))
    if (name.ends_with("adapter_model.safetensors"))
      CHECK_MESSAGE(content.find("\xff\xff\xc0\x7f") == std::string::npos, name, " holds NaN");
}

TEST_CASE("not finite: the step before is saved, and the command that is shown goes on from it") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  // The weights stay finite, and what is computed from them does not; there is no checkpoint yet.
  Arguments arguments = with(short_run(out), "--save-steps", "1000");
  arguments = with(arguments, "--learning-rate", "1e19");
  arguments = with(arguments, "--warmup-steps", "3");
  arguments = joined(with(arguments, "--max-grad-norm", "0"), {"--optim", "sgd"});
  const CommandResult result = run_graft(arguments);
  check_exit(result, 5);
  const int64_t step = steps_of(out).back()["step"];
  const fs::path saved = out / "checkpoints" / ("step-" + std::to_string(step));
  CHECK(fs::exists(saved / "manifest.json"));
  for (const std::string& part :
       {std::string("The weights are those of the step before"),
        "The state after step " + std::to_string(step), "is saved: " + saved.string(),
        "--adapter " + saved.string() + " --data ",
        std::string("--learning-rate 5e+18 --out ANOTHER")})
    check_contains(result.err, part);
  const CommandResult again = run_graft({"train", "--resume", "--out", out});
  check_exit(again, 5);  // the same step with the same numbers
  check_exit(run_graft({"train", "--model", golden("models/gqa"), "--adapter", saved, "--data",
                        golden("lora_runs/data.jsonl"), "--learning-rate", "5e+18", "--out",
                        scratch / "another", "--dry-run"}),
             0);
}

TEST_CASE("full disk: the run ends with exit code 4 and keeps what was saved before") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  check_exit(run_graft(short_run(out)), 0);
  const auto before = snapshot(out / "checkpoints/step-12");
  // The weights of the run fit, its optimizer's do not.
  const CommandResult result = run_graft(
      joined(with(short_run(scratch / "small"), "--lora-r", "4"), {}), {.max_file_bytes = 20'000});
  check_exit(result, 4);
  check_contains(result.err, "graft: warning:");
  check_contains(result.err, "graft: error:");
  check_contains(result.err, "optimizer.safetensors");
  for (const auto& [name, content] : snapshot(scratch / "small"))
    CHECK_MESSAGE(name.find(".tmp") == std::string::npos, name);
  CHECK(snapshot(out / "checkpoints/step-12") == before);
  // With room again, the run that had no checkpoint starts over and finishes.
  check_exit(run_graft({"train", "--resume", "--out", scratch / "small"}), 0);
  CHECK(content_of(scratch / "small" / "adapter_model.safetensors") ==
        content_of(out / "adapter_model.safetensors"));
}
