#include "graft/tests/text/data_case.h"
#include "graft/text/choice_file.h"

namespace graft::text {
namespace {

using test::check_contains;

ChoiceFile read(const DataCase& data, const ChoiceFileOptions& options = {}, bool raw = false) {
  return read_choices(data.file(), data.tokenizer(), Prompter(data.tokenizer(), {.raw = raw}),
                      options);
}

/// The samples as masked texts.
std::vector<std::string> masks(const DataCase& data, const ChoiceFileOptions& options = {},
                               bool raw = false) {
  std::vector<std::string> result;
  for (const Sample& sample : read(data, options, raw).samples)
    result.push_back(masked_text(data.tokenizer(), sample));
  return result;
}

using Masks = std::vector<std::string>;

/// Which choice a record calls right.
size_t gold(const std::string& choices, const std::string& answer) {
  const DataCase data(R"({"question": "q", "choices": )" + choices + ", " + answer + "}");
  return read(data).questions.at(0).gold;
}

std::string refusal(const std::string& record) {
  const DataCase data(record, "");
  return test::message_of<FormatError>([&] { read(data); });
}

}  // namespace

TEST_CASE("choices: a choice follows its context behind a space, and alone has labels") {
  const std::string rest = R"("choices": ["a", "b c"], "answer": 0})";
  for (const char* key : {"prompt", "query", "context"}) {
    const DataCase data("{\"" + std::string(key) + R"(": "Q:", )" + rest);
    CHECK(masks(data, {}, true) == Masks{"<s>Q:[ a]", "<s>Q:[ b c]"});
    CHECK(masks(data, {.delimiter = ""}, true) == Masks{"<s>Q:[a]", "<s>Q:[b c]"});
  }
  const DataCase question(R"({"question": "Q?", )" + rest);
  CHECK(masks(question, {}, true) ==
        Masks{"<s>Question: Q?\nAnswer:[ a]", "<s>Question: Q?\nAnswer:[ b c]"});
  const ChoiceFile file = read(question, {}, true);
  CHECK(file.questions[0].context == "Question: Q?\nAnswer:");
  CHECK(file.questions[0].choices == std::vector<std::string>{"a", "b c"});
  CHECK(file.samples[1].line == 1);
}

TEST_CASE("choices: behind a chat template there is nothing between") {
  const std::string rest = R"("choices": ["a", "b"], "answer": 0})";
  const Masks expected = {"<s><|user|>Q<|end|>\n<|assistant|>[a]",
                          "<s><|user|>Q<|end|>\n<|assistant|>[b]"};
  CHECK(masks(DataCase(R"({"question": "Q", )" + rest)) == expected);
  CHECK(masks(DataCase(R"({"query": "Q", )" + rest)) == expected);
  CHECK(masks(DataCase(R"({"messages": [{"role": "user", "content": "Q"}], )" + rest)) == expected);
  CHECK(masks(DataCase(R"({"question": "Q", )" + rest), {.delimiter = "-"})[0] ==
        "<s><|user|>Q<|end|>\n<|assistant|>[-a]");
}

TEST_CASE("choices: blanks at the end of the context belong to the choice") {
  const DataCase data(R"({"context": "Q: \n", "choices": ["a", "b"], "answer": 0})", "");
  CHECK(masks(data)[0] == "<s>Q:[ \n a]");
  const Sample sample = continuation_sample(data.tokenizer(), "", " a");
  CHECK(masked_text(data.tokenizer(), sample) == "<s>[ a]");
  check_contains(
      test::message_of<ConfigError>([&] { continuation_sample(data.tokenizer(), "x", ""); }),
      "has no token of its own");
}

TEST_CASE("choices: the right one by its number, letter, label or text") {
  const std::string two = R"(["red", "blue"])";
  CHECK(gold(two, R"("answer": 1)") == 1);
  CHECK(gold(two, R"("gold": 1)") == 1);
  CHECK(gold(two, R"("label": 1)") == 1);
  CHECK(gold(two, R"("label": "1")") == 1);  // as HellaSwag has it
  CHECK(gold(two, R"("answer": "B")") == 1);
  CHECK(gold(two, R"("answer": "b")") == 1);
  CHECK(gold(two, R"("answer": "blue")") == 1);
  // As ARC has it: numbers are labels there.
  const std::string labelled = R"({"text": ["red", "blue"], "label": ["1", "2"]})";
  CHECK(gold(labelled, R"("answerKey": "2")") == 1);
  CHECK(gold(R"({"text": ["red", "blue"], "label": ["A", "B"]})", R"("answerKey": "B")") == 1);
  CHECK(gold(R"(["4", "2"])", R"("answer": "4")") == 0);  // there is no choice 4
}

TEST_CASE("choices: what is missing or may mean two things is refused with its line") {
  const std::string q = R"({"question": "q", )";
  check_contains(refusal(""), "the file has no records");
  check_contains(refusal(q + R"("choices": ["a", "b"]})"),
                 "data.jsonl:1: the record has 'question', 'choices', expected one of 'answer', "
                 "'gold', 'label', 'answerKey' as the right choice");
  check_contains(refusal(R"({"choices": ["a", "b"], "answer": 0})"),
                 "expected one of 'question', 'query', 'prompt', 'context', 'messages'");
  check_contains(refusal(q + R"("context": "c", "choices": ["a", "b"], "answer": 0})"),
                 "data.jsonl:1: the record has all of 'question', 'context'");
  check_contains(refusal(q + R"("answer": 0})"), "choices is missing");
  check_contains(refusal(q + R"("choices": ["a"], "answer": 0})"), "expected at least two");
  check_contains(refusal(q + R"("choices": ["a", ""], "answer": 0})"), "not empty");
  check_contains(refusal(q + R"("choices": ["a", 2], "answer": 0})"), "choices[1] is 2");
  check_contains(refusal(q + R"("choices": ["a", "b"], "answer": 2})"),
                 "data.jsonl:1: answer is 2");
  check_contains(refusal(q + R"("choices": ["a", "b"], "answer": "C"})"),
                 "answer is \"C\", expected the number of a choice from 0 to 1, its letter");
  check_contains(refusal(q + R"("choices": ["1", "2", "3"], "answer": "2"})"),
                 "it may mean number 1 or 2 (from 0)");
  check_contains(refusal(q + R"("choices": {"text": ["a", "b"], "label": ["A"]}, "answer": 0})"),
                 "expected as many as there are texts, 2");
}

TEST_CASE("choices: --columns and --limit") {
  const DataCase data(R"({"ctx": "Q", "endings": ["a", "b"], "label": "0"})"
                      "\n"
                      R"({"ctx": "R", "endings": ["c", "d"], "label": "1"})",
                      "");
  const ChoiceFileOptions options{.columns = {{"context", "ctx"}, {"choices", "endings"}}};
  CHECK(masks(data, options) == Masks{"<s>Q[ a]", "<s>Q[ b]", "<s>R[ c]", "<s>R[ d]"});
  CHECK(read(data, options).questions[1].first == 2);
  ChoiceFileOptions one = options;
  one.limit = 1;
  CHECK(read(data, one).questions.size() == 1);
  check_contains(test::message_of<ConfigError>([&] {
                   read(data, {.columns = {{"context", "ctx"}, {"chocies", "endings"}}});
                 }),
                 "'chocies', which is none that graft knows (did you mean 'choices'?)");
}

}  // namespace graft::text
