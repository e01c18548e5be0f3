// Each stage of a tokenizer alone, against Hugging Face's library
// (tests/golden/make_tokenizer_parts.py).
#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/tests/support/test.h"
#include "graft/text/charsmap.h"
#include "graft/text/decoder.h"
#include "graft/text/normalizer.h"
#include "graft/text/pre_tokenizer.h"
#include "graft/text/tokenizer.h"

namespace graft::text {
namespace {

using io::Json;
using Texts = std::vector<std::string>;

const Json& golden() {
  static const Json json =
      io::read_json_file(test::golden("tokenizer_parts.json"), {.max_bytes = 1 << 20});
  return json;
}

AlignedText aligned(const std::string& text) {
  return {text, {0, static_cast<uint32_t>(text.size())}};
}

/// A file with one piece, "A", that becomes "b": two units of the trie, then the replacements.
std::string small_charsmap() {
  const uint32_t label = 'A';
  std::vector<uint32_t> units(label + 2);
  units[0] = 0;                            // children at 0 ^ label
  units[label] = label | 0x100 | 1 << 10;  // a leaf at label ^ 1
  units[label ^ 1] = 0x8000'0000;          // the replacement at byte 0
  std::string bytes;
  const auto add = [&](uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8)
      bytes.push_back(static_cast<char>(value >> shift & 0xff));
  };
  add(static_cast<uint32_t>(units.size() * 4));
  for (const uint32_t unit : units)
    add(unit);
  return bytes + std::string("b\0", 2);
}

}  // namespace

TEST_CASE("normalizers: each makes of texts what the reference makes of them") {
  for (const Json& record : golden()["normalizers"]) {
    const io::JsonObject parent(record, "tokenizer_parts.json");
    const auto normalizer = read_normalizer(parent, "stage");
    for (size_t i = 0; i < record["results"].size(); ++i) {
      const AlignedText result = normalizer->apply(aligned(golden()["texts"][i]));
      CHECK_MESSAGE(result.text() == record["results"][i].get<std::string>(),
                    io::to_text(record["stage"], -1));
    }
  }
}

TEST_CASE("pre-tokenizers: each cuts texts into the pieces of the reference") {
  for (const Json& record : golden()["pre_tokenizers"]) {
    const io::JsonObject parent(record, "tokenizer_parts.json");
    const auto pre_tokenizer = read_pre_tokenizer(parent, "stage");
    for (size_t i = 0; i < record["pieces"].size(); ++i) {
      const std::string text = golden()["texts"][i];
      const Pieces cut =
          pre_tokenizer->apply({aligned(text), {{0, static_cast<uint32_t>(text.size())}}});
      Texts pieces;
      for (const ByteRange& piece : cut.pieces)
        pieces.emplace_back(piece.of(cut.text.text()));
      CHECK_MESSAGE(pieces == record["pieces"][i].get<Texts>(), io::to_text(record["stage"], -1));
    }
  }
}

TEST_CASE("decoders: each makes the text of the reference of tokens") {
  for (const Json& record : golden()["decoders"]) {
    const io::JsonObject parent(record, "tokenizer_parts.json");
    std::string text;
    for (const std::string& part :
         read_decoder(parent, "stage")->apply(golden()["tokens"].get<Texts>()))
      text += part;
    CHECK_MESSAGE(text == record["result"].get<std::string>(), io::to_text(record["stage"], -1));
  }
}

TEST_CASE("models: affixes, unknown characters and bytes become the ids of the reference") {
  for (const Json& record : golden()["models"]) {
    const test::TemporaryFolder folder;
    std::ofstream(folder / "tokenizer.json") << io::to_text(Json{{"model", record["model"]}});
    const Tokenizer tokenizer = Tokenizer::load(folder.path());
    const Texts words = golden()["words"];
    for (size_t i = 0; i < words.size(); ++i)
      CHECK_MESSAGE(tokenizer.encode(words[i]) == record["ids"][i].get<std::vector<int64_t>>(),
                    words[i], " with ", io::to_text(record["model"], -1));
  }
}

TEST_CASE("pre-tokenizers: the first word is the one that begins where the text begins") {
  for (const Json& record : golden()["first_word_tokenizers"]) {
    const test::TemporaryFolder folder;
    Json json = Json::parse(R"({
      "model": {"vocab": {"<unk>": 0, "a": 1, "b": 2, "c": 3, "▁": 4, "<s>": 5}, "merges": [],
                "unk_token": "<unk>"},
      "added_tokens": [{"id": 5, "content": "<s>", "single_word": false, "lstrip": false,
                        "rstrip": false, "normalized": false, "special": false}]})");
    json["normalizer"] = record["normalizer"];
    json["pre_tokenizer"] = record["pre_tokenizer"];
    std::ofstream(folder / "tokenizer.json") << io::to_text(json);
    const Tokenizer tokenizer = Tokenizer::load(folder.path());
    const Texts words = golden()["first_words"];
    for (size_t i = 0; i < words.size(); ++i)
      CHECK_MESSAGE(tokenizer.encode(words[i]) == record["ids"][i].get<std::vector<int64_t>>(),
                    words[i], " with ", io::to_text(record["normalizer"], -1));
  }
}

TEST_CASE("charsmap: a replacement is found, and a table that lies is refused") {
  const std::string good = small_charsmap();
  CHECK(Charsmap(good).replacement("Ax") == "b");
  CHECK_FALSE(Charsmap(good).replacement("B"));
  CHECK_FALSE(Charsmap(good).replacement(std::string_view("\0", 1)));
  const auto refusal = [](const std::string& bytes) {
    return test::message_of<ConfigError>([&] { Charsmap(bytes).replacement("A"); });
  };
  test::check_contains(refusal("ab"), "2 bytes");
  for (const char* size : {"\0\0\0\0", "\3\1\0\0", "\x0c\1\0\xf0"})
    test::check_contains(refusal(std::string(size, 4) + good.substr(4)), "a trie of");
  test::check_contains(refusal(good.substr(0, good.size() - 2)), "said to be at byte 0 of 0");
  test::check_contains(refusal(good + "\xff"), "not UTF-8 at byte 2");
  for (size_t at = 4; at < good.size(); ++at) {  // wherever a byte leads, it stays in the table
    std::string bytes = good;
    bytes[at] = static_cast<char>(bytes[at] ^ 0xff);
    try {
      Charsmap(bytes).replacement("A\xc3\xa9");
    } catch (const ConfigError&) {
    }
  }
}

TEST_CASE("base64: what it spells, or nothing") {
  CHECK(from_base64("") == "");
  CHECK(from_base64("Zm9v") == "foo");
  CHECK(from_base64("Zm8=") == "fo");
  CHECK(from_base64("/+8=") == "\xff\xef");
  CHECK_FALSE(from_base64("Zm9v!"));
  CHECK_FALSE(from_base64("Z=m9v"));
}

}  // namespace graft::text
