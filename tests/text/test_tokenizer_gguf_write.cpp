// Tokenizers as GGUF metadata: what is read of them gives the same ids for the same texts.
#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/tests/support/test.h"
#include "graft/text/tokenizer.h"
#include "graft/text/tokenizer_gguf_write.h"

namespace graft::text {
namespace {

using test::check_contains, test::message_of, test::TemporaryFolder;

/// The tokenizer that is read of what is written, and what was said to be lost.
std::pair<Tokenizer, std::vector<std::string>> again(const Tokenizer& tokenizer,
                                                     int64_t vocab_size) {
  const TemporaryFolder scratch;
  io::GgufValues values;
  values.add_text("general.architecture", "llama");
  std::vector<std::string> lost = add_gguf_tokenizer(values, tokenizer, vocab_size);
  io::write_file_atomically(scratch / "vocabulary.gguf",
                            [&](io::FileWriter& out) { io::write_gguf(out, values, {}); });
  return {Tokenizer::load(scratch / "vocabulary.gguf"), std::move(lost)};
}

constexpr const char* texts[] = {
    "",
    " ",
    "  two  spaces and\n\n\ttabs ",
    "It's 12345 o'clock, ISN'T it? 3.14e-10 I'LL",
    "naïve café, größe, 模型, 한국어, 🙂👍🏽, e\u0301 \u1e9b\u0323",
    "def f(x):\r\n    return x**2  # done\n",
    "<s>[INST] hi </s> <|im_start|>user\nhi<|im_end|> <|endoftext|> <|eot_id|>"};

void check_same(const Tokenizer& given, const Tokenizer& expected) {
  for (const char* text : texts) {
    CAPTURE(text);
    const std::vector<int64_t> ids = expected.encode(text);
    CHECK(given.encode(text) == ids);
    CHECK(given.decode(ids) == expected.decode(ids));
    CHECK(given.decode(ids, true) == expected.decode(ids, true));
  }
  CHECK(given.prefix_ids() == expected.prefix_ids());
  CHECK(given.suffix_ids() == expected.suffix_ids());
  CHECK(given.bos_id() == expected.bos_id());
  CHECK(given.eos_id() == expected.eos_id());
  CHECK(given.pad_id() == expected.pad_id());
  CHECK(given.stop_ids() == expected.stop_ids());
  CHECK(given.chat_templates() == expected.chat_templates());
}

io::Json tokenizer_json(const std::filesystem::path& folder) {
  return io::read_json_file(folder / "tokenizer.json", {.max_bytes = 64 << 20});
}

/// The message of the refusal of a tokenizer.json.
std::string refusal(const io::Json& json, int64_t vocab_size) {
  const TemporaryFolder scratch;
  std::ofstream(scratch / "tokenizer.json") << io::to_text(json, -1);
  const Tokenizer tokenizer = Tokenizer::load(scratch.path());
  return message_of<ConfigError>([&] { again(tokenizer, vocab_size); });
}

}  // namespace

TEST_CASE("add_gguf_tokenizer: real tokenizers are read again as they were") {
  for (const char* name : {"gpt2", "smollm", "llama3", "qwen2.5", "tinyllama-chat"}) {
    CAPTURE(name);
    const Tokenizer tokenizer = Tokenizer::load(test::data(std::string("tokenizers/") + name));
    const auto [read, lost] = again(tokenizer, tokenizer.vocab_size());
    CHECK(lost.empty());
    check_same(read, tokenizer);
    const auto [twice, nothing] = again(tokenizer, tokenizer.vocab_size());
    check_same(twice, tokenizer);
  }
}

TEST_CASE("add_gguf_tokenizer: ids beyond the tokenizer's are unused, fewer are refused") {
  const Tokenizer tokenizer = Tokenizer::load(test::data("models/stories260k/hf"));
  const auto [read, lost] = again(tokenizer, 600);
  CHECK(read.vocab_size() == 600);
  CHECK(read.token(599) == "[PAD599]");
  check_same(read, tokenizer);
  check_contains(message_of<ConfigError>([&] { again(tokenizer, 500); }),
                 "and the model has 500 of them");
}

TEST_CASE("add_gguf_tokenizer: tokenizers that the format has no words for are refused") {
  const auto folder = test::data("models/stories260k/hf");
  const int64_t size = 512;
  io::Json json = tokenizer_json(folder);
  json["model"]["merges"].erase(0);
  check_contains(refusal(json, size), "its merges do not follow from a score for each token");
  json = tokenizer_json(folder);
  json["normalizer"] = {{"type", "Lowercase"}};
  check_contains(refusal(json, size), "its normalizer has {\"type\":\"Lowercase\"}");
  json = tokenizer_json(folder);
  json["normalizer"] = nullptr;
  check_contains(refusal(json, size), "it puts no ▁ for spaces");
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  json["model"]["byte_fallback"] = false;
  json["normalizer"] = {{"type", "Lowercase"}};
  check_contains(refusal(json, size), "its normalizer is {\"type\":\"Lowercase\"}");
  json["normalizer"] = {{"type", "NFC"}};
  json["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers", io::Json::array({{{"type", "Digits"}, {"individual_digits", true}},
                                         {{"type", "ByteLevel"}, {"add_prefix_space", false}}})}};
  check_contains(refusal(json, size), "it cuts its text as starcoder, but has the normal form NFC");
}

TEST_CASE("add_gguf_tokenizer: what the format passes over is said") {
  const auto folder = test::data("models/stories260k/hf");
  io::Json json = tokenizer_json(folder);
  const TemporaryFolder scratch;
  json["added_tokens"][0]["rstrip"] = true;
  std::filesystem::copy(folder / "tokenizer_config.json", scratch / "tokenizer_config.json");
  std::ofstream(scratch / "tokenizer.json") << io::to_text(json, -1);
  const auto [read, lost] = again(Tokenizer::load(scratch.path()), 512);
  REQUIRE(lost.size() == 1);
  check_contains(lost[0], "1 added tokens take the white space beside them");
}

}  // namespace graft::text
