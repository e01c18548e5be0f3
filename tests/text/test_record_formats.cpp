#include "graft/tests/text/data_case.h"

namespace graft::text {
namespace {

using test::check_contains;

std::string messages(const std::string& list) {
  return "{\"messages\": [" + list + "]}";
}
std::string turn(const std::string& role, const std::string& content,
                 const std::string& more = "") {
  return R"({"role": ")" + role + R"(", "content": ")" + content + "\"" + more + "}";
}
std::string conversation(const std::string& list, const std::string& more = "") {
  return "{" + more + "\"conversations\": [" + list + "]}";
}
std::string said(const std::string& from, const std::string& value, const std::string& more = "") {
  return R"({"from": ")" + from + R"(", "value": ")" + value + "\"" + more + "}";
}

}  // namespace

TEST_CASE("alpaca: instruction and input are the user's turn, the output is learnt") {
  const DataCase data(R"({"instruction": "Add.", "input": "2+2", "output": "4"})"
                      "\n"
                      R"({"instruction": "Hi", "output": "Yo", "input": ""})"
                      "\n"
                      R"({"system": "S", "instruction": "Hi", "output": "Yo"})");
  CHECK(data.masks() ==
        "<s><|user|>Add.\n2+2<|end|>\n<|assistant|>[4<|end|>]\n\n"
        "<s><|user|>Hi<|end|>\n<|assistant|>[Yo<|end|>]\n\n"
        "<s><|system|>S<|end|>\n<|user|>Hi<|end|>\n<|assistant|>[Yo<|end|>]\n\n");
  CHECK(data.read().format == RecordFormat::alpaca);
  CHECK(data.read().loss_on == LossOn::completion);
  CHECK(name_of(RecordFormat::alpaca) == "alpaca");
}

TEST_CASE("alpaca: without a chat template the prompt is Stanford's, eos ends the output") {
  const std::string record = R"({"instruction": "Add.", "input": "2+2", "output": "4"})";
  const std::string expected =
      "<s>Below is an instruction that describes a task, paired with an input that provides "
      "further context. Write a response that appropriately completes the request.\n\n"
      "### Instruction:\nAdd.\n\n### Input:\n2+2\n\n### Response:\n[4</s>]\n";
  CHECK(DataCase(record, "").masks() == expected);
  CHECK(DataCase(record).masks({.raw = true}) == expected);
  CHECK(DataCase(R"({"instruction": "Hi", "output": "Yo"})", "").masks() ==
        "<s>Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\nHi\n\n### Response:\n[Yo</s>]\n");
  CHECK(DataCase(R"({"system": "Rhyme.", "instruction": "Hi", "output": "Yo"})", "").masks() ==
        "<s>Rhyme.\n\n### Instruction:\nHi\n\n### Response:\n[Yo</s>]\n");
}

TEST_CASE("alpaca: earlier turns are part of the prompt, and learnt where all answers are") {
  const std::string record = R"({"instruction": "c", "output": "d", "history": [["a", "b"]]})";
  const DataCase data(record);
  CHECK(
      data.masks() ==
      "<s><|user|>a<|end|>\n<|assistant|>b<|end|>\n<|user|>c<|end|>\n<|assistant|>[d<|end|>]\n\n");
  CHECK(data.masks({.loss_on = LossOn::assistant}) ==
        "<s><|user|>a<|end|>\n<|assistant|>[b<|end|>]\n<|user|>c<|end|>\n<|assistant|>[d<|end|>]"
        "\n\n");
  check_contains(DataCase(record, "").refusal(), "earlier turns need a chat template");
  check_contains(DataCase(R"({"instruction": "c", "output": "d", "history": ["a"]})").refusal(),
                 "data.jsonl:1: history is a list of 1, expected a list of pairs");
  check_contains(DataCase(R"({"instruction": "c", "output": ""})").refusal(),
                 "data.jsonl:1: output is \"\", expected a text with something to learn");
}

TEST_CASE("sharegpt: human and gpt become user and assistant, every answer is learnt") {
  const DataCase data(conversation(said("system", "S") + "," + said("human", "Hi") + "," +
                                   said("gpt", "Yo") + "," + said("user", "So?") + "," +
                                   said("assistant", "No")));
  CHECK(data.masks() ==
        "<s><|system|>S<|end|>\n<|user|>Hi<|end|>\n<|assistant|>[Yo<|end|>]\n<|user|>So?<|end|>\n"
        "<|assistant|>[No<|end|>]\n\n");
  CHECK(data.read().format == RecordFormat::sharegpt);
  CHECK(data.read().loss_on == LossOn::assistant);
  CHECK(data.masks({.loss_on = LossOn::completion}) ==
        "<s><|system|>S<|end|>\n<|user|>Hi<|end|>\n<|assistant|>Yo<|end|>\n<|user|>So?<|end|>\n"
        "<|assistant|>[No<|end|>]\n\n");
}

TEST_CASE("sharegpt: a system text beside the turns, the keys of messages, and tools") {
  CHECK(DataCase(
            conversation(turn("user", "Hi") + "," + turn("assistant", "Yo"), R"("system": "S", )"))
            .masks() == "<s><|system|>S<|end|>\n<|user|>Hi<|end|>\n<|assistant|>[Yo<|end|>]\n\n");
  const std::string calling =
      "{{ bos_token }}{{ tools[0].name if tools }}{% for m in messages %}<|{{ m.role }}|>"
      "{% for call in m.tool_calls or [] %}{{ call.function.name }}{{ call.function.arguments.x }}"
      "{% endfor %}{{ m.content }}<|end|>{% endfor %}"
      "{% if add_generation_prompt %}<|assistant|>{% endif %}";
  const DataCase data(
      conversation(said("human", "2+2") + "," +
                       said("function_call", R"({\"name\": \"f\", \"arguments\": {\"x\": 2}})") +
                       "," + said("observation", "4") + "," + said("gpt", "Four"),
                   R"("tools": "[{\"name\": \"f\"}]", )"),
      calling);
  CHECK(
      data.masks() ==
      "<s>f<|user|>2+2<|end|><|assistant|>[f2<|end|>]<|tool|>4<|end|><|assistant|>[Four<|end|>]\n");
}

TEST_CASE("sharegpt: an unknown speaker, a broken call or tools that are none are refused") {
  check_contains(DataCase(conversation(said("alice", "Hi"))).refusal(),
                 "data.jsonl:1: conversations[0].from is \"alice\", expected human, gpt, system");
  check_contains(DataCase(conversation(said("function_call", "f(2)"))).refusal(),
                 "conversations[0].value is \"f(2)\", expected a call as JSON");
  check_contains(DataCase(conversation(said("gpt", "Hi"), R"("tools": "none", )")).refusal(),
                 "tools is \"none\", expected a list");
  check_contains(DataCase(conversation(said("human", "Hi"))).refusal(),
                 "expected messages with one from the assistant");
  check_contains(DataCase(R"({"conversations": "Hi"})").refusal(), "conversations is \"Hi\"");
  check_contains(DataCase(conversation(said("gpt", "Hi")), "").wrong_setting({}),
                 "no chat template");
}

TEST_CASE("question and answer: as turns, or in lm-eval's words without a template") {
  const std::string record = R"({"question": "2+2?", "answer": "4"})";
  CHECK(DataCase(record).masks() == "<s><|user|>2+2?<|end|>\n<|assistant|>[4<|end|>]\n\n");
  CHECK(DataCase(record, "").masks() == "<s>Question: 2+2?\nAnswer:[ 4</s>]\n");
  CHECK(DataCase(record).read().format == RecordFormat::question_answer);
}

TEST_CASE("messages: train and weight say of each answer whether it is learnt") {
  const auto data = [](const std::string& first, const std::string& second) {
    return DataCase(messages(turn("user", "a") + "," + turn("assistant", "b", first) + "," +
                             turn("user", "c") + "," + turn("assistant", "d", second)));
  };
  const std::string begin = "<s><|user|>a<|end|>\n<|assistant|>";
  CHECK(data(", \"train\": false", "").masks() ==
        begin + "b<|end|>\n<|user|>c<|end|>\n<|assistant|>[d<|end|>]\n\n");
  CHECK(data(", \"weight\": 1", ", \"weight\": 0").masks() ==
        begin + "[b<|end|>]\n<|user|>c<|end|>\n<|assistant|>d<|end|>\n\n");
  CHECK(data("", ", \"train\": true").masks() ==
        begin + "[b<|end|>]\n<|user|>c<|end|>\n<|assistant|>[d<|end|>]\n\n");
  check_contains(data(", \"train\": false", ", \"train\": false").refusal(),
                 "data.jsonl:1: none of the");
  check_contains(data(", \"weight\": 0.5", "").refusal(),
                 "data.jsonl:1: messages[1].weight is 0.5, expected 0 or 1");
  check_contains(data(", \"train\": \"no\"", "").refusal(), "messages[1].train is \"no\"");
  check_contains(data(", \"train\": true, \"weight\": 0", "").refusal(), "what 'train' says");
  check_contains(data(", \"train\": false", "").refusal({.loss_on = LossOn::all}),
                 "data.jsonl:1: a message says that it is not learnt, but --loss-on all");
  check_contains(
      DataCase(messages(turn("user", "a", ", \"train\": true") + "," + turn("assistant", "b")))
          .refusal(),
      "messages[0].train is true, expected false or 0");
}

TEST_CASE("messages: the template does not see the flags") {
  CHECK(DataCase(messages(turn("user", "a", ", \"weight\": 0") + "," +
                          turn("assistant", "b", ", \"train\": true")),
                 "{% for m in messages %}{{ m | tojson }}<|end|>{% endfor %}")
            .masks() ==
        "<s>{\"role\": \"user\", \"content\": \"a\"}<|end|>[{\"role\": \"assistant\", \"content\": "
        "\"b\"}<|end|>]\n");
}

TEST_CASE("columns: keys of other names are taken for those that graft knows") {
  const std::string record = R"({"query": "2+2", "response": "4", "text": "no"})";
  const DataCase data(record);
  CHECK(data.masks({.columns = {{"prompt", "query"}, {"completion", "response"}}}) ==
        "<s><|user|>2+2<|end|>\n<|assistant|>[4<|end|>]\n\n");
  CHECK(DataCase(R"({"story": "abc"})").masks({.columns = {{"text", "story"}}}) ==
        "[<s>abc</s>]\n");
  check_contains(data.wrong_setting({.columns = {{"prompt", "qury"}}}),
                 "--columns prompt=qury given, but the record in");
  check_contains(data.wrong_setting({.columns = {{"prompt", "qury"}}}), "did you mean 'query'?");
  check_contains(data.wrong_setting({.columns = {{"promt", "query"}}}),
                 "'promt', which is none that graft knows (did you mean 'prompt'?)");
}

TEST_CASE("records: one of another kind is refused with its line and both kinds") {
  check_contains(DataCase(R"({"question": "a", "answer": "b"})"
                          "\n\n"
                          R"({"text": "c"})")
                     .refusal(),
                 "data.jsonl:3: the record is no question/answer record as the first one is, but a "
                 "text record");
}

}  // namespace graft::text
