// Which tokens are learnt, on the tokenizers and templates of real models. The ids are those of
// transformers' tokenizers for the same text; where the loss stands was marked by hand. Each case
// stands for a fault that other trainers have had.

#include <algorithm>

#include "graft/tests/text/data_case.h"

namespace graft::text {
namespace {

using Ids = std::vector<int64_t>;

Dataset read_line(const Tokenizer& tokenizer, const std::string& line,
                  const DatasetOptions& options = {}) {
  const test::TemporaryFolder folder;
  write_text(folder / "data.jsonl", line);
  return read_dataset(folder / "data.jsonl", &tokenizer, options);
}

/// The labels that learn tokens [begin, end) of each pair and no others.
Ids labels_of(const Ids& ids, const std::vector<std::pair<size_t, size_t>>& learnt) {
  Ids labels(ids.size(), no_label);
  for (const auto& [begin, end] : learnt)
    std::copy(ids.begin() + static_cast<std::ptrdiff_t>(begin),
              ids.begin() + static_cast<std::ptrdiff_t>(end),
              labels.begin() + static_cast<std::ptrdiff_t>(begin));
  return labels;
}

const std::string two_turns =
    R"({"messages": [{"role": "user", "content": "What is 2+2?"},)"
    R"( {"role": "assistant", "content": "It is 4."}, {"role": "user", "content": "Sure?"},)"
    R"( {"role": "assistant", "content": "Yes."}]})";

}  // namespace

TEST_CASE("masks: Llama 3's turns, token for token") {
  const Tokenizer tokenizer = Tokenizer::load(test::data("tokenizers/llama3"));
  const Ids ids = {128000, 128006, 882,    128007, 271,    3923,   374,    220,    17,
                   10,     17,     30,     128009, 128006, 78191,  128007, 271,    2181,
                   374,    220,    19,     13,     128009, 128006, 882,    128007, 271,
                   40914,  30,     128009, 128006, 78191,  128007, 271,    9642,   13,
                   128009, 128006, 78191,  128007, 271};
  const Sample sample = read_line(tokenizer, two_turns).samples[0];
  CHECK(sample.input_ids == ids);
  // "It is 4.<|eot_id|>" and "Yes.<|eot_id|>", neither the headers nor the answer that is
  // introduced behind them.
  CHECK(sample.labels == labels_of(ids, {{17, 23}, {34, 37}}));
  const Sample last = read_line(tokenizer, two_turns, {.loss_on = LossOn::completion}).samples[0];
  CHECK(last.input_ids == ids);
  CHECK(last.labels == labels_of(ids, {{34, 37}}));
  CHECK(read_line(tokenizer, two_turns, {.loss_on = LossOn::all}).samples[0].labels == ids);
}

TEST_CASE("masks: Qwen 2.5's turns, token for token, with its own system message in front") {
  const Tokenizer tokenizer = Tokenizer::load(test::data("tokenizers/qwen2.5"));
  const Ids ids = {151644, 8948,   198, 2610,   525,   1207,   16948, 11,    3465,   553,
                   54364,  14817,  13,  1446,   525,   264,    10950, 17847, 13,     151645,
                   198,    151644, 872, 198,    3838,  374,    220,   17,    10,     17,
                   30,     151645, 198, 151644, 77091, 198,    2132,  374,   220,    19,
                   13,     151645, 198, 151644, 872,   198,    39814, 30,    151645, 198,
                   151644, 77091,  198, 9454,   13,    151645, 198};
  const Sample sample = read_line(tokenizer, two_turns).samples[0];
  CHECK(sample.input_ids == ids);
  // The line break behind <|im_end|> is the template's, not the model's.
  CHECK(sample.labels == labels_of(ids, {{36, 42}, {53, 56}}));
}

TEST_CASE("masks: sharegpt, alpaca and question/answer give what the same messages give") {
  const Tokenizer tokenizer = Tokenizer::load(test::data("tokenizers/llama3"));
  const Sample expected =
      read_line(tokenizer, R"({"messages": [{"role": "user", "content": "What is 2+2?"},)"
                           R"( {"role": "assistant", "content": "It is 4."}]})")
          .samples[0];
  for (const char* line : {R"({"conversations": [{"from": "human", "value": "What is 2+2?"},)"
                           R"( {"from": "gpt", "value": "It is 4."}]})",
                           R"({"instruction": "What is 2+2?", "input": "", "output": "It is 4."})",
                           R"({"question": "What is 2+2?", "answer": "It is 4."})",
                           R"({"prompt": "What is 2+2?", "completion": "It is 4."})"}) {
    CAPTURE(line);
    const Sample sample = read_line(tokenizer, line).samples[0];
    CHECK(sample.input_ids == expected.input_ids);
    CHECK(sample.labels == expected.labels);
  }
}

TEST_CASE("masks: prompt and answer are tokenised as one text, the border falls where it falls") {
  // Apart, "Par" and "is." would be other tokens than any model has seen at that place.
  const Tokenizer tokenizer = Tokenizer::load(test::data("tokenizers/llama3"));
  const Ids ids = {791, 6864, 374, 12366, 13, 128001};  // The capital is Paris.
  const Sample sample =
      read_line(tokenizer, R"({"prompt": "The capital is Par", "completion": "is."})",
                {.raw = true})
          .samples[0];
  CHECK(sample.input_ids == ids);
  CHECK(sample.labels == labels_of(ids, {{3, 6}}));
}

TEST_CASE("masks: the token that ends an answer is learnt, or the model never stops") {
  for (const char* model :
       {"tokenizers/llama3", "tokenizers/qwen2.5", "tokenizers/tinyllama-chat"}) {
    CAPTURE(model);
    const Tokenizer tokenizer = Tokenizer::load(test::data(model));
    const Dataset read = read_line(tokenizer, two_turns);
    CHECK(read.stats.without_stop == 0);
    int64_t stops = 0;
    for (const int64_t label : read.samples[0].labels)
      stops += std::ranges::binary_search(tokenizer.stop_ids(), label);
    CHECK(stops == 2);
  }
}

TEST_CASE(
    "masks: bos stands once, whether the template writes it, the tokenizer adds it, or both") {
  const auto count = [](const Tokenizer& tokenizer, const std::string& line) {
    return std::ranges::count(read_line(tokenizer, line).samples[0].input_ids,
                              tokenizer.bos_id().value());
  };
  // Its template writes it; its tokenizer.json adds none to a plain text, as in transformers.
  const Tokenizer llama3 = Tokenizer::load(test::data("tokenizers/llama3"));
  CHECK(count(llama3, two_turns) == 1);
  CHECK(count(llama3, R"({"text": "<|begin_of_text|>abc"})") == 1);
  // Its template writes none, its tokenizer adds one.
  const Tokenizer tinyllama = Tokenizer::load(test::data("tokenizers/tinyllama-chat"));
  CHECK(count(tinyllama, two_turns) == 1);
  CHECK(count(tinyllama, R"({"text": "abc"})") == 1);
  CHECK(count(tinyllama, R"({"text": "<s>abc"})") == 1);
  CHECK(count(tinyllama, R"({"question": "a", "answer": "b"})") == 1);
}

TEST_CASE("masks: eos stands once behind a text that ends with it, and is learnt inside one") {
  const Tokenizer tokenizer = Tokenizer::load(test::data("tokenizers/llama3"));
  const int64_t eos = tokenizer.eos_id().value();
  const Sample sample =
      read_line(tokenizer, R"({"text": "a<|end_of_text|>b<|end_of_text|>"})").samples[0];
  CHECK(std::ranges::count(sample.input_ids, eos) == 2);
  CHECK(sample.labels == sample.input_ids);  // whatever id pads, labels are masked by place
}

TEST_CASE("masks: question and answer without a template, token for token") {
  const Tokenizer tokenizer = Tokenizer::load(test::data("tokenizers/gpt2"));
  const Ids ids = {24361, 25, 362, 10, 17, 30, 198, 33706, 25, 604};  // as transformers has them
  const Sample sample = read_line(tokenizer, R"({"question": "2+2?", "answer": "4"})").samples[0];
  const auto size = static_cast<std::ptrdiff_t>(ids.size());
  REQUIRE(std::ssize(sample.input_ids) >= size);
  CHECK(Ids(sample.input_ids.begin(), sample.input_ids.begin() + size) == ids);
  CHECK(Ids(sample.labels.begin(), sample.labels.begin() + 9) == Ids(9, no_label));
  CHECK(sample.labels[9] == 604);
}

}  // namespace graft::text
