// Text through the command: generate and chat on stories260k, and SmolLM2 from its GGUF file.

#include <csignal>
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
  CHECK(json["stop_reason"] == "length");
  CHECK(json["tokens_per_second"].get<double>() > 0);
  CHECK(json["prompt_tokens_per_second"].get<double>() > 0);
}

TEST_CASE("generate: --json says why an answer ended") {
  const auto reason = [](const Arguments& more) {
    return json_of(run_graft(generate(joined({"--json"}, more))))["stop_reason"];
  };
  CHECK(reason({"--prompt", prompt, "--max-new-tokens", "64", "--stop", "Lily"}) == "stop_string");
  CHECK(reason({"--prompt", prompt, "--max-new-tokens", "64"}) == "length");
  CHECK(reason({"--prompt", prompt, "--max-new-tokens", "9999"}) == "length");  // 512 positions
}

TEST_CASE("generate: a person is told where an answer was cut, a pipe is not") {
  CommandOptions terminal;
  terminal.on_terminal = true;
  const auto shown = [&](const std::string& tokens) {
    return run_graft(generate({"--prompt", prompt, "--max-new-tokens", tokens}), terminal).out;
  };
  check_contains(shown("9"), "the answer was cut at --max-new-tokens 9");
  check_contains(shown("9999"), "cut at the model's last position, 512");
  CHECK(run_graft(generate({"--prompt", prompt, "--max-new-tokens", "9"})).err == "");
}

TEST_CASE("generate: a signal leaves the answers that are finished") {
  const TemporaryFolder scratch;
  std::ofstream prompts(scratch / "p.txt");
  for (int i = 0; i < 400; ++i)
    prompts << "Once upon a time\n";
  prompts.close();
  CommandOptions options;
  options.output = scratch / "out.json";
  std::ofstream(options.output).close();
  RunningCommand command(generate({"--prompts", scratch / "p.txt", "--json", "--batch-size", "1",
                                   "--max-new-tokens", "200"}),
                         options);
  command.wait_for_lines(options.output, 3);
  command.send(SIGINT);
  check_exit(command.finish(), 130);
  const auto json = nlohmann::json::parse(content_of(options.output));
  const auto& results = json["results"];
  CHECK(results.size() >= 2);
  CHECK(results.size() < 400);
  for (size_t i = 0; i + 1 < results.size(); ++i)
    CHECK(results[i] == results[0]);
  CHECK(results[0]["stop_reason"] == "length");
  CHECK(results.back()["stop_reason"] != "eos");  // "interrupted", or finished just before
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

TEST_CASE("generate: records of a data file are prompts, with their answers left out") {
  const TemporaryFolder scratch;
  const std::string user = R"({"role": "user", "content": "Hi"})";
  const std::string yes = R"({"role": "assistant", "content": "Yes"})";
  std::ofstream(scratch / "p.jsonl")
      << "{\"messages\": [" << user << "]}\n{\"messages\": [" << user << ", " << yes
      << "]}\n{\"messages\": [" << user << ", " << yes << ", " << user << "]}\n";
  std::ofstream(scratch / "q.json") << R"([{"question": "Hi", "answer": "Yes"}])";
  std::ofstream(scratch / "p.txt") << "Hi\n";
  std::ofstream(scratch / "chat.jinja")
      << "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:";
  const auto results = [&](const std::string& file, const std::string& batch) {
    return json_of(run_graft({"generate", "--model", data("models/stories260k/hf"), "--prompts",
                              scratch / file, "--chat-template", scratch / "chat.jinja", "--json",
                              "--batch-size", batch, "--max-new-tokens", "12"}))["results"];
  };
  const auto one = results("p.txt", "1");
  const auto found = results("p.jsonl", "8");
  REQUIRE(found.size() == 3);
  CHECK(found[0] == one[0]);
  CHECK(found[1] == one[0]);
  CHECK(found[2]["prompt"] == "Hi");
  CHECK(found[2]["prompt_tokens"] > found[0]["prompt_tokens"]);
  CHECK(results("p.jsonl", "1") == found);
  CHECK(results("q.json", "1") == one);
  const CommandResult raw =
      run_graft(generate({"--prompts", scratch / "p.jsonl", "--max-new-tokens", "2"}));
  check_exit(raw, 3);
  check_contains(raw.err, "p.jsonl:1: prompt: messages records need a chat template");
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
  refused({"--prompts", ""}, 2, "--prompts is empty");
  refused({"--prompt", "a", "--stop", ""}, 2, "--stop is empty");
  refused({"--prompt", "a", "--top-p", "2"}, 2, "--top-p");
  refused({"--prompt", "a", "--top-p", "0", "--temperature", "1"}, 2, "--top-p");
  refused({"--prompt", "a", "--max-new-tokens", "0"}, 2, "--max-new-tokens");
  std::string endless;
  for (int i = 0; i < 600; ++i)
    endless += "word ";
  refused({"--prompt", endless}, 2, "512");
  std::ofstream(scratch / "long.txt") << "Once\n\n" << endless << "\n";
  refused({"--prompts", scratch / "long.txt", "--batch-size", "1"}, 3,
          "long.txt:3: prompt: it has");
  std::ofstream(scratch / "bytes.txt") << "Once\n\xff\n";
  refused({"--prompts", scratch / "bytes.txt"}, 3, "bytes.txt:2");
  const CommandResult system = run_graft(
      {"generate", "--model", data("models/stories260k/hf"), "--prompt", "a", "--system", "b"});
  check_exit(system, 2);
  check_contains(system.err, "no chat template");
}

TEST_CASE("generate: flags that would be ignored are refused") {
  const auto refused = [](const Arguments& more, const std::vector<std::string>& parts) {
    const CommandResult result = run_graft(generate(joined({"--prompt", "a"}, more)));
    check_exit(result, 2);
    for (const std::string& part : parts)
      check_contains(result.err, part);
    CHECK(result.out == "");
  };
  refused({"--system", "b"}, {"--system", "--raw"});
  refused({"--top-p", "0.9"}, {"--top-p", "--temperature 1"});
  refused({"--top-k", "5"}, {"--top-k", "--temperature 1"});
  refused({"--top-k", "5", "--temperature", "0"}, {"--top-k", "--temperature 1"});
  // What restricts nothing, and the seed of sampling that does not happen, contradict nothing.
  check_exit(run_graft(generate({"--prompt", "a", "--max-new-tokens", "1", "--top-k", "0",
                                 "--top-p", "1", "--seed", "3"})),
             0);
  // On the command line --temperature 0 wins over the sampling that a file describes.
  const TemporaryFolder scratch;
  std::ofstream(scratch / "c.toml") << "temperature = 0.7\ntop-p = 0.9\n";
  const Arguments greedy = {"--prompt", prompt, "--max-new-tokens", "9"};
  const CommandResult both =
      run_graft(generate(joined(greedy, {"--config", scratch / "c.toml", "--temperature", "0"})));
  check_exit(both, 0);
  CHECK(both.out == run_graft(generate(greedy)).out);
}

TEST_CASE("generate: a prompt that writes the first token itself gets it once") {
  const auto ids = [](const std::string& text) {
    return json_of(run_graft(
        generate({"--prompt", text, "--max-new-tokens", "3", "--json"})))["prompt_tokens"];
  };
  CHECK(ids("<s>") == 1);
  CHECK(ids("") == 1);
}

TEST_CASE("chat: flags that would be ignored are refused") {
  const std::string model = data("models/stories260k/hf");
  const CommandResult system = run_graft({"chat", "--model", model, "--system", "Be brief."});
  check_exit(system, 2);
  check_contains(system.err, "--system is a turn of the chat template");
  const CommandResult greedy = run_graft({"chat", "--model", model, "--top-p", "0.5"});
  check_exit(greedy, 2);
  check_contains(greedy.err, "--temperature");
}

TEST_CASE("chat: a message that is too long is refused, and the conversation goes on") {
  CommandOptions options;
  for (int i = 0; i < 600; ++i)
    options.input += "word ";
  options.input += "\nOnce upon a time\n";
  const CommandResult result = run_graft(
      {"chat", "--model", data("models/stories260k/hf"), "--max-new-tokens", "9"}, options);
  check_exit(result, 0);
  check_contains(result.err, "the model has 512 positions; shorten the message");
  CHECK(result.out.starts_with(", there was a little girl"));
}

TEST_CASE("chat: a conversation that is too long names /reset") {
  const fs::path model = smollm2();
  CommandOptions options;
  options.input = "Hello\n";
  for (int i = 0; i < 8300; ++i)
    options.input += "word ";
  options.input += "\n/exit\n";
  const CommandResult result =
      run_graft({"chat", "--model", model, "--max-new-tokens", "2"}, options);
  check_exit(result, 0);
  check_contains(result.err, "/reset begins a new one");
}

TEST_CASE("chat: an adapter's name is what the prompt calls it") {
  const TemporaryFolder scratch;
  const std::string model = data("models/tinystories-656k/fp32");
  const std::string adapter = golden("lora_runs/tinystories/initial");
  CommandOptions options;
  options.input = "/adapter off\n";
  const CommandResult result =
      run_graft({"chat", "--model", model, "--adapter", "mine=" + adapter}, options);
  check_exit(result, 0);
  check_contains(result.err, "you (mine on)>");
  check_contains(result.err, "you (mine off)>");
  for (const std::string& broken : {"=" + adapter, std::string("mine=")}) {
    const CommandResult refused = run_graft({"chat", "--model", model, "--adapter", broken});
    check_exit(refused, 2);
    check_contains(refused.err, "expected [NAME=]DIR");
  }
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
  CHECK(json["stop_reason"] == "eos");
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
