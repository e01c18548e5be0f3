// graft eval: exact match and multiple choice on stories260k, the losses of tokens, and what is
// refused.

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/tests/workflows/workflow.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

using Json = nlohmann::json;

using Records = std::vector<Json>;

constexpr const char* prompt = "Once upon a time";

Json asked(const std::string& text, const std::string& completion) {
  return {{"prompt", text}, {"completion", completion}};
}

/// A folder for data, and the verb on the little model.
class EvalCase {
 public:
  explicit EvalCase(const Records& records = {}) { write("data.jsonl", records); }

  void write(const std::string& name, const Records& records) const {
    std::ofstream file(folder_ / name, std::ios::binary);
    for (const Json& record : records)
      file << record.dump() << "\n";
  }
  Arguments arguments(const Arguments& more) const {
    return joined(
        {"eval", "--model", data("models/stories260k/hf"), "--data", folder_ / "data.jsonl"}, more);
  }
  CommandResult run(const Arguments& more) const { return run_graft(arguments(more)); }
  Json json(const Arguments& more) const {
    const CommandResult result = run(joined(more, {"--json"}));
    check_exit(result, 0);
    return json_of(result);
  }
  /// The lines of a file that was written.
  std::vector<Json> lines(const std::string& name) const {
    std::vector<Json> lines;
    std::ifstream file(folder_ / name);
    for (std::string line; std::getline(file, line);)
      lines.push_back(Json::parse(line));
    return lines;
  }
  fs::path operator/(const std::string& name) const { return folder_ / name; }

 private:
  TemporaryFolder folder_;
};

Json golden_evaluation() {
  return Json::parse(content_of(golden("evaluation.json")));
}

const Arguments exact = {"--metric", "exact-match"};
const Arguments choices = {"--metric", "multiple-choice"};

/// What the model says behind the prompt.
std::string answer_of(const std::string& text, const std::string& tokens) {
  return json_of(run_graft({"generate", "--model", data("models/stories260k/hf"), "--raw",
                            "--prompt", text, "--max-new-tokens", tokens, "--json"}))["text"];
}

}  // namespace

TEST_CASE("eval: multiple choice gives lm-eval's log-likelihoods, acc and acc_norm") {
  const Json golden = golden_evaluation();
  for (const Json& one : golden["cases"]) {
    INFO(one["name"].get<std::string>());
    const EvalCase files(one["records"].get<Records>());
    Arguments flags = joined(choices, one["flags"].get<Arguments>());
    if (one["template"].get<bool>()) {
      std::ofstream(files / "chat.jinja") << golden["template"].get<std::string>();
      flags = joined(flags, {"--chat-template", files / "chat.jinja"});
    }
    const Json found = files.json(joined(flags, {"--per-record"}));
    CHECK(found["metric"] == "multiple-choice");
    for (const char* key : {"acc", "acc_stderr", "acc_norm", "acc_norm_stderr"})
      CHECK(found[key].get<double>() == doctest::Approx(one[key].get<double>()));
    const Json& records = found["records"];
    REQUIRE(records.size() == one["records"].size());
    for (size_t i = 0; i < records.size(); ++i) {
      CHECK(records[i]["line"] == i + 1);
      CHECK(records[i]["pick"] == one["pick"][i]);
      CHECK(records[i]["pick_norm"] == one["pick_norm"][i]);
      const auto expected = one["log_likelihoods"][i].get<std::vector<double>>();
      const auto actual = records[i]["log_likelihoods"].get<std::vector<double>>();
      REQUIRE(actual.size() == expected.size());
      for (size_t c = 0; c < expected.size(); ++c)  // f32 against f64
        CHECK(actual[c] == doctest::Approx(expected[c]).epsilon(1e-5));
    }
  }
}

TEST_CASE("eval: multiple choice does not depend on the batch, and writes its records") {
  const Json one = golden_evaluation()["cases"][0];
  const EvalCase files(one["records"].get<Records>());
  const Json small = files.json(joined(choices, {"--batch-size", "1", "--per-record"}));
  const Json large =
      files.json(joined(choices, {"--batch-size", "64", "--out", files / "o.jsonl"}));
  CHECK(small["acc"] == large["acc"]);
  CHECK(large["records"] == one["records"].size());
  const std::vector<Json> lines = files.lines("o.jsonl");
  REQUIRE(lines.size() == one["records"].size());
  CHECK(lines[0]["choices"] == one["records"][0]["choices"]);
  CHECK(lines[3]["gold"] == 0);
  CHECK(lines[3]["correct"] == (lines[3]["pick"] == 0));
  for (size_t i = 0; i < lines.size(); ++i)
    for (size_t c = 0; c < lines[i]["choices"].size(); ++c)
      CHECK(lines[i]["log_likelihoods"][c].get<double>() ==
            doctest::Approx(small["records"][i]["log_likelihoods"][c].get<double>()).epsilon(1e-6));
  const CommandResult shown = files.run(joined(choices, {"--limit", "2"}));
  check_exit(shown, 0);
  check_contains(shown.out, "2 questions with 6 choices, without a chat template");
  check_contains(shown.out, "acc_norm ");
}

TEST_CASE("eval: exact match compares what generate answers with the record's answer") {
  const std::string said = answer_of(prompt, "8"), other = answer_of("Lily and", "8");
  const EvalCase files(Records{asked(prompt, said), asked("Lily and", "  " + other + "\n"),
                               asked(prompt, "something else")});
  const Arguments flags = joined(exact, {"--max-new-tokens", "8"});
  const Json found = files.json(joined(flags, {"--per-record"}));
  CHECK(found["metric"] == "exact-match");
  CHECK(found["exact_match"].get<double>() == doctest::Approx(2.0 / 3));
  CHECK(found["exact_match_stderr"].get<double>() == doctest::Approx(1.0 / 3));
  CHECK(found["correct"] == 2);
  CHECK(found["records"].size() == 3);
  CHECK(found["cut"] == 3);
  for (const char* batch : {"1", "2"})
    CHECK(files.json(joined(flags, {"--per-record", "--batch-size", batch})) == found);
  const Json& last = found["records"][2];
  CHECK(last["line"] == 3);
  CHECK(last["prompt"] == prompt);
  CHECK(last["prediction"] == said);
  CHECK(last["reference"] == "something else");
  CHECK(last["correct"] == false);
  CHECK(last["stop_reason"] == "length");

  const CommandResult shown = files.run(joined(flags, {"--out", files / "o.jsonl"}));
  check_exit(shown, 0);
  check_contains(shown.out, "prompt/completion, 3 records, without a chat template");
  check_contains(shown.out, "exact match 0.6667 ± 0.3333, 2 of 3; 3 answers cut at");
  const std::vector<Json> lines = files.lines("o.jsonl");
  REQUIRE(lines.size() == 3);
  CHECK(lines[1] == found["records"][1]);
}

TEST_CASE("eval: exact match looks for the answer by a pattern, and ignores what it is told to") {
  const std::string said = answer_of(prompt, "8");  // ", there was a little girl …"
  check_contains(said, "there was");
  const EvalCase files(Records{asked(prompt, "It is THERE!"), asked(prompt, "So: There was.")});
  const auto score = [&](const Arguments& more) {
    return files.json(joined(exact, joined({"--max-new-tokens", "8"}, more)))["exact_match"]
        .get<double>();
  };
  CHECK(score({}) == 0);
  CHECK(score({"--answer-pattern", "(?i)there"}) == 0);
  CHECK(score({"--answer-pattern", "(?i)there", "--ignore-case"}) == 1);
  CHECK(score({"--answer-pattern", "(?i)there(?: was)?", "--ignore-case"}) == 0.5);
  CHECK(score({"--answer-pattern", "(?i)(?:there).*", "--ignore-pattern", "(?i) was.*",
               "--ignore-case", "--ignore-punctuation"}) == 1);
  const Json stopped = files.json(joined(exact, {"--stop", " was", "--ignore-punctuation",
                                                 "--answer-pattern", "(?i)there", "--per-record"}));
  CHECK(stopped["records"][0]["stop_reason"] == "stop_string");
  CHECK(stopped["records"][0]["compared"] == "there");
  CHECK(stopped["records"][0]["expected"] == "THERE");
  // An answer without what the pattern looks for is wrong; a reference without it is a fault.
  files.write("data.jsonl", Records{asked(prompt, "#### 42")});
  const Json none = files.json(
      joined(exact, {"--max-new-tokens", "8", "--answer-pattern", "#### (\\d+)", "--per-record"}));
  CHECK(none["unmatched"] == 1);
  CHECK(none["records"][0]["compared"].is_null());
  CHECK(none["exact_match_stderr"].is_null());  // one record
  const CommandResult fault = files.run(joined(exact, {"--answer-pattern", "=> (\\d+)"}));
  check_exit(fault, 3);
  check_contains(fault.err, "data.jsonl:1: the expected answer has nothing that --answer-pattern");
}

TEST_CASE("eval: exact match and the losses of tokens with an adapter and without") {
  const Json soup = asked(prompt, " a robot ate soup.");
  const EvalCase files(Records{soup, asked("Once", " upon a time")});
  files.write("train.jsonl", Records{soup});
  check_exit(run_graft({"train", "--model", data("models/stories260k/hf"), "--data",
                        files / "train.jsonl", "--out", files / "a", "--max-steps", "40",
                        "--learning-rate", "0.005", "--lr-schedule", "linear"}),
             0);
  const Arguments both = {"--adapter", files / "a", "--compare-base"};
  const Arguments first_sentence =
      joined(exact, {"--max-new-tokens", "20", "--stop", ".", "--ignore-punctuation"});
  const CommandResult shown = files.run(joined(first_sentence, joined(both, {"--limit", "1"})));
  check_exit(shown, 0);
  check_contains(shown.out, "exact match 1.0000, 1 of 1");
  check_contains(shown.out, "+1.0000; 1 right with the adapter only, 0 without it only");
  const Json json =
      files.json(joined(first_sentence, joined(both, {"--limit", "1", "--per-record"})));
  CHECK(json["exact_match"] == 1);
  CHECK(json["base"]["exact_match"] == 0);
  CHECK(json["records"][0]["base"]["correct"] == false);
  check_contains(json["records"][0]["base"]["prediction"], "little girl");

  const Json losses = files.json(joined(both, {"--per-record", "--out", files / "o.jsonl"}));
  CHECK(losses["metric"] == "loss");
  double sum = 0, base_sum = 0;
  int64_t count = 0;
  for (const Json& record : losses["records"]) {
    std::string text;
    double of_record = 0;
    for (const Json& token : record["tokens"]) {
      text += token["text"];
      CHECK(token["loss"].is_null() == token["base_loss"].is_null());
      if (token["loss"].is_null())
        continue;
      of_record += token["loss"].get<double>();
      base_sum += token["base_loss"].get<double>();
      ++count;
    }
    sum += of_record;
    CHECK(record["loss"].get<double>() ==
          doctest::Approx(of_record / record["trained_tokens"].get<double>()));
    check_contains(text, "Once upon a time");
    CHECK(record["tokens"][0]["loss"].is_null());
  }
  CHECK(count == losses["tokens"].get<int64_t>());
  CHECK(sum / static_cast<double>(count) == doctest::Approx(losses["loss"].get<double>()));
  CHECK(base_sum / static_cast<double>(count) ==
        doctest::Approx(losses["base"]["loss"].get<double>()));
  CHECK(Json(files.lines("o.jsonl")) == losses["records"]);
}

TEST_CASE("eval: exact match asks through the chat template") {
  const EvalCase files(Records{Json::parse(R"({"messages": [{"role": "user", "content": "Hi"},
                                              {"role": "assistant", "content": "Yes"}]})")});
  std::ofstream(files / "chat.jinja") << golden_evaluation()["template"].get<std::string>();
  const Json found = files.json(joined(
      exact, {"--chat-template", files / "chat.jinja", "--per-record", "--max-new-tokens", "2"}));
  CHECK(found["records"][0]["prompt"] == "<s>user: Hi</s>assistant: ");
  CHECK(found["records"][0]["reference"] == "Yes");
}

TEST_CASE("eval: --limit takes the first samples") {
  const Json first = {{"text", "Once upon a time"}}, second = {{"text", "Lily saw a cat."}};
  const EvalCase files(Records{first, second});
  const Json one = files.json({"--limit", "1"});
  CHECK(one["samples"] == 1);
  files.write("data.jsonl", Records{first});
  CHECK(files.json({}) == one);
  CHECK(files.json({"--limit", "5"}) == one);
}

TEST_CASE("eval: flags of another metric and faulty records are refused") {
  const EvalCase files(Records{asked(prompt, "x"), Json{{"prompt", "y"}}});
  const auto refused = [&](const Arguments& more, int exit_code, const std::string& part) {
    const CommandResult result = files.run(more);
    check_exit(result, exit_code);
    check_contains(result.err, part);
    CHECK(result.out == "");
  };
  refused({"--stop", "x"}, 2, "--stop is for --metric exact-match, and this is --metric loss");
  refused(joined(exact, {"--max-seq-len", "9"}), 2, "is for --metric loss");
  refused(joined(exact, {"--loss-on", "all"}), 2, "is for --metric loss");
  refused(joined(choices, {"--answer-pattern", "x"}), 2, "is for --metric exact-match");
  refused(joined(exact, {"--target-delimiter", ""}), 2, "is for --metric multiple-choice");
  refused({"--per-record"}, 2, "--per-record adds to the object of --json");
  refused({"--metric", "exact_match"}, 2, "exact-match");
  refused({"--out", files / "data.jsonl"}, 2, "is an input");
  refused(joined(exact, {"--answer-pattern", "(x"}), 2, "(x");
  refused(exact, 3, "data.jsonl:2: completion is missing");
  refused(choices, 3, "data.jsonl:1: choices is missing");
  files.write("data.jsonl", Records{Json{{"text", "x"}}});
  refused(exact, 3, "data.jsonl:1: the record has 'text', expected 'prompt'");
  files.write("data.jsonl", Records{Json::parse(R"({"query": "x", "choices": ["a", "b"]})")});
  refused(choices, 3, "data.jsonl:1: the record has 'choices', 'query', expected one of 'answer'");
}
