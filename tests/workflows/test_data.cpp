// graft data: what a person sees of a data set before anything is trained; and training on each
// kind of file.

#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/io/file.h"
#include "graft/tests/workflows/workflow.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

void write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
}

Arguments data_verb(const std::string& action, const fs::path& file, const Arguments& more = {}) {
  return joined({"data", action, "--model", data("tokenizers/llama3"), "--data", file}, more);
}

/// The code block of a page that begins so.
std::string block_of(const std::string& page, const std::string& begin) {
  const size_t at = page.find("```\n" + begin);
  REQUIRE_MESSAGE(at != std::string::npos, "no block begins with '", begin, "'");
  const size_t first = at + 4;
  return page.substr(first, page.find("```\n", first) - first);
}

constexpr const char* questions =
    "{\"question\": \"2+2?\", \"answer\": \"4\"}\n"
    "{\"question\": \"3+3?\", \"answer\": \"6\"}\n";

}  // namespace

TEST_CASE("data preview: shows the turns, and in brackets what is learnt") {
  const TemporaryFolder scratch;
  write(scratch / "q.jsonl", questions);
  const CommandResult result = run_graft(data_verb("preview", scratch / "q.jsonl"));
  check_exit(result, 0);
  check_contains(result.out,
                 "question/answer, through the model's chat template, loss on completion");
  check_contains(result.out, "line 2: 20 tokens, 2 of them learnt");
  check_contains(result.out,
                 "  <|begin_of_text|><|start_header_id|>user<|end_header_id|>⏎\n  ⏎\n"
                 "  2+2?<|eot_id|><|start_header_id|>assistant<|end_header_id|>⏎\n  ⏎\n"
                 "  ⟦4<|eot_id|>⟧<|start_header_id|>assistant");
  CHECK(result.out.find('\x1b') == std::string::npos);
  const CommandResult second =
      run_graft(data_verb("preview", scratch / "q.jsonl", {"--line", "2", "--tokens"}));
  check_exit(second, 0);
  CHECK(second.out.find("line 1:") == std::string::npos);
  check_contains(second.out, "|3|+|3|?|<|eot_id|>|");
}

TEST_CASE("data: docs/command.md shows what preview and stats print") {
  const TemporaryFolder scratch;
  write(scratch / "train.jsonl",
        R"({"messages": [{"role": "user", "content": "What is 2+2?"},)"
        R"( {"role": "assistant", "content": "4."}, {"role": "user", "content": "Sure?"},)"
        R"( {"role": "assistant", "content": "Yes, I am."}]})");
  const std::string page = io::read_file(golden("../../docs/command.md"), 1 << 20);
  const CommandResult preview = run_graft({"data", "preview", "--model", data("tokenizers/qwen2.5"),
                                           "--data", scratch / "train.jsonl"});
  check_exit(preview, 0);
  check_contains(preview.out, block_of(page, "line 1: "));

  CommandOptions here;
  here.directory = data("text/gsm8k");
  const CommandResult stats =
      run_graft({"data", "stats", "--model", fs::absolute(data("tokenizers/qwen2.5")), "--data",
                 "train.jsonl", "--max-seq-len", "256", "--packing"},
                here);
  check_exit(stats, 0);
  std::string shown = block_of(page, "graft data stats train.jsonl\n");
  const std::string more = "            …\n";  // the histogram goes on
  REQUIRE(shown.ends_with(more));
  shown.resize(shown.size() - more.size());
  check_contains(stats.out, shown);
}

TEST_CASE("data preview: of a record that was split, each part says where it begins") {
  const TemporaryFolder scratch;
  write(scratch / "t.txt", "one two three four five\n<|end|>\nsix\n");
  const CommandResult result =
      run_graft(data_verb("preview", scratch / "t.txt", {"--max-seq-len", "4"}));
  check_exit(result, 0);
  check_contains(result.out, "line 1: 4 tokens, 3 of them learnt");
  check_contains(result.out, "line 1, from token 4: ");
}

TEST_CASE("data preview: on a terminal what is learnt is green, not bracketed") {
  const TemporaryFolder scratch;
  write(scratch / "q.jsonl", questions);
  CommandOptions options;
  options.on_terminal = true;
  options.environment = {{"TERM", "xterm"}, {"NO_COLOR", ""}};
  const CommandResult result = run_graft(data_verb("preview", scratch / "q.jsonl"), options);
  check_exit(result, 0);
  check_contains(result.out, "\x1b[32m4<|eot_id|>\x1b[0m");
  CHECK(result.out.find("⟦") == std::string::npos);
}

TEST_CASE("data preview: as JSON, ids and labels are those that training has") {
  const TemporaryFolder scratch;
  write(scratch / "q.jsonl", questions);
  const auto json = json_of(run_graft(data_verb("preview", scratch / "q.jsonl", {"--json"})));
  CHECK(json["format"] == "question/answer");
  REQUIRE(json["samples"].size() == 2);
  CHECK(json["samples"][0]["input_ids"].size() == json["samples"][0]["labels"].size());
  CHECK(json["samples"][0]["trained_tokens"] == 2);
  CHECK(json["samples"][0]["parts"][1] ==
        nlohmann::json{{"learnt", true}, {"text", "4<|eot_id|>"}});
}

TEST_CASE("data preview: text from a file cannot give orders to the terminal") {
  const TemporaryFolder scratch;
  write(scratch / "t.jsonl", "{\"text\": \"a\\u001b]0;title\\u0007b\"}\n");
  const CommandResult result = run_graft(data_verb("preview", scratch / "t.jsonl"));
  check_exit(result, 0);
  CHECK(result.out.find('\x1b') == std::string::npos);
  CHECK(result.out.find('\a') == std::string::npos);
}

TEST_CASE("data stats: what is cut, dropped and split, repeated and shared, and the steps") {
  const TemporaryFolder scratch;
  const std::string longer =
      "{\"question\": \"" + std::string(400, '?') + "\", \"answer\": \"4\"}\n";
  write(scratch / "d/train.jsonl", std::string(questions) + questions + longer);
  write(scratch / "d/validation.json", "[{\"question\": \"3+3?\", \"answer\": \"6\"}]");
  const auto json = json_of(
      run_graft(data_verb("stats", scratch / "d",
                          {"--json", "--max-seq-len", "20", "--packing", "--batch-size", "3"})));
  REQUIRE(json["files"].size() == 2);
  const auto& train = json["files"][0];
  CHECK(train["samples"] == 4);
  CHECK(train["records"] == 5);
  CHECK(train["dropped_unlearnable"] == 1);
  CHECK(train["repeated"] == 2);
  CHECK(train["rows"] == 4);
  CHECK(train["steps"] == 2);
  CHECK(train["lengths"]["p50"] == 20);
  CHECK(json["files"][1]["in_training"] == 1);
  const CommandResult plain =
      run_graft(data_verb("stats", scratch / "d", {"--max-seq-len", "20", "--overlong", "drop"}));
  check_exit(plain, 0);
  check_contains(plain.out, "1 record dropped, longer than 20");
  check_contains(plain.out, "2 samples equal to an earlier one");
  check_contains(plain.out, "1 sample that the training data has too");
  check_contains(plain.out, "1 step for 1 epoch of batches of 4");
}

TEST_CASE("data check: all faults of all files with their lines, and exit code 3") {
  const TemporaryFolder scratch;
  write(scratch / "d/train.jsonl", std::string(questions) +
                                       "{\"question\": 5, \"answer\": \"a\"}\n" + "{\n" +
                                       questions + "{\"text\": \"a\"}\n");
  write(scratch / "d/test.jsonl", questions);
  const CommandResult result = run_graft(data_verb("check", scratch / "d"));
  check_exit(result, 3);
  check_contains(result.out, "train.jsonl:3: question is 5, expected a text");
  check_contains(result.out, "train.jsonl:4: the line ends inside of its JSON value");
  check_contains(result.out, "train.jsonl:7: the record is no question/answer record");
  check_contains(result.out, "train.jsonl: 4 samples, 3 faults");
  check_contains(result.out, "test.jsonl: 2 samples, 0 faults");
  const CommandResult json = run_graft(data_verb("check", scratch / "d", {"--json"}));
  check_exit(json, 3);
  const auto parsed = nlohmann::json::parse(json.out);
  CHECK(parsed["faults"] == 3);
  CHECK(parsed["files"][0]["faults"].size() == 3);
  check_exit(run_graft(data_verb("check", scratch / "d/test.jsonl")), 0);
}

TEST_CASE("data check: a file without records, or with nothing left of them, is a fault") {
  const TemporaryFolder scratch;
  write(scratch / "empty.jsonl", "\n");
  const CommandResult empty = run_graft(data_verb("check", scratch / "empty.jsonl"));
  check_exit(empty, 3);
  check_contains(empty.out, "empty.jsonl: the file has no records");
  write(scratch / "q.jsonl", questions);
  check_contains(run_graft(data_verb("check", scratch / "q.jsonl", {"--max-seq-len", "4"})).out,
                 "nothing is left of 2 records: with 20 tokens at most, they are too long for 4");
}

TEST_CASE("data: wrong actions, folders and flags are refused with the nearest that is right") {
  const TemporaryFolder scratch;
  write(scratch / "q.jsonl", questions);
  const auto refused = [](const Arguments& arguments, const std::string& part) {
    const CommandResult result = run_graft(arguments);
    check_exit(result, 2);
    check_contains(result.err, part);
  };
  refused(data_verb("prevew", scratch / "q.jsonl"), "did you mean 'preview'?");
  refused(
      data_verb("stats", scratch.path()),
      "has neither a train nor a valid nor a test file (.jsonl, .json or .txt); it has q.jsonl; "
      "give the file that is meant");
  fs::create_directories(scratch / "none");
  refused(data_verb("stats", scratch / "none"), "; it has no file of these kinds");
  refused({"train", "--model", golden("models/gqa"), "--data", scratch.path(), "--out",
           scratch / "out"},
          "has no train.jsonl (nor .json or .txt); it has q.jsonl; give the file");
  refused(data_verb("stats", scratch / "q.jsonl", {"--columns", "prompt"}),
          "--columns is 'prompt'");
  refused(data_verb("stats", scratch / "q.jsonl", {"--columns", "prompt=questoin"}),
          "did you mean 'question'?");
  write(scratch / "a.txt", "text\n");
  refused(data_verb("stats", scratch / "a.txt", {"--overlong", "cut"}),
          "there is no --overlong cut");
  write(scratch / "train.json", "[]");
  write(scratch / "train.jsonl", questions);
  refused(data_verb("stats", scratch.path()), "has train.jsonl and train.json");
}

TEST_CASE("train: packing, dropped samples and a list of records are said and recorded") {
  const TemporaryFolder scratch;
  const Arguments run = {"train",         "--model",   golden("models/gqa"), "--out",
                         scratch / "out", "--packing", "--max-seq-len",      "8",
                         "--overlong",    "drop",      "--lora-r",           "2"};
  write(scratch / "d/train.json",
        "[{\"input_ids\": [1, 2, 3]}, {\"input_ids\": [4, 5, 6, 7]},\n"
        " {\"input_ids\": [8, 9, 8, 9, 8, 9, 8, 9, 8]}, {\"input_ids\": [1, 2]}]");
  write(scratch / "d/dev.jsonl", "{\"input_ids\": [1, 2, 3]}\n");
  const CommandResult result = run_graft(joined(run, {"--data", scratch / "d"}));
  check_exit(result, 0);
  check_contains(result.err, "1 record dropped, longer than 8");
  check_contains(result.err, "3 samples in 2 rows of 8 tokens, 56.2% full");
  check_contains(result.err, "dev.jsonl: 1 sample");
  const auto record = nlohmann::json::parse(content_of(scratch / "out/run.json"));
  CHECK(record["plan"]["data"]["dropped"] == 1);
  CHECK(record["plan"]["data"]["rows"] == 2);
  CHECK(record["plan"]["data"]["file"] == "train.json");
  CHECK(record["plan"]["steps"] == 1);
}
