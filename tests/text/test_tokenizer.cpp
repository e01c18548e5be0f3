// The tokenizer against Hugging Face's library (tests/golden/make_tokenizer.py).
#include <chrono>
#include <nlohmann/json.hpp>

#include "graft/io/file.h"
#include "graft/io/json.h"
#include "graft/tests/support/test.h"
#include "graft/text/stream_decoder.h"
#include "graft/text/tokenizer.h"
#include "graft/text/unicode.h"

namespace graft::text {
namespace {

using io::Json;
using Ids = std::vector<int64_t>;

constexpr io::JsonLimits any_size{.max_bytes = 64 << 20};

const Json& golden() {
  static const Json json = io::read_json_file(test::golden("tokenizer.json"), any_size);
  return json;
}

Tokenizer load(const Json& record) {
  return Tokenizer::load(record.contains("data")
                             ? test::data(record["data"].get<std::string>())
                             : test::golden(record["golden"].get<std::string>()));
}

Ids encode(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.encode(text, {.add_special_tokens = false});
}

/// The smallest range of whole characters that holds `range`.
ByteRange whole_characters(std::string_view text, ByteRange range) {
  const auto inside = [&](uint32_t at) {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
  };
  while (inside(range.begin))
    --range.begin;
  while (inside(range.end))
    ++range.end;
  return range;
}

void check_ids(const Json& record) {
  const Tokenizer tokenizer = load(record);
  const Json& texts = golden()["texts"];
  CHECK(tokenizer.encode("graft") == record["graft"].get<Ids>());
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::string text = texts[i];
    const Ids expected = record["ids"][i];
    CHECK_MESSAGE(encode(tokenizer, text) == expected, "text ", i, ": ", text);
    const std::string key = std::to_string(i);
    const std::string decoded =
        record["decoded"].contains(key) ? record["decoded"][key] : Json(text);
    CHECK_MESSAGE(tokenizer.decode(expected) == decoded, "text ", i, ": ", text);
  }
}

/// Offsets are those of the reference, which counts in characters; a token that was put in has a
/// place, but no bytes.
void check_offsets(const Json& record) {
  const Tokenizer tokenizer = load(record);
  for (size_t i = 0; i < record["offsets"].size(); ++i) {
    const std::string text = golden()["texts"][i];
    const Encoding encoding = tokenizer.encode_with_offsets(text, {.add_special_tokens = false});
    const Json& expected = record["offsets"][i];
    REQUIRE(encoding.offsets.size() == expected.size());
    for (size_t token = 0; token < expected.size(); ++token) {
      const ByteRange ours = encoding.offsets[token];
      const ByteRange theirs{expected[token][0], expected[token][1]};
      if (ours.empty())
        CHECK(ours.begin == theirs.begin);
      else
        CHECK_MESSAGE(whole_characters(text, ours) == theirs, "text ", i, ", token ", token);
    }
  }
}

}  // namespace

TEST_CASE("tokenizer: ids, decoded texts and special tokens are those of the reference") {
  for (const Json& record : golden()["tokenizers"]) {
    const std::string name = record["name"];
    SUBCASE(name.c_str()) {
      check_ids(record);
    }
  }
}

TEST_CASE("tokenizer: offsets are those of the reference, exact to the byte") {
  for (const Json& record : golden()["tokenizers"]) {
    // The others normalise characters together, or have characters without a token, and there the
    // reference's offsets are off.
    const std::string name = record["name"];
    if (name == "gpt2" || name == "llama3" || name == "tinyllama" || name == "stories260k" ||
        name == "tinystories")
      SUBCASE(name.c_str()) {
        check_offsets(record);
      }
  }
}

TEST_CASE("tokenizer: offsets of every kind of pipeline are in order and within the text") {
  for (const Json& record : golden()["tokenizers"]) {
    // "unknown" has too few byte tokens, and the reference puts an unknown token behind what
    // follows.
    if (!record.contains("golden") || record["name"] == "unknown")
      continue;
    const Tokenizer tokenizer = load(record);
    for (const std::string text : golden()["texts"]) {
      const Encoding encoding = tokenizer.encode_with_offsets(text);
      ByteRange last;
      for (const ByteRange& range : encoding.offsets) {
        CHECK(range.begin >= last.begin);
        CHECK((range.empty() || range.end >= last.end));
        CHECK(range.end <= text.size());
        last = range;
      }
    }
  }
}

TEST_CASE("tokenizer: a word of a megabyte takes a second, not an hour") {
  for (const char* folder : {"tokenizers/gpt2", "tokenizers/tinyllama-chat"}) {
    const Tokenizer tokenizer = Tokenizer::load(test::data(folder));
    for (const std::string unit : {"a", "ab", "漢", " ", "\x01"}) {
      std::string text;
      while (text.size() < (1u << 20))
        text += unit;
      const auto start = std::chrono::steady_clock::now();
      const Ids ids = encode(tokenizer, text);
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
      CHECK(tokenizer.decode(ids) == text);
      CHECK(taken.count() < 30);  // quadratic would be 1e12 steps; a busy machine takes seconds
    }
  }
}

TEST_CASE("tokenizer: encode_with_prefix puts bos before a text exactly once") {
  const Tokenizer tokenizer = Tokenizer::load(test::data("tokenizers/tinyllama-chat"));
  CHECK(tokenizer.prefix_ids() == Ids{1});
  CHECK(tokenizer.suffix_ids().empty());
  const Encoding plain = tokenizer.encode_with_prefix("Hi");
  CHECK(plain.ids == Ids{1, 6324});
  CHECK(plain.offsets == std::vector<ByteRange>{{0, 0}, {0, 2}});
  const Encoding written = tokenizer.encode_with_prefix("<s>Hi");
  CHECK(written.ids == Ids{1, 6324});
  CHECK(written.offsets == std::vector<ByteRange>{{0, 3}, {3, 5}});
  CHECK(tokenizer.encode_with_prefix("").ids == Ids{1});
}

TEST_CASE("tokenizer: text that is not UTF-8 is refused with the place") {
  const Tokenizer tokenizer = Tokenizer::load(test::golden("tokenizers/byte_level.json"));
  const std::string message =
      test::message_of<ConfigError>([&] { tokenizer.encode("ab\xe2\x82z"); });
  test::check_contains(message, "not UTF-8 at byte 2");
}

TEST_CASE("stream decoder: its pieces are whole characters and add up to the text") {
  for (const Json& record : golden()["tokenizers"]) {
    if (!record.contains("golden") && record["name"] != "gpt2" && record["name"] != "tinyllama" &&
        record["name"] != "stories260k")
      continue;
    const Tokenizer tokenizer = load(record);
    StreamDecoder decoder(tokenizer, false);
    for (const Json& expected : record["ids"]) {
      const Ids ids = expected;
      std::string text;
      for (const int64_t id : ids) {
        const std::string piece = decoder.push(id);
        CHECK(first_invalid_byte(piece) == piece.size());
        text += piece;
      }
      text += decoder.finish();
      CHECK(text == tokenizer.decode(ids));
    }
  }
}

TEST_CASE("stream decoder: a character appears when its last byte is there") {
  const Tokenizer tokenizer = Tokenizer::load(test::data("tokenizers/gpt2"));
  StreamDecoder decoder(tokenizer);
  const Ids ids = encode(tokenizer, "a漢b");
  REQUIRE(ids.size() == 5);  // a, three for the character, b
  CHECK(decoder.push(ids[0]) == "a");
  CHECK(decoder.push(ids[1]).empty());
  CHECK(decoder.push(ids[2]).empty());
  CHECK(decoder.push(ids[3]) == "漢");
  CHECK(decoder.push(ids[1]).empty());
  CHECK(decoder.finish() == "\uFFFD");  // the rest of it never came
  CHECK(decoder.push(ids[4]) == "b");
}

TEST_CASE("byte fallback: a run of byte tokens is text as a whole, or one U+FFFD each") {
  const Tokenizer tokenizer = Tokenizer::load(test::data("tokenizers/tinyllama-chat"));
  const auto byte = [&](const char* token) { return *tokenizer.id(token); };
  const Ids valid{byte("<0xC3>"), byte("<0xA9>")};
  const Ids broken{byte("<0xC3>"), byte("<0xA9>"), byte("<0xFF>")};
  CHECK(tokenizer.decode(valid) == "é");
  CHECK(tokenizer.decode(broken) == "\uFFFD\uFFFD\uFFFD");
  // So a stream must not give out the é before the run has ended.
  StreamDecoder decoder(tokenizer);
  for (const int64_t id : broken)
    CHECK(decoder.push(id).empty());
  CHECK(decoder.push(byte("a")) == "\uFFFD\uFFFD\uFFFDa");
  CHECK(decoder.push(valid[0]).empty());
  CHECK(decoder.push(valid[1]).empty());
  CHECK(decoder.finish() == "é");
}

}  // namespace graft::text
