// The built command from outside: help, errors, colour, and the verbs that only look.

#include <nlohmann/json.hpp>

#include "graft/cli/commands.h"
#include "graft/io/file.h"
#include "graft/io/safetensors.h"
#include "graft/tests/support/command.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

nlohmann::json json_of(const CommandResult& result) {
  const auto json = nlohmann::json::parse(result.out, nullptr, false);
  REQUIRE_MESSAGE(json.is_object(), "stdout is not one JSON object: ", result.out, result.err);
  return json;
}

void check_refused(const std::vector<std::string>& arguments, int exit_code,
                   const std::vector<std::string>& parts) {
  const CommandResult result = run_graft(arguments);
  CHECK_MESSAGE(result.exit_code == exit_code, result.exit_code, " ", result.err);
  CHECK(result.out == "");
  CHECK(result.err.starts_with("graft: error: "));
  for (const std::string& part : parts)
    check_contains(result.err, part);
}

}  // namespace

TEST_CASE("command: help goes to stdout and lists every verb, and each verb has its own") {
  const CommandResult help = run_graft({"--help"});
  CHECK(help.exit_code == 0);
  CHECK(help.err == "");
  for (const cli::Verb& verb : cli::verbs()) {
    check_contains(help.out, std::string(verb.name));
    const CommandResult own = run_graft({std::string(verb.name), "--help"});
    CHECK(own.exit_code == 0);
    check_contains(own.out, "Usage: graft " + std::string(verb.name));
    CHECK(own.err == "");
  }
  CHECK(run_graft({"--version"}).out.starts_with("graft 0."));
}

TEST_CASE("command: without a verb, or with none of ours, it says what there is") {
  const CommandResult none = run_graft({});
  CHECK(none.exit_code == 2);
  CHECK(none.out == "");
  check_contains(none.err, "Usage: graft VERB");
  check_refused({"trian"}, 2, {"graft has no verb 'trian' (did you mean 'train'?)"});
  for (const cli::Verb& verb : cli::verbs())
    check_refused({std::string(verb.name), "--modle", "x"}, 2, {"unknown flag '--modle'"});
}

TEST_CASE("command: colour on a terminal, none with NO_COLOR, none elsewhere") {
  CommandOptions terminal;
  terminal.on_terminal = true;
  check_contains(run_graft({"trian"}, terminal).out, "\x1b[31mgraft: error:\x1b[0m");
  terminal.environment["NO_COLOR"] = "1";
  CHECK(run_graft({"trian"}, terminal).out.starts_with("graft: error:"));
  CHECK(run_graft({"doctor"}).out.find('\x1b') == std::string::npos);
}

TEST_CASE("command: a full disk behind stdout is an error") {
  CommandOptions options;
  options.output = "/dev/full";
  const CommandResult result = run_graft({"doctor"}, options);
  CHECK(result.exit_code == 4);
  check_contains(result.err, "could not be written");
}

TEST_CASE("command: control characters in what was typed do not reach the terminal") {
  CHECK(run_graft({"\x1b[2J"}).err.find('\x1b') == std::string::npos);
  CHECK(run_graft({"train", "--\x1b[2J"}).err.find('\x1b') == std::string::npos);
}

TEST_CASE("doctor: every environment works here") {
  const CommandResult shown = run_graft({"doctor"});
  CHECK(shown.exit_code == 0);
  const auto found = json_of(run_graft({"doctor", "--json"}));
  CHECK(found["processors"].get<int>() >= 1);
  CHECK(found["kernels"]["cpu"].get<int>() > 10);
  for (const char* name : {"load", "configure", "train", "infer"}) {
    CHECK_MESSAGE(found["environments"][name]["works"] == true, found.dump(2));
    check_contains(shown.out, std::string("works  ") + name);
  }
}

TEST_CASE("doctor: says what fails where no temporary folder can be made") {
  CommandOptions options;
  options.environment["TMPDIR"] = "/proc";
  const CommandResult result = run_graft({"doctor"}, options);
  CHECK(result.exit_code == 4);
  check_contains(result.err, "TMPDIR");
}

TEST_CASE("inspect: a model, an adapter, tensors and data are told apart") {
  const auto model = json_of(run_graft({"inspect", golden("models/gqa"), "--json"}));
  CHECK(model["kind"] == "model");
  CHECK(model["layers"] == 2);
  CHECK(model["vocab_size"] == 96);
  const auto adapter = json_of(run_graft({"inspect", golden("lora_runs/q_v/initial"), "--json"}));
  CHECK(adapter["kind"] == "adapter");
  CHECK(adapter["r"] == 4);
  CHECK(adapter["parameters"] == 896);
  const auto tensors = json_of(run_graft({"inspect", golden("models/gqa.safetensors"), "--json"}));
  CHECK(tensors["kind"] == "tensors");
  CHECK(tensors["tensors"]["logits"]["dtype"] == "F32");
  const auto data = json_of(run_graft({"inspect", golden("lora_runs/data.jsonl"), "--json"}));
  CHECK(data["kind"] == "data set");
  CHECK(data["samples"] == 48);
  CHECK(data["tokens"].get<int>() > data["trained_tokens"].get<int>());
  check_contains(run_graft({"inspect", golden("models/gqa")}).out, "llama (LlamaForCausalLM)");
  const auto nf4 = json_of(run_graft({"inspect", golden("qlora/nf4"), "--json"}));
  CHECK(nf4["quantized_parameters"] == 2 * (5 * 64 * 64 + 2 * 32 * 64));
  check_contains(run_graft({"inspect", golden("qlora/nf4")}).out,
                 "parameters: nf4 with double quantisation");
}

TEST_CASE("inspect: what it cannot read is refused") {
  const TemporaryFolder scratch;
  check_refused({"inspect"}, 2, {"PATH is missing"});
  check_refused({"inspect", scratch / "none"}, 4, {"there is no"});
  check_refused({"inspect", ""}, 2, {"PATH is empty"});
  check_refused({"inspect", golden("models/gqa"), "--model", golden("models/gqa")}, 2,
                {"--model counts the tokens of a data set", "'model'"});
  check_refused({"inspect", scratch.path()}, 2, {"no model (config.json)"});
  check_refused({"inspect", golden("lora_runs.json").parent_path() / "README.md"}, 2, {".gguf"});
}

TEST_CASE("model: where it is not there, that is said, and not that its tokenizer is missing") {
  const TemporaryFolder scratch;
  io::write_file_atomically(scratch / "data.jsonl", "{\"text\": \"a\"}\n");
  const std::string data = scratch / "data.jsonl", out = scratch / "out";
  const std::vector<std::vector<std::string>> commands = {
      {"generate", "--prompt", "a"},
      {"chat"},
      {"eval", "--data", data},
      {"logits", "--data", data, "--out", out},
      {"data", "stats", "--data", data},
      {"train", "--data", data, "--out", out},
      {"quantize", "--quant", "nf4", "--out", out},
      {"inspect", data}};
  for (std::vector<std::string> command : commands) {
    command.insert(command.end(), {"--model", ""});
    for (const char* missing : {"none", "none.gguf"}) {
      command.back() = scratch / missing;
      check_refused(command, 2,
                    {"load: there is no " + command.back() + "; a folder with config.json"});
    }
    command.back() = "organisation/name";
    check_refused(command, 2, {"there is no folder organisation/name here", "hf download"});
  }
}

TEST_CASE("model: a folder without one is named, and one without a tokenizer by that") {
  const TemporaryFolder scratch;
  check_refused({"generate", "--prompt", "a", "--model", scratch.path()}, 2,
                {"load: " + scratch.path().string() + " has no config.json"});
  check_refused({"chat", "--model", golden("lora_runs/q_v/initial")}, 2,
                {"holds an adapter, a model expected"});
  check_refused({"generate", "--prompt", "a", "--model", golden("models/gqa")}, 2,
                {"tokenizer: " + golden("models/gqa").string() + " holds none"});
}

TEST_CASE(
    "adapter: where there is no such folder, or a file, that is said before anything is read") {
  const TemporaryFolder scratch;
  const std::vector<std::string> command = {
      "logits", "--model",       golden("models/gqa"), "--data", golden("lora_runs/data.jsonl"),
      "--out",  scratch / "out", "--adapter"};
  const std::string none = scratch / "none";
  for (const std::string& spelling : {none, none + "@0.5", "poet=" + none, "poet=" + none + "@2"}) {
    auto arguments = command;
    arguments.push_back(spelling);
    check_refused(arguments, 2,
                  {"--adapter: there is no folder " + none +
                   "; expected is one with "
                   "adapter_config.json"});
    arguments = {
        "train", "--model",       golden("models/gqa"), "--data", golden("lora_runs/data.jsonl"),
        "--out", scratch / "out", "--adapter",          none};
    check_refused(arguments, 2, {"--adapter: there is no folder " + none});
  }
  auto arguments = command;
  arguments.push_back(golden("lora_runs/data.jsonl"));
  check_refused(arguments, 2, {"data.jsonl is a file; expected is the folder of an adapter"});
}

TEST_CASE("logits: those of the golden model, in the order of the records") {
  const TemporaryFolder scratch;
  const io::SafetensorsFile expected(golden("models/gqa.safetensors"));
  const Tensor ids = expected.load("input_ids"), logits = expected.load("logits");
  const int64_t length = ids.dim(1);
  std::string lines;
  for (int64_t row = 0; row < ids.dim(0); ++row) {
    std::vector<int64_t> values;
    for (const double id : ids.slice(0, row, row + 1).to_vector())
      values.push_back(static_cast<int64_t>(id));
    lines += nlohmann::json{{"input_ids", values}}.dump() + "\n";
  }
  io::write_file_atomically(scratch / "ids.jsonl", lines);
  const CommandResult result =
      run_graft({"logits", "--model", golden("models/gqa"), "--data", scratch / "ids.jsonl",
                 "--out", scratch / "l.safetensors"});
  REQUIRE_MESSAGE(result.exit_code == 0, result.err);
  const io::SafetensorsFile file(scratch / "l.safetensors");
  CHECK(file.names().size() == 2);
  // Rows are padded on the right, which the golden attention mask hides: compare the first row,
  // which is whole.
  const Tensor first = logits.slice(0, 0, 1).contiguous().view({length, -1});
  CHECK(relative_difference(file.load("logits.0"), first) < 2e-5);  // f32 through two layers
}

TEST_CASE("logits: bad records are refused with their line") {
  const TemporaryFolder scratch;
  const auto refuse = [&](const std::string& text, const std::string& part) {
    io::write_file_atomically(scratch / "ids.jsonl", text);
    check_refused({"logits", "--model", golden("models/gqa"), "--data", scratch / "ids.jsonl",
                   "--out", scratch / "l.safetensors"},
                  3, {part});
    CHECK(!fs::exists(scratch / "l.safetensors"));
  };
  refuse("{\"input_ids\": [1]}\n{\"input_ids\": [96]}\n", "ids.jsonl:2");
  refuse("{\"input_ids\": []}\n", "ids.jsonl:1");
  refuse("\n", "there is no record");
}

TEST_CASE("plugin: a file that is none is refused before anything is read") {
  const TemporaryFolder scratch;
  io::write_file_atomically(scratch / "x.so", "not a library");
  check_refused(
      {"logits", "--model", "m", "--data", "d", "--out", "o", "--plugin", scratch / "x.so"}, 4,
      {"x.so"});
}
