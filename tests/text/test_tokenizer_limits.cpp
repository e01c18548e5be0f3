// Time and memory on long texts and with hostile files.
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "graft/io/file.h"
#include "graft/io/json.h"
#include "graft/tests/support/test.h"
#include "graft/text/stream_decoder.h"
#include "graft/text/tokenizer.h"
#include "graft/text/unicode.h"
#include "graft/text/vocabulary.h"

namespace graft::text {
namespace {

using io::Json;
using Ids = std::vector<int64_t>;
using test::check_contains;
using test::TemporaryFolder;

std::string repeated(std::string_view unit, size_t bytes) {
  std::string text;
  while (text.size() < bytes)
    text += unit;
  return text;
}

/// Seconds of this thread's processor time, which other programs do not take.
double seconds_for(const std::function<void()>& action) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double start = now();
  action();
  return now() - start;
}

/// Encodes a quarter of a megabyte and a whole one of `unit`, there and back.
void check_linear(const Tokenizer& tokenizer, const std::string& unit) {
  const auto run = [&](size_t bytes) {
    const std::string text = repeated(unit, bytes);
    return seconds_for([&] {
      const Ids ids = tokenizer.encode(text, {.add_special_tokens = false});
      CHECK(tokenizer.decode(ids) == text);
    });
  };
  constexpr size_t megabyte = size_t{1} << 20;
  // n log n takes 4.4 times as long for four times the text, n² 16 times; a cache that is too small
  // for the larger one costs less than the rest.
  double ratio = 0;
  for (int attempt = 0; attempt < 3 && (attempt == 0 || ratio > 10); ++attempt)
    ratio = run(megabyte) / run(megabyte / 4);
  CHECK_MESSAGE(ratio <= 10, unit);
}

/// A tokenizer whose merges double runs of a letter, and one that grows a word letter by letter.
Json doubling_tokenizer() {
  Json vocabulary = {{"a", 0}, {"b", 1}};
  Json merges = Json::array();
  const auto merge = [&](const std::string& left, const std::string& right) {
    merges.push_back({left, right});
    vocabulary.emplace(left + right, vocabulary.size());
  };
  for (std::string run = "a"; run.size() < 512; run += run)
    merge(run, run);
  for (std::string word = "b"; word.size() < 512; word += "a")
    merge(word, "a");
  return {{"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", merges}}},
          {"decoder", {{"type", "Fuse"}}}};
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

Json small_tokenizer() {
  return Json::parse(R"({
    "added_tokens": [{"id": 3, "content": "<s>", "special": true, "normalized": false}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"},
        {"type": "Replace", "pattern": {"Regex": "a+c"}, "content": "b"}]},
    "pre_tokenizer": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "first"},
    "post_processor": {"type": "TemplateProcessing", "pair": [],
        "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
        "special_tokens": {"<s>": {"ids": [3]}}},
    "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
    "model": {"type": "BPE", "unk_token": "a", "byte_fallback": true,
              "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})");
}

/// The message for the small tokenizer with `value` at `pointer`.
std::string refusal(const char* pointer, const Json& value) {
  const TemporaryFolder folder;
  Json tokenizer = small_tokenizer();
  tokenizer[Json::json_pointer(pointer)] = value;
  write(folder / "tokenizer.json", io::to_text(tokenizer));
  const std::string message =
      test::message_of<FormatError>([&] { Tokenizer::load(folder.path()).encode("aaaa"); });
  check_contains(message, "tokenizer.json");
  return message;
}

/// Loads and uses what may be broken: whatever is wrong with it must be an Error.
bool loads(const std::filesystem::path& path) {
  try {
    const Tokenizer tokenizer = Tokenizer::load(path);
    tokenizer.decode(tokenizer.encode("ab <s>aac é漢 ▁the\n"));
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// Changes, cuts or doubles a stretch of the bytes.
std::string mutated(std::string bytes, std::mt19937& random) {
  const auto below = [&](size_t limit) { return static_cast<size_t>(random()) % limit; };
  for (size_t change = 0; change <= below(3); ++change) {
    const size_t at = below(bytes.size());
    switch (below(4)) {
      case 0:
        bytes[at] = static_cast<char>(random());
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
      case 2:
        bytes.erase(at, 1 + below(8));
        break;
      default:
        bytes.insert(at, bytes.substr(at, 1 + below(8)));
    }
    if (bytes.empty())
      bytes = "x";
  }
  return bytes;
}

}  // namespace

TEST_CASE("tokenizer: four times the text takes about four times the time") {
  for (const char* folder :
       {"tokenizers/gpt2", "tokenizers/qwen2.5", "tokenizers/tinyllama-chat"}) {
    const Tokenizer tokenizer = Tokenizer::load(test::data(folder));
    for (const std::string unit : {"a", "ab", "漢", " ", "\x01", "x \n"})
      check_linear(tokenizer, unit);
  }
  const TemporaryFolder folder;
  write(folder / "tokenizer.json", io::to_text(doubling_tokenizer()));
  const Tokenizer doubling = Tokenizer::load(folder.path());
  for (const std::string& unit : {std::string("a"), "b" + std::string(511, 'a'), std::string("ab")})
    check_linear(doubling, unit);
}

TEST_CASE("normal forms: a hundred thousand marks in the wrong order take linear time") {
  const std::string text = "a" + repeated("\u0301\u0323", 400'000);
  std::string result;
  // One exchange of neighbours after the other would be 1e10 steps.
  CHECK(seconds_for([&] { result = normalized(text, NormalForm::nfc); }) < 5);
  CHECK(result.starts_with("ạ\u0323\u0323"));
  CHECK(result.ends_with("\u0301\u0301"));
  // The same as the library makes of few.
  const std::string few = "e" + repeated("\u0301\u0323\u0344", 240);
  CHECK(normalized(few + few, NormalForm::nfd) ==
        normalized(few, NormalForm::nfd) + normalized(few, NormalForm::nfd));
}

TEST_CASE("stream decoder: bytes that never become a character do not pile up") {
  const Tokenizer tokenizer = Tokenizer::load(test::data("tokenizers/gpt2"));
  const int64_t continuation = *tokenizer.id("\u0122");  // the byte 0x80
  const int64_t lead = *tokenizer.id("\u00f0");          // the byte 0xf0
  for (const Ids& cycle : {Ids{continuation}, Ids{lead}, Ids{lead, continuation}}) {
    StreamDecoder decoder(tokenizer);
    Ids ids;
    std::string text;
    size_t silent = 0;
    for (size_t i = 0; i < 2000; ++i) {
      ids.push_back(cycle[i % cycle.size()]);
      const std::string piece = decoder.push(ids.back());
      CHECK(first_invalid_byte(piece) == piece.size());
      silent = piece.empty() ? silent + 1 : 0;
      CHECK(silent <= 40);
      text += piece;
    }
    CHECK(text + decoder.finish() == tokenizer.decode(ids));
  }
  // A character that begins where patience ends is still given whole.
  const Ids emoji = tokenizer.encode("\U0001F9D9");
  REQUIRE(emoji.size() >= 3);
  for (size_t garbage = 20; garbage < 50; ++garbage) {
    Ids ids(garbage, continuation);
    ids.insert(ids.end(), emoji.begin(), emoji.end());
    StreamDecoder decoder(tokenizer);
    std::string text;
    for (const int64_t id : ids)
      text += decoder.push(id);
    CHECK(text + decoder.finish() == tokenizer.decode(ids));
  }
}

TEST_CASE("vocabulary: a few tokens cannot ask for the memory of many") {
  CHECK(Vocabulary({{"a", 0}, {"b", 1'000'000}}, "file").id_limit() == 1'000'001);
  check_contains(test::message_of<FormatError>([] {
                   Vocabulary({{"a", 0}, {"b", 16'000'000}}, "file");
                 }),
                 "ids go up to 16000000, but there are only 2 tokens");
}

TEST_CASE("tokenizer.json: a hostile file ends in an error that names it") {
  check_contains(
      refusal("/normalizer", {{"type", "Prepend"}, {"prepend", std::string(70'000, 'x')}}),
      "grows beyond 65792 bytes");
  check_contains(refusal("/normalizer", {{"type", "Replace"},
                                         {"pattern", {{"String", ""}}},
                                         {"content", std::string(70'000, 'x')}}),
                 "grows beyond");
  check_contains(refusal("/decoder", {{"type", "Replace"},
                                      {"pattern", {{"String", ""}}},
                                      {"content", std::string(2'000, 'x')}}),
                 "decoder.content has 2000 bytes");
  Json deep = Json::object();
  for (int level = 0; level < 100; ++level)
    deep = {{"type", "Sequence"}, {"normalizers", Json::array({deep})}};
  check_contains(refusal("/normalizer", deep), "nested");
  Json wide = {{"type", "Sequence"}, {"normalizers", Json::array()}};
  for (int stage = 0; stage < 300; ++stage)
    wide["normalizers"].push_back({{"type", "NFC"}});
  check_contains(refusal("/normalizer", wide), "more than 256 stages");
  Json tokens = Json::array();
  for (int64_t token = 0; token < 3000; ++token)
    tokens.push_back({{"id", 3 + token},
                      {"content", std::to_string(token) + std::string(1000, 'x')},
                      {"special", true}});
  check_contains(refusal("/added_tokens", tokens), "of all added tokens");
  check_contains(refusal("/normalizer", 7), "normalizer is 7, expected an object");
  check_contains(refusal("/model/vocab", "a"), "vocab");
  check_contains(refusal("/model/unk_token", 3), "model.unk_token is 3, expected");
  check_contains(refusal("/added_tokens/0/id", -1), "added_tokens[0].id is -1");
  check_contains(refusal("/added_tokens/0/special", "yes"), "added_tokens[0].special is \"yes\"");
  check_contains(refusal("/added_tokens/0/content", ""), "added token 3 is empty");
}

TEST_CASE("tokenizer.json: a pattern that takes too many steps is said of the file") {
  const std::string bomb = "(?:x+)+$";
  const std::string text = std::string(60, 'x') + "y";
  for (const char* stage : {"normalizer", "pre_tokenizer", "decoder"}) {
    const TemporaryFolder folder;
    Json tokenizer = small_tokenizer();
    tokenizer["model"]["vocab"]["x"] = 4;
    tokenizer["added_tokens"] = Json::array();
    tokenizer["post_processor"] = nullptr;
    tokenizer["model"]["vocab"][text] = 3;
    tokenizer[stage] =
        std::string_view(stage) == "pre_tokenizer"
            ? Json{{"type", "Split"},
                   {"pattern", {{"Regex", bomb}}},
                   {"behavior", "Isolated"},
                   {"invert", false}}
            : Json{{"type", "Replace"}, {"pattern", {{"Regex", bomb}}}, {"content", ""}};
    write(folder / "tokenizer.json", io::to_text(tokenizer));
    const Tokenizer loaded = Tokenizer::load(folder.path());
    const std::string message = test::message_of<FormatError>([&] {
      if (std::string_view(stage) == "decoder")
        loaded.decode(Ids{3});
      else
        loaded.encode(text);
    });
    check_contains(message, "tokenizer.json");
    check_contains(message, "too many steps");
  }
}

TEST_CASE("tokenizers: whatever is done to their files, they load or say what is wrong") {
  std::mt19937 random(4);  // the same mutations on every machine
  const TemporaryFolder folder;
  const auto try_all = [&](const char* name, const std::string& bytes, int count) {
    int broken = 0;
    for (int i = 0; i < count; ++i) {
      write(folder / name, mutated(bytes, random));
      broken += !loads(folder / name);
    }
    // Else nothing was tried: most bytes of such a small file matter.
    CHECK(broken > count / 3);
    std::filesystem::remove(folder / name);
  };
  try_all("tokenizer.json", io::to_text(small_tokenizer(), -1), 1500);
  write(folder / "config.json", R"({"model_type": "gpt2"})");
  write(folder / "merges.txt", "#version: 0.2\na b\n");
  try_all("vocab.json", R"({"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3})", 700);
  write(folder / "vocab.json", R"({"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3})");
  int broken = 0;
  for (int i = 0; i < 700; ++i) {
    write(folder / "merges.txt", mutated("#version: 0.2\na b\n", random));
    broken += !loads(folder / "vocab.json");
  }
  CHECK(broken > 200);
}

}  // namespace graft::text
