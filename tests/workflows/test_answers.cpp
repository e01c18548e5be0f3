// Text through the command: generate and chat on stories260k, and SmolLM2 from its GGUF file.

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/tests/workflows/workflow.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

// What llama2.c prints for this prompt (stories260K.md), up to the 64th token.
constexpr const char* prompt = "Once upon a time";
constexpr const char* story =
    ", there was a little girl named Lily. She loved to play outside in the park. One day, she saw "
    "a big, red ball.";

Arguments generate(const Arguments& more) {
  return joined({"generate", "--model", data("models/stories260k/hf"), "--raw"}, more);
}

/// The GGUF file of SmolLM2; skips the test where there is none.
fs::path smollm2() {
  const char* file = std::getenv("GRAFT_SMOLLM2_GGUF");
  if (file == nullptr || *file == '\0')
    skip("GRAFT_SMOLLM2_GGUF is not set");
  return file;
}

}  // namespace

TEST_CASE("generate: stdout is the answer alone, the one llama2.c gives") {
  const CommandResult result = run_graft(generate({"--prompt", prompt, "--max-new-tokens", "64"}));
  check_exit(result, 0);
  CHECK(result.out.starts_with(story));
  CHECK(result.out.ends_with('\n'));
  CHECK(result.err == "");
}

TEST_CASE("generate: --json holds the text, the ids and the counts") {
  const Arguments arguments = generate({"--prompt", prompt, "--max-new-tokens", "10"});
  const auto json = json_of(run_graft(joined(arguments, {"--json"})));
  CHECK(json["text"].get<std::string>() + "\n" == run_graft(arguments).out);
  CHECK(json["token_ids"].size() == 10);
  CHECK(json["prompt_tokens"] == 5);  // <s> and four words
  CHECK(json["tokens_per_second"].get<double>() > 0);
}

TEST_CASE("generate: a text ends before a stop string") {
  const CommandResult result = run_graft(
      generate({"--prompt", prompt, "--max-new-tokens", "64", "--stop", "Lily", "--stop", "xyz"}));
  CHECK(result.out == ", there was a little girl named \n");
}

TEST_CASE("generate: a file of prompts, one a line or as JSON lines, in batches of any size") {
  const TemporaryFolder scratch;
  std::ofstream(scratch / "p.txt") << "Once upon a time\r\n\nLily\nTom and\n";
  std::ofstream(scratch / "p.jsonl") << "{\"prompt\": \"Once upon a time\"}\n{\"prompt\": "
                                        "\"Lily\", \"more\": 1}\n{\"prompt\": \"Tom and\"}\n";
  const auto results = [&](const std::string& file, const std::string& batch) {
    auto json = json_of(
        run_graft(generate({"--prompts", scratch / file, "--json", "--batch-size", batch,
                            "--max-new-tokens", "12", "--temperature", "0.8", "--seed", "3"})));
    return json["results"];
  };
  const auto expected = results("p.txt", "8");
  CHECK(expected.size() == 3);
  CHECK(results("p.txt", "1") == expected);
  CHECK(results("p.jsonl", "2") == expected);
}

TEST_CASE("generate: the seed decides what is sampled") {
  const auto text = [](const std::string& seed) {
    return run_graft(generate({"--prompt", prompt, "--max-new-tokens", "20", "--temperature", "1",
                               "--top-k", "50", "--top-p", "0.9", "--seed", seed}))
        .out;
  };
  const std::string one = text("1");
  CHECK(one == text("1"));
  CHECK(one != text("2"));
}

TEST_CASE("generate: prompts that cannot be answered are refused") {
  const TemporaryFolder scratch;
  std::ofstream(scratch / "empty.txt") << "\n \n";
  std::ofstream(scratch / "bad.jsonl") << "{\"prompt\": \"a\"}\n{\"text\": \"b\"}\n";
  const auto refused = [&](const Arguments& more, int exit_code, const std::string& part) {
    const CommandResult result = run_graft(generate(more));
    check_exit(result, exit_code);
    check_contains(result.err, part);
    CHECK(result.out == "");
  };
  refused({}, 2, "--prompt is missing");
  refused({"--prompt", "a", "--prompts", "b"}, 2, "--prompt and --prompts");
  refused({"--prompts", scratch / "none.txt"}, 4, "none.txt");
  refused({"--prompts", scratch / "empty.txt"}, 3, "there is no prompt");
  refused({"--prompts", scratch / "bad.jsonl"}, 3, "bad.jsonl:2");
  refused({"--prompt", "\xff"}, 2, "UTF-8");
  refused({"--prompt", "a", "--top-p", "2"}, 2, "--top-p");
  std::string endless;
  for (int i = 0; i < 600; ++i)
    endless += "word ";
  refused({"--prompt", endless}, 2, "512");
  const CommandResult system = run_graft(
      {"generate", "--model", data("models/stories260k/hf"), "--prompt", "a", "--system", "b"});
  check_exit(system, 2);
  check_contains(system.err, "no chat template");
}

TEST_CASE("chat: answers line by line, and its commands") {
  CommandOptions options;
  options.input = "Once upon a time\n/adapter off\n/nonsense\n\n/reset\nLily\n/exit\nnever read\n";
  const CommandResult result = run_graft(
      {"chat", "--model", data("models/stories260k/hf"), "--max-new-tokens", "9"}, options);
  check_exit(result, 0);
  CHECK(result.out.starts_with(", there was a little girl"));
  CHECK(std::count(result.out.begin(), result.out.end(), '\n') == 2);
  for (const char* part : {"there is no adapter", "there is no command /nonsense",
                           "/adapter on|off", "the conversation is forgotten"})
    check_contains(result.err, part);
}

TEST_CASE("chat: /adapter off answers as the base model does") {
  const TemporaryFolder scratch;
  const std::string model = data("models/stories260k/hf");
  std::ofstream(scratch / "data.jsonl") << "{\"text\": \"Once upon a time a robot ate soup.\"}\n";
  check_exit(run_graft({"train", "--model", model, "--data", scratch / "data.jsonl", "--out",
                        scratch / "out", "--max-steps", "40", "--learning-rate", "0.01",
                        "--lr-schedule", "constant"}),
             0);
  CommandOptions options;
  options.input =
      "Once upon a time\n/adapter off\nOnce upon a time\n/adapter on\nOnce upon a time\n";
  const CommandResult result = run_graft(
      {"chat", "--model", model, "--adapter", scratch / "out", "--max-new-tokens", "12"}, options);
  check_exit(result, 0);
  std::istringstream lines(result.out);
  std::string with, without, again;
  std::getline(lines, with);
  std::getline(lines, without);
  std::getline(lines, again);
  check_contains(with, " a robot ate soup.");
  CHECK(without.starts_with(", there was a little"));
  CHECK(again == with);
}

TEST_CASE("train: a text is learnt with its end, and tokenizer files are written") {
  const TemporaryFolder scratch;
  const fs::path model = data("models/tinystories-656k/fp32");
  std::ofstream(scratch / "data.jsonl") << "{\"text\": \"Once upon a time a robot ate soup.\"}\n";
  const fs::path out = scratch / "out";
  check_exit(
      run_graft({"train", "--model", model, "--data", scratch / "data.jsonl", "--out", out,
                 "--max-steps", "40", "--learning-rate", "0.01", "--lr-schedule", "constant"}),
      0);
  CHECK(content_of(out / "tokenizer.json") == content_of(model / "tokenizer.json"));
  const auto json = json_of(run_graft({"generate", "--model", model, "--adapter", out, "--raw",
                                       "--prompt", "", "--max-new-tokens", "50", "--json"}));
  const std::string text = json["text"];
  CHECK(text.ends_with("Once upon a time a robot ate soup."));  // and no more: eos was learnt
  CHECK(json["token_ids"].size() < 50);
}

TEST_CASE("convert: the folder from a GGUF file gives the file's answer") {
  const fs::path file = smollm2();
  const TemporaryFolder scratch;
  const fs::path folder = scratch / "model";
  const CommandResult converted = run_graft({"convert", "--from", file, "--out", folder, "--json"});
  check_exit(converted, 0);
  CHECK(json_of(converted)["parameters"] == 134515008);
  const auto answer = [](const fs::path& model) {
    return json_of(run_graft({"generate", "--model", model, "--prompt", "What is the sun?",
                              "--max-new-tokens", "12", "--json"}));
  };
  const auto from_file = answer(file), from_folder = answer(folder);
  CHECK(from_file["token_ids"] == from_folder["token_ids"]);
  CHECK(from_file["prompt_tokens"] == from_folder["prompt_tokens"]);
  check_exit(run_graft({"convert", "--from", file, "--out", folder}), 2);  // not empty
}
