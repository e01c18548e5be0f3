// Bad input, one kind at a time: a clear message, the documented exit code, nothing written or
// lost.

#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/io/safetensors.h"
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
  check_refused(scratch, with(run, "--exclude-modules", ","), 2, {"--exclude-modules is empty"});
  check_refused(scratch, with(run, "--target-modules", "re:.*(q_proj"), 2, {"--target-modules: "});
  check_refused(scratch, with(run, "--exclude-modules", "re:["), 2, {"--exclude-modules: "});
  const CommandResult all = run_graft(with(run, "--target-modules", "ALL-Linear"));
  check_exit(all, 0);  // PEFT takes it in any case
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

TEST_CASE("bad flags: those that would be ignored are refused") {
  const TemporaryFolder scratch;
  const Arguments plain = {
      "train", "--model",      golden("models/gqa"), "--data", golden("lora_runs/data.jsonl"),
      "--out", scratch / "out"};
  const auto refused = [&](const Arguments& more, const std::vector<std::string>& parts) {
    check_refused(scratch, joined(plain, more), 2, parts);
  };
  refused({"--optim", "sgd", "--adam-betas", "0.9,0.99"},
          {"--adam-betas is for adamw and lion", "sgd"});
  refused({"--keep-best", "--val-split", "0.2"}, {"--keep-best", "--eval-steps"});
  refused({"--raw"}, {"--raw", "input_ids/labels"});
  for (const char* flag : {"--val-data", "--adapter", "--target-modules", "--exclude-modules",
                           "--adam-betas", "--config", "--plugin"})
    refused({flag, ""}, {std::string(flag) + " is empty"});
  write(scratch / "c.toml", "method = 'full'\nlora-r = 4\n");
  refused({"--config", scratch / "c.toml"}, {"--lora-r describes an adapter"});
  write(scratch / "c.toml", "optim = 'sgd'\nadam-betas = '0.9,0.99'\n");
  refused({"--config", scratch / "c.toml"}, {"--adam-betas is for adamw and lion"});
}

TEST_CASE("bad flags: values that make no sense are refused") {
  const TemporaryFolder scratch;
  const Arguments plain = {
      "train", "--model",      golden("models/gqa"), "--data", golden("lora_runs/data.jsonl"),
      "--out", scratch / "out"};
  const auto refused = [&](const std::string& flag, const std::string& value,
                           const std::string& expected) {
    check_refused(scratch, joined(plain, {flag, value}), 2,
                  {flag + " is '" + value + "', expected " + expected});
  };
  refused("--lora-alpha", "0", "a number above 0");
  refused("--lora-alpha", "-16", "a number above 0");
  refused("--lora-r", "-1", "a whole number from 1");
  refused("--lora-dropout", "1", "a number of at least 0 and below 1");
  refused("--epochs", "0", "a number above 0 and at most");
  refused("--max-steps", "0", "a whole number from 1");
}

TEST_CASE("bad flags: of the adapter that is continued, nothing can be changed") {
  const TemporaryFolder scratch;
  const Arguments plain = {
      "train", "--model",       golden("models/gqa"), "--data", golden("lora_runs/data.jsonl"),
      "--out", scratch / "out", "--max-steps",        "1"};
  const std::string adapter = golden("lora_runs/q_v/initial");  // rank 4, alpha 8, q_proj v_proj
  const auto refused = [&](const Arguments& more, const std::vector<std::string>& parts) {
    check_refused(scratch, joined(plain, more), 2, parts);
  };
  refused({"--adapter", adapter, "--lora-r", "8"}, {"--lora-r is '8'", "has '4'"});
  refused({"--adapter", adapter, "--use-rslora"}, {"--use-rslora is 'true'", "has 'false'"});
  refused({"--adapter", adapter, "--target-modules", "q_proj"}, {"has 'q_proj,v_proj'"});
  refused({"--adapter", adapter, "--exclude-modules", "q_proj"}, {"--exclude-modules", "has ''"});
  refused({"--adapter", "mine=" + adapter}, {"'mine=", "give --adapter " + adapter});
  write(scratch / "c.toml", "lora-r = 8\nadapter = ['" + adapter + "']\n");
  refused({"--config", scratch / "c.toml"}, {"--lora-r is '8'", "has '4'"});
  // The same as the adapter has is no contradiction; what is typed wins over the file.
  write(scratch / "c.toml", "lora-r = 8\ntarget-modules = 'all-linear'\n");
  check_exit(run_graft(joined(plain, {"--config", scratch / "c.toml", "--adapter", adapter,
                                      "--lora-alpha", "8"})),
             0);
  const auto record = nlohmann::json::parse(content_of(scratch / "out" / "run.json"));
  const auto& settings = record["settings"];
  CHECK(settings["lora-r"] == 4);
  CHECK(settings["lora-alpha"] == 8);
  CHECK(settings["target-modules"] == "q_proj,v_proj");
  CHECK(settings["exclude-modules"].is_null());
  // And the record repeats the run.
  check_exit(
      run_graft({"train", "--config", scratch / "out" / "run.toml", "--out", scratch / "again"}),
      0);
  CHECK(content_of(scratch / "again" / "adapter_model.safetensors") ==
        content_of(scratch / "out" / "adapter_model.safetensors"));
}

TEST_CASE("settings: what does not apply is not recorded, and the record repeats the run") {
  const TemporaryFolder scratch;
  check_exit(run_graft({"train", "--model", golden("models/gqa"), "--data",
                        golden("lora_runs/data.jsonl"), "--out", scratch / "out", "--max-steps",
                        "1", "--method", "full", "--optim", "sgd"}),
             0);
  const auto record = nlohmann::json::parse(content_of(scratch / "out" / "run.json"));
  for (const char* name : {"lora-r", "lora-alpha", "target-modules", "use-rslora", "adam-betas"})
    CHECK_MESSAGE(record["settings"][name].is_null(), name);
  const std::string toml = scratch / "out" / "run.toml";
  check_exit(run_graft({"train", "--config", toml, "--out", scratch / "again"}), 0);
  check_exit(run_graft({"train", "--resume", "--out", scratch / "out"}), 0);
}

TEST_CASE("long samples: more tokens than the model has positions are a warning") {
  const TemporaryFolder scratch;
  std::string ids = "1";
  for (int i = 0; i < 79; ++i)
    ids += ", 2";
  write(scratch / "data.jsonl",
        "{\"input_ids\": [" + ids + "]}\n{\"input_ids\": [" + ids + ", 3]}\n" + good_line);
  const std::string model = golden("models/gqa"), data = scratch / "data.jsonl";
  const std::string warning = "graft: warning: " + data +
                              ": 2 samples are longer than the 64 positions that the model "
                              "was made for (the longest has 81 tokens)";
  const auto warned = [&](const Arguments& arguments) {
    const CommandResult result = run_graft(joined(arguments, {"--model", model, "--data", data}));
    check_exit(result, 0);
    return result.err;
  };
  const Arguments train = {"train", "--out", scratch / "out", "--max-steps", "1", "--dry-run"};
  check_contains(warned(train), warning + "; --max-seq-len 64 cuts them");
  check_contains(warned({"eval"}), warning + "; --max-seq-len 64 cuts them");
  check_contains(warned({"logits", "--out", scratch / "l.safetensors"}), warning);
  CHECK(warned(joined(train, {"--max-seq-len", "64"})).find("warning") == std::string::npos);
}

TEST_CASE("lora-r: a rank above what any layer can use is a warning, before the memory is taken") {
  const TemporaryFolder scratch;
  const Arguments plan = joined(short_run(scratch / "out"), {"--dry-run"});
  const std::string warning = "graft: warning: --lora-r is ";
  const CommandResult useless = run_graft(with(plan, "--lora-r", "65"));
  check_exit(useless, 0);
  check_contains(useless.err,
                 warning + "65, and no layer of this model can make use of a rank above 32; ");
  CHECK(run_graft(with(plan, "--lora-r", "32")).err.find(warning) == std::string::npos);
}

TEST_CASE("perplexity: one beyond all numbers is inf, and null as JSON") {
  const TemporaryFolder scratch;
  const fs::path model = copied_model(scratch), weights = model / "model.safetensors";
  std::vector<io::NamedTensor> tensors;
  {
    const io::SafetensorsFile file(weights, io::Access::read);
    for (const std::string& name : file.names())
      tensors.push_back({name, file.load(name)});
  }
  for (auto& [name, tensor] : tensors)
    if (name == "model.norm.weight")
      tensor = Tensor::full(tensor.shape(), 1e5);
  io::write_safetensors(weights, tensors);
  const Arguments eval = {"eval", "--model", model, "--data", golden("lora_runs/data.jsonl")};
  const CommandResult text = run_graft(eval);
  check_exit(text, 0);
  check_contains(text.out, "perplexity inf");
  const auto json = json_of(run_graft(joined(eval, {"--json"})));
  CHECK(json["loss"].get<double>() > 709);
  CHECK(json["perplexity"].is_null());
  // A run that goes on remembers what it was before.
  const Arguments run = joined(
      with(with(short_run(scratch / "out"), "--model", model), "--learning-rate", "0"), {"--json"});
  const auto before = json_of(run_graft(run))["validation_before"];
  CHECK(before["perplexity"].is_null());
  const fs::path out = scratch / "out";
  fs::remove_all(out / "checkpoints" / "step-12");
  auto record = nlohmann::json::parse(content_of(out / "run.json"));
  record.erase("result");
  write(out / "run.json", record.dump());
  const auto again = json_of(run_graft({"train", "--resume", "--out", out, "--json"}));
  CHECK(again["validation_before"] == before);
}

TEST_CASE("bad flags: what this version does not do is refused by name") {
  const TemporaryFolder scratch;
  const Arguments run = short_run(scratch / "out");
  check_refused(scratch, with(run, "--quant", "int8"), 2, {"--quant", "int8", "nf4"});
  check_refused(scratch, with(run, "--device", "cuda:0"), 2, {"--device", "cuda:0"});
  check_refused(scratch, with(run, "--optim", "paged_lion_8bit"), 2,
                {"paged_lion_8bit", "adamw or adamw8bit or lion or lorafa or sgd"});
  check_refused(scratch, with(run, "--init-lora-weights", "corda"), 2, {"corda"});
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
  const std::string adapter = content_of(out / "adapter_model.safetensors");
  // The weights of the run fit, its optimizer's do not.
  const CommandResult result = run_graft(
      joined(with(short_run(scratch / "small"), "--lora-r", "4"), {}), {.max_file_bytes = 20'000});
  check_exit(result, 4);
  check_contains(result.err, "graft: warning:");
  check_contains(result.err, "graft: error:");
  check_contains(result.err, "optimizer.safetensors");
  for (const auto& [name, content] : snapshot(scratch / "small"))
    CHECK_MESSAGE(name.find(".tmp") == std::string::npos, name);
  // With room again, the run that had no checkpoint starts over and finishes.
  check_exit(run_graft({"train", "--resume", "--out", scratch / "small"}), 0);
  CHECK(content_of(scratch / "small" / "adapter_model.safetensors") == adapter);

  // One that has checkpoints keeps them.
  fs::remove_all(out / "checkpoints/step-12");
  const auto before = snapshot(out / "checkpoints");
  REQUIRE(!before.empty());
  check_exit(run_graft({"train", "--resume", "--out", out}, {.max_file_bytes = 20'000}), 4);
  CHECK(snapshot(out / "checkpoints") == before);
  check_exit(run_graft({"train", "--resume", "--out", out}), 0);
  CHECK(content_of(out / "adapter_model.safetensors") == adapter);
}
