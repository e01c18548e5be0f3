#include <algorithm>
#include <span>

#include "graft/tests/text/data_case.h"
#include "graft/text/prompt_file.h"

namespace graft::text {
namespace {

using test::check_contains;

const std::string turns = R"({"messages": [{"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Yo"}, {"role": "user", "content": "So?"},
    {"role": "assistant", "content": "No", "train": false}]})";

std::string on_one_line(std::string text) {
  std::erase(text, '\n');
  return text;
}

/// A record of each kind that has a question and an answer.
const std::vector<std::string> answered = {
    R"({"prompt": "Hi", "completion": "Yo"})",
    R"({"question": "2+2?", "answer": "4"})",
    R"({"instruction": "Add.", "input": "2+2", "output": "4"})",
    R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]})",
    R"({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yo"}]})",
    R"({"prompt": [{"role": "user", "content": "Hi"}],
        "completion": [{"role": "assistant", "content": "Yo"}]})",
};

PromptFile read(const DataCase& data, const PromptFileOptions& options = {},
                const PrompterOptions& prompter = {}) {
  return read_prompts(data.file(), Prompter(data.tokenizer(), prompter), options);
}

std::string refusal(const std::string& content, const PromptFileOptions& options = {},
                    const PrompterOptions& prompter = {},
                    const std::string& chat_template = turns_template) {
  const DataCase data(content, chat_template);
  return test::message_of<FormatError>([&] { read(data, options, prompter); });
}

}  // namespace

TEST_CASE("prompts: their tokens are those that a training sample of the record begins with") {
  for (const bool raw : {false, true})
    for (const std::string& record : answered) {
      const bool is_conversation =
          record.find("role") != record.npos || record.find("conversations") != record.npos;
      if (raw && is_conversation)
        continue;
      INFO(record, " raw ", raw);
      const DataCase data(on_one_line(record));
      const Prompt prompt = read(data, {.with_reference = true}, {.raw = raw}).prompts.at(0);
      const Sample sample = data.read({.raw = raw}).samples.at(0);
      const auto learnt = std::ranges::find_if(sample.labels, [](auto l) { return l != no_label; });
      CHECK(prompt.ids == std::vector(sample.input_ids.begin(),
                                      sample.input_ids.begin() + (learnt - sample.labels.begin())));
      CHECK(*prompt.reference == (record.find("Yo") != record.npos ? "Yo" : "4"));
      CHECK(prompt.line == 1);
      // The same without its answer.
      CHECK(read(data, {}, {.raw = raw}).prompts.at(0).ids == prompt.ids);
      CHECK_FALSE(read(data, {}, {.raw = raw}).prompts.at(0).reference);
    }
}

TEST_CASE("prompts: they begin the training samples of a real data set, with real tokenizers") {
  const auto file = test::data("text/gsm8k/test.jsonl");
  for (const char* name : {"qwen2.5", "llama3", "tinyllama-chat", "smollm"})
    for (const bool raw : {false, true}) {
      INFO(name, " raw ", raw);
      const Tokenizer tokenizer = Tokenizer::load(test::data(std::string("tokenizers/") + name));
      const PromptFile asked = read_prompts(file, Prompter(tokenizer, {.raw = raw}),
                                            {.with_reference = true, .limit = 40});
      CHECK(asked.prompts.size() == 40);
      DatasetReader samples(file, &tokenizer, {.raw = raw});
      for (const Prompt& prompt : asked.prompts) {
        const Sample sample = *samples.next();
        const auto learnt =
            std::ranges::find_if(sample.labels, [](auto l) { return l != no_label; });
        CHECK(prompt.line == sample.line);
        CHECK(std::ranges::equal(prompt.ids,
                                 std::span(sample.input_ids)
                                     .first(static_cast<size_t>(learnt - sample.labels.begin()))));
      }
    }
}

TEST_CASE("prompts: of messages the last answer is the reference, all before it is asked") {
  const DataCase data(on_one_line(turns) + "\n");
  const Prompt prompt = read(data, {.with_reference = true}).prompts.at(0);
  CHECK(prompt.text ==
        "<s><|user|>Hi<|end|>\n<|assistant|>Yo<|end|>\n<|user|>So?<|end|>\n<|assistant|>");
  CHECK(prompt.asked == "So?");
  CHECK(*prompt.reference == "No");
  CHECK(read(data).format == RecordFormat::messages);
}

TEST_CASE("prompts: a record without an answer is answered, and a conversation that goes on") {
  const DataCase data(R"({"prompt": "Hi"})"
                      "\n\n"
                      R"({"prompt": [{"role": "user", "content": "So?"}]})");
  const std::vector<Prompt> prompts = read(data).prompts;
  REQUIRE(prompts.size() == 2);
  CHECK(prompts[0].text == "<s><|user|>Hi<|end|>\n<|assistant|>");
  CHECK(prompts[1].text == "<s><|user|>So?<|end|>\n<|assistant|>");
  CHECK(prompts[1].line == 3);
  const DataCase goes_on(
      R"({"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]})");
  CHECK(read(goes_on).prompts[0].text ==
        "<s><|assistant|>a<|end|>\n<|user|>b<|end|>\n<|assistant|>");
  CHECK(*read(goes_on, {.with_reference = true}).prompts[0].reference == "a");
}

TEST_CASE("prompts: lines of text, with a system turn, or as they are") {
  const DataCase data("Hi\r\n \nYo\n", turns_template, "p.txt");
  CHECK(read(data).prompts[0].text == "<s><|user|>Hi<|end|>\n<|assistant|>");
  CHECK(read(data).prompts[1].line == 3);
  CHECK_FALSE(read(data).format);
  CHECK(read(data, {}, {.system = "S"}).prompts[1].text ==
        "<s><|system|>S<|end|>\n<|user|>Yo<|end|>\n<|assistant|>");
  const Prompt raw = read(data, {}, {.raw = true}).prompts[0];
  CHECK(raw.text == "Hi");
  CHECK(raw.ids == data.tokenizer().encode_with_prefix("Hi").ids);
  CHECK(read(data, {.limit = 1}).prompts.size() == 1);
  check_contains(test::message_of<ConfigError>([&] { read(data, {.with_reference = true}); }),
                 "p.txt holds no records");
}

TEST_CASE("prompts: a JSON list, and keys of the file's own") {
  const DataCase data(R"([{"q": "Hi", "a": "Yo"}, {"q": "So", "a": "No"}])", turns_template,
                      "p.json");
  const auto prompts =
      read(data, {.with_reference = true, .columns = {{"question", "q"}, {"answer", "a"}}}).prompts;
  REQUIRE(prompts.size() == 2);
  CHECK(prompts[1].asked == "So");
  CHECK(*prompts[1].reference == "No");
}

TEST_CASE("prompts: what cannot be asked or compared is refused with its line") {
  const std::string good = R"({"prompt": "Hi", "completion": "Yo"})"
                           "\n";
  const PromptFileOptions wanted{.with_reference = true};
  check_contains(refusal("\n"), "there is no prompt in it");
  check_contains(refusal(good + R"({"text": "x"})"),
                 "data.jsonl:2: the record has 'text', expected 'prompt', 'messages'");
  check_contains(refusal(good + R"({"question": "x"})"),
                 "data.jsonl:2: the record is no prompt/completion record as the first one is");
  check_contains(refusal(good + R"({"prompt": "x"})", wanted),
                 "data.jsonl:2: completion is missing");
  check_contains(refusal(R"({"question": "x", "answer": 4})", wanted),
                 "data.jsonl:1: answer is 4, expected a text");
  check_contains(refusal(R"({"messages": [{"role": "user", "content": "x"}]})", wanted),
                 "data.jsonl:1: messages is a list of 1, expected messages with one from the "
                 "assistant");
  check_contains(refusal(R"({"prompt": 1})"), "data.jsonl:1: prompt is 1");
  check_contains(refusal(good + "{\"prompt\": \"long\"}", {.positions = 5}),
                 "data.jsonl:1: prompt: it has");
}

TEST_CASE("prompts: what only a chat template can render is refused without one") {
  const std::string record = on_one_line(turns);
  check_contains(refusal(record, {}, {.raw = true}),
                 "data.jsonl:1: prompt: messages records need a chat template");
  check_contains(refusal(record, {}, {}, ""), "need a chat template");
  check_contains(refusal(R"({"messages": [{"role": "system", "content": "a"},)"
                         R"({"role": "user", "content": "b"}]})",
                         {}, {.system = "S"}),
                 "data.jsonl:1: prompt: it has a system turn of its own; leave --system out");
  const DataCase plain("Hi", "", "p.txt");
  check_contains(test::message_of<ConfigError>([&] { read(plain, {}, {.system = "S"}); }),
                 "no chat template, so there can be no --system");
}

}  // namespace graft::text
