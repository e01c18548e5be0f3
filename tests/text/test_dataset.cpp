#include <cstdlib>

#include "graft/io/file.h"
#include "graft/tests/support/test.h"
#include "graft/tests/text/data_case.h"
#include "graft/text/dataset.h"
#include "graft/text/line_reader.h"

namespace graft::text {
namespace {

using Ids = std::vector<int64_t>;
using test::check_contains;

using Case = DataCase;

const std::string two_turns =
    R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"},)"
    R"( {"role": "user", "content": "So?"}, {"role": "assistant", "content": "No"}]})";

std::string prompt_of(size_t size) {
  return R"({"prompt": ")" + std::string(size, 'p') + R"(", "completion": "answer"})" + "\n";
}

}  // namespace

TEST_CASE("data: text is learned whole, with bos before it and eos behind, each once") {
  const Case data("{\"text\": \"abc\"}\n{\"text\": \"<s>d</s>\"}\n");
  CHECK(data.masks() == "[<s>abc</s>]\n[<s>d</s>]\n");
  const Dataset read = data.read();
  CHECK(read.format == RecordFormat::text);
  CHECK(read.loss_on == LossOn::all);
  CHECK_FALSE(read.uses_chat_template);
}

TEST_CASE("data: of messages every answer is learned, with the token that ends it") {
  const Case data(two_turns);
  CHECK(data.masks() ==
        "<s><|user|>Hi<|end|>\n<|assistant|>[Yo<|end|>]\n<|user|>So?<|end|>\n<|assistant|>"
        "[No<|end|>]\n\n");
  CHECK(data.read().format == RecordFormat::messages);
  CHECK(data.read().loss_on == LossOn::assistant);
  CHECK(data.read().stats.without_stop == 0);
}

TEST_CASE("data: --loss-on completion learns the last answer only, all learns everything") {
  const Case data(two_turns);
  CHECK(data.masks({.loss_on = LossOn::completion}) ==
        "<s><|user|>Hi<|end|>\n<|assistant|>Yo<|end|>\n<|user|>So?<|end|>\n<|assistant|>"
        "[No<|end|>]\n\n");
  CHECK(data.masks({.loss_on = LossOn::all}) ==
        "[<s><|user|>Hi<|end|>\n<|assistant|>Yo<|end|>\n<|user|>So?<|end|>\n<|assistant|>"
        "No<|end|>\n]\n");
}

TEST_CASE("data: a prompt goes through the chat template, unless it is asked for raw") {
  const Case data(R"({"prompt": "2+2=", "completion": "4"})");
  CHECK(data.masks() == "<s><|user|>2+2=<|end|>\n<|assistant|>[4<|end|>]\n\n");
  CHECK(data.read().uses_chat_template);
  CHECK(data.read().loss_on == LossOn::completion);
  CHECK(data.masks({.raw = true}) == "<s>2+2=[4</s>]\n");
  CHECK(data.masks({.loss_on = LossOn::all, .raw = true}) == "[<s>2+2=4</s>]\n");
  const Case without_template(R"({"prompt": "2+2=", "completion": "4"})", "");
  CHECK(without_template.masks() == "<s>2+2=[4</s>]\n");
}

TEST_CASE("data: prompt and completion may be lists of messages") {
  const Case data(
      R"({"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},)"
      R"( {"role": "user", "content": "c"}], "completion": [{"role": "assistant", "content": "d"}]})");
  CHECK(
      data.masks() ==
      "<s><|user|>a<|end|>\n<|assistant|>b<|end|>\n<|user|>c<|end|>\n<|assistant|>[d<|end|>]\n\n");
  CHECK(data.masks({.loss_on = LossOn::assistant}) ==
        "<s><|user|>a<|end|>\n<|assistant|>[b<|end|>]\n<|user|>c<|end|>\n<|assistant|>[d<|end|>]"
        "\n\n");
}

TEST_CASE("data: generation blocks decide; the stop token behind one is learned with it") {
  const Case data(two_turns,
                  "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}"
                  "{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}"
                  "{% endif %}<|end|>\n{% endfor %}");
  CHECK(data.masks() ==
        "<s><|user|>Hi<|end|>\n<|assistant|>[Yo<|end|>]\n<|user|>So?<|end|>\n<|assistant|>"
        "[No<|end|>]\n\n");
  CHECK(data.masks({.loss_on = LossOn::completion}) ==
        "<s><|user|>Hi<|end|>\n<|assistant|>Yo<|end|>\n<|user|>So?<|end|>\n<|assistant|>"
        "[No<|end|>]\n\n");
}

TEST_CASE("data: a template that always introduces another answer still shows where they end") {
  const Case data(two_turns,
                  "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
                  "<|assistant|>");
  CHECK(data.masks() ==
        "<s><|user|>Hi<|end|><|assistant|>[Yo<|end|>]<|user|>So?<|end|><|assistant|>"
        "[No<|end|>]<|assistant|>\n");
}

TEST_CASE("data: answers without a stop token are learned as they are, and counted") {
  const Case data(two_turns,
                  "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
                  "{% if add_generation_prompt %}assistant:{% endif %}");
  CHECK(data.masks() == "<s>user: Hi\nassistant:[ Yo\n]user: So?\nassistant:[ No\n]\n");
  CHECK(data.read().stats.without_stop == 1);
}

TEST_CASE("data: a template that rewrites what went before is refused with line and reason") {
  const Case rewrites(two_turns + "\n",
                      "{% for m in messages %}<|{{ m.role }}|>{{ m.content if loop.last else '…' }}"
                      "<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}");
  check_contains(rewrites.refusal(), "data.jsonl:1: ");
  check_contains(rewrites.refusal(), "writes the beginning of the conversation differently");
  check_contains(rewrites.refusal(), "{% generation %}");
  const Case hides(two_turns,
                   "{% for m in messages %}<|{{ m.role }}|>{{ m.content if loop.last or m.role == "
                   "'user' else '' }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>"
                   "{% endif %}");
  check_contains(hides.refusal(), "writes an answer differently once the conversation goes on");
  check_contains(hides.refusal(), "message 2");
  const Case shortens(two_turns,
                      "{% for m in messages %}{{ m.content if loop.last else m.content[:1] }}\n"
                      "{% endfor %}");
  check_contains(shortens.refusal(), "differently");
  const Case no_stops(two_turns,
                      "{% for m in messages %}"
                      "{{ m.content if loop.last or m.role == 'user' else m.content[:1] }}\n"
                      "{% endfor %}");
  check_contains(no_stops.refusal(), "writes an answer differently once the conversation goes on");
}

TEST_CASE("data: where a template takes earlier thoughts away, the last answer can be learnt") {
  // As Qwen 3's does: only an answer behind the last question has thoughts, empty ones too.
  const Case data(two_turns,
                  "{% for m in messages %}<|{{ m.role }}|>{{ '()' if m.role == 'assistant' and "
                  "loop.last }}{{ m.content }}<|end|>\n{% endfor %}"
                  "{% if add_generation_prompt %}<|assistant|>{% endif %}");
  const std::string message = data.refusal();
  check_contains(message, "data.jsonl:1: ");
  check_contains(message, "writes an answer differently once the conversation goes on (message 2)");
  check_contains(message, "--loss-on completion, which learns the last answer only");
  CHECK(data.masks({.loss_on = LossOn::completion}) ==
        "<s><|user|>Hi<|end|>\n<|assistant|>Yo<|end|>\n<|user|>So?<|end|>\n<|assistant|>"
        "[()No<|end|>]\n\n");
}

TEST_CASE(
    "data: answers of which only some are learnt are matched with the blocks of the template") {
  const std::string marked =
      "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|end|>"
      "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}";
  CHECK(Case(two_turns, marked).masks({.loss_on = LossOn::completion}) ==
        "<s>HiYo<|end|>So?[No<|end|>]\n");
  const Case once(two_turns,
                  "{% for m in messages %}{{ m.content }}{% endfor %}"
                  "{% generation %}.<|end|>{% endgeneration %}");
  CHECK(once.masks() == "<s>HiYoSo?No[.<|end|>]\n");
  check_contains(once.refusal({.loss_on = LossOn::completion}),
                 "the chat template marks 1 answers where the record has 2");
}

TEST_CASE("data: thousands of turns are an error, not thousands times thousands of renders") {
  std::string turns;
  for (int turn = 0; turn < 5000; ++turn)
    turns += concat(turn == 0 ? "" : ", ", R"({"role": "user", "content": "a"}, )",
                    R"({"role": "assistant", "content": "b"})");
  const Case data("{\"messages\": [" + turns + "]}");
  check_contains(data.refusal(), "of a conversation of 10000 messages the answers");
  CHECK(data.read({.loss_on = LossOn::completion, .max_seq_len = 1 << 20}).samples.size() == 1);
}

TEST_CASE("data: what a template refuses is reported with the line of the record") {
  const Case data("\n" + two_turns, "{{ raise_exception('no ' + messages[0].role) }}");
  check_contains(data.refusal(), "data.jsonl:2: ");
  check_contains(data.refusal(), "no user");
}

TEST_CASE("data: tools reach the template") {
  const Case data(R"({"tools": [{"name": "f"}], "messages": [{"role": "user", "content": "a"},)"
                  R"( {"role": "assistant", "content": "b"}]})",
                  "{% if tools %}{{ tools[0].name }}{% endif %}" +
                      turns_template.substr(turns_template.find("{% for")));
  CHECK(data.masks() == "<s>f<|user|>a<|end|>\n<|assistant|>[b<|end|>]\n\n");
}

TEST_CASE("data: tokenised records are taken as they are, labels aligned") {
  const Case data(R"({"input_ids": [5, 6, 7], "labels": [-100, 6, 7]})"
                  "\n"
                  R"({"input_ids": [8, 9]})"
                  "\n");
  const Dataset read = read_dataset(data.file(), nullptr);
  CHECK(read.format == RecordFormat::tokens);
  REQUIRE(read.samples.size() == 2);
  CHECK(read.samples[0].input_ids == Ids{5, 6, 7});
  CHECK(read.samples[0].labels == Ids{-100, 6, 7});
  CHECK(read.samples[1].labels == Ids{8, 9});
  CHECK(read.samples[1].line == 2);
  CHECK(read.stats.trained_tokens == 3);  // the first label of a sample is never predicted
}

TEST_CASE("data: byte order mark, CRLF, blank lines and a missing last newline are no faults") {
  const Case data(
      "\xef\xbb\xbf{\"text\": \"a\"}\r\n\r\n   \n{\"text\": \"b\"}\r\n\n{\"text\": \"c\"}");
  const Dataset read = data.read();
  REQUIRE(read.samples.size() == 3);
  CHECK(read.samples[0].line == 1);
  CHECK(read.samples[1].line == 4);
  CHECK(read.samples[2].line == 6);
}

TEST_CASE("data: samples are cut to the limit, and counted") {
  const Case data(prompt_of(3) + prompt_of(9));
  const DatasetOptions options{.max_seq_len = 16, .raw = true};
  CHECK(data.masks(options) == "<s>ppp[answer</s>]\n<s>ppppppppp[answer]\n");
  const DatasetStats stats = data.read(options).stats;
  CHECK(stats.records == 2);
  CHECK(stats.samples == 2);
  CHECK(stats.tokens == 11 + 16);
  CHECK(stats.trained_tokens == 7 + 6);
  CHECK(stats.cut_samples == 1);
  CHECK(stats.cut_tokens == 1);
  CHECK(stats.longest == 17);
  CHECK(stats.dropped() == 0);
}

TEST_CASE("data: a sample whose answer stands behind the cut is dropped and counted") {
  const Case data(prompt_of(3) + prompt_of(40));
  const DatasetOptions options{.max_seq_len = 20, .raw = true};
  CHECK(data.masks(options) == "<s>ppp[answer</s>]\n");
  const DatasetStats stats = data.read(options).stats;
  CHECK(stats.records == 2);
  CHECK(stats.samples == 1);
  CHECK(stats.tokens == 11);
  CHECK(stats.cut_samples == 0);
  CHECK(stats.dropped_unlearnable == 1);
  CHECK(stats.dropped_tokens == 48);
  CHECK(stats.dropped() == 1);
}

TEST_CASE("data: --overlong drop leaves longer samples out, all of them is an error") {
  const Case data(prompt_of(3) + prompt_of(9));
  DatasetOptions options{.max_seq_len = 16, .overlong = Overlong::drop, .raw = true};
  CHECK(data.masks(options) == "<s>ppp[answer</s>]\n");
  const DatasetStats stats = data.read(options).stats;
  CHECK(stats.dropped_long == 1);
  CHECK(stats.dropped_tokens == 17);
  CHECK(stats.cut_samples == 0);
  CHECK(stats.longest == 17);
  options.max_seq_len = 8;
  check_contains(data.refusal(options),
                 "data.jsonl: nothing is left of 2 records: with 17 tokens at most, they are too "
                 "long for 8; use a larger --max-seq-len");
}

TEST_CASE("data: --overlong split makes pieces that share one token, each label learnt once") {
  const Case data(prompt_of(9) + prompt_of(3));
  const DatasetOptions options{.max_seq_len = 6, .overlong = Overlong::split, .raw = true};
  // <s>ppppp|pppp[answe|r</s>], each piece beginning with the last token of the one before.
  CHECK(data.masks(options) == "ppppp[a]\n[answer]\n[r</s>]\n<s>ppp[an]\n[nswer</s>]\n");
  const Dataset read = data.read(options);
  CHECK(read.samples[1].line == 1);
  CHECK(read.stats.trained_tokens == 7 + 7);
  CHECK(read.stats.split_records == 2);
  CHECK(read.stats.dropped_pieces == 1);
  CHECK(read.stats.dropped_tokens == 6);
}

TEST_CASE("data: a sample with nothing to learn is an error that says how to fix it") {
  check_contains(Case(R"({"input_ids": [1, 2], "labels": [1, -100]})").refusal(),
                 "data.jsonl:1: none of the 2 tokens carries loss");
  check_contains(Case(R"({"input_ids": []})").refusal(), "none of the 0 tokens");
  check_contains(Case(R"({"text": ""})").refusal(), "data.jsonl:1: text is \"\", expected a text");
  check_contains(Case(R"({"prompt": "a", "completion": ""})").refusal(), "completion is \"\"");
  check_contains(Case(R"({"messages": [{"role": "user", "content": "a"}]})").refusal(),
                 "data.jsonl:1: messages is a list of 1, expected messages with one from the");
}

TEST_CASE("data: a broken line is an error with its number") {
  const std::string good = "{\"text\": \"a\"}\n";
  check_contains(Case(good + good + "{\"text\": \"b\"\n").refusal(),
                 "data.jsonl:3: the line ends inside of its JSON value; a record stands on a line");
  check_contains(Case("{\n  \"text\": \"a\"\n}\n").refusal(), "data.jsonl:1: the line ends inside");
  check_contains(Case(good + "{\"text\": b}\n").refusal(),
                 "data.jsonl:2: at byte 9: not valid JSON");
  check_contains(Case(good + "{\"text\": \"b\xff\"}\n").refusal(), "data.jsonl:2: at byte");
  check_contains(Case(good + "{\"text\": \"a\", \"text\": \"b\"}\n").refusal(), "twice");
  check_contains(Case(good + "[1]\n").refusal(), "data.jsonl:2: the line is JSON, but no object");
  check_contains(Case(good + "{\"text\": 5}\n").refusal(),
                 "data.jsonl:2: text is 5, expected a text");
  check_contains(Case(good + two_turns).refusal(), "data.jsonl:2: the record is no text record");
  check_contains(Case("{\"instruction\": \"a\", \"out\": \"b\"}").refusal(),
                 "data.jsonl:1: the record has 'instruction', 'out', expected 'text'");
  check_contains(Case("{\"prompt\": \"a\", \"chosen\": \"b\"}").refusal(),
                 "--columns completion=chosen");
  check_contains(Case("").refusal(), "the file has no records");
  check_contains(Case("\n \n").refusal(), "the file has no records");
  check_contains(Case(R"({"messages": [{"role": "user"}]})").refusal(),
                 "messages[0].content is missing, expected a text");
  check_contains(Case(R"({"messages": [{"content": "a"}]})").refusal(),
                 "messages[0].role is missing, expected a text");
  check_contains(Case(R"({"messages": "hello"})").refusal(), "messages is \"hello\"");
}

TEST_CASE("data: labels and ids are checked") {
  check_contains(Case(R"({"input_ids": [1, 2], "labels": [1]})").refusal(),
                 "labels has 1 elements for 2 input_ids");
  check_contains(Case(R"({"input_ids": [1, 2], "labels": [1, -5]})").refusal(), "labels[1] is -5");
  check_contains(Case(R"({"input_ids": [1, 5000]})").refusal(), "input_ids[1] is 5000");
  check_contains(Case(R"({"input_ids": [1, 50]})").refusal({.vocab_size = 50}),
                 "input_ids[1] is 50, expected an integer from 0 to 49");
  check_contains(Case(R"({"input_ids": [1, 2.5]})").refusal(), "input_ids[1] is 2.5");
}

TEST_CASE("data: settings that do not go with the records are refused") {
  const Case text("{\"text\": \"a\"}");
  check_contains(text.wrong_setting({.loss_on = LossOn::assistant}),
                 "text records, for which there is no --loss-on assistant");
  check_contains(Case(R"({"input_ids": [1, 2]})").wrong_setting({.loss_on = LossOn::all}),
                 "their labels say it");
  check_contains(Case(two_turns, "").wrong_setting({}), "has no chat template 'default'");
  const std::string message =
      test::message_of<ConfigError>([&] { read_dataset(text.file(), nullptr); });
  check_contains(message, "need a tokenizer");
  CHECK_THROWS_AS(read_dataset("/does/not/exist.jsonl", nullptr), IoError);
}

TEST_CASE("data: a token that reaches over the border of an answer belongs to it") {
  const Tokenizer tokenizer = Tokenizer::load(test::data("tokenizers/gpt2"));
  test::TemporaryFolder folder;
  write_text(folder / "data.jsonl", R"({"prompt": "The capital is Par", "completion": "is."})");
  const Dataset read = read_dataset(folder / "data.jsonl", &tokenizer);
  CHECK(masked_text(tokenizer, read.samples[0]) == "TheĠcapitalĠis[ĠParis.]");
}

TEST_CASE("data: masks with the templates of real models") {
  const auto mask = [](const std::filesystem::path& model) {
    const Tokenizer tokenizer = Tokenizer::load(model);
    const test::TemporaryFolder folder;
    write_text(folder / "data.jsonl", two_turns);
    const Dataset read = read_dataset(folder / "data.jsonl", &tokenizer);
    CHECK(read.stats.without_stop == 0);
    return masked_text(tokenizer, read.samples[0]);
  };
  SUBCASE("TinyLlama, whose template has no bos") {
    const std::string masked = mask(test::data("tokenizers/tinyllama-chat"));
    CHECK(masked ==
          "<s>▁<|user|><0x0A>Hi</s>▁<0x0A><|assistant|><0x0A>[Yo</s>]"
          "▁<0x0A><|user|><0x0A>So?</s>▁<0x0A><|assistant|><0x0A>[No</s>]▁<0x0A>");
  }
  SUBCASE("Llama 3, whose template always introduces an answer") {
    const std::string masked = mask(test::data("tokenizers/llama3"));
    CHECK(masked ==
          "<|begin_of_text|><|start_header_id|>user<|end_header_id|>ĊĊHi<|eot_id|>"
          "<|start_header_id|>assistant<|end_header_id|>ĊĊ[Yo<|eot_id|>]"
          "<|start_header_id|>user<|end_header_id|>ĊĊSo?<|eot_id|>"
          "<|start_header_id|>assistant<|end_header_id|>ĊĊ[No<|eot_id|>]"
          "<|start_header_id|>assistant<|end_header_id|>ĊĊ");
  }
  SUBCASE("SmolLM2, whose template puts a system message in front") {
    const char* file = std::getenv("GRAFT_SMOLLM2_GGUF");
    if (file == nullptr || *file == '\0')
      test::skip("GRAFT_SMOLLM2_GGUF is not set");
    CHECK(mask(file) ==
          "<|im_start|>systemĊYouĠareĠaĠhelpfulĠAIĠassistantĠnamedĠSmolLM,ĠtrainedĠbyĠHuggingĠFace"
          "<|im_end|>Ċ<|im_start|>userĊHi<|im_end|>Ċ<|im_start|>assistantĊ[Yo<|im_end|>]Ċ"
          "<|im_start|>userĊSo?<|im_end|>Ċ<|im_start|>assistantĊ[No<|im_end|>]Ċ");
  }
}

TEST_CASE("lines: read whole whatever the size of the pieces the file is read in") {
  test::TemporaryFolder folder;
  const std::string longest(700'000, 'x');
  write_text(folder / "lines",
             "\xef\xbb\xbf"
             "a\n" +
                 longest + "\r\n\nlast");
  LineReader reader(folder / "lines");
  CHECK(reader.next() == "a");
  CHECK(reader.next() == longest);
  CHECK(reader.line() == 2);
  CHECK(reader.next() == "");
  CHECK(reader.next() == "last");
  CHECK(reader.line() == 4);
  CHECK_FALSE(reader.next());
}

}  // namespace graft::text
