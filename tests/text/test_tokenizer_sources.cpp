// Tokenizers of files that are no tokenizer.json: vocab.json with merges.txt, SentencePiece's
// tokenizer.model, GGUF metadata. That the ids of real ones are right is checked by
// test_tokenizer_vectors.cpp and tests/reference/check_tokenizers.py.
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "graft/io/gguf.h"
#include "graft/io/json.h"
#include "graft/tests/support/test.h"
#include "graft/text/tokenizer.h"

namespace graft::text {
namespace {

using Ids = std::vector<int64_t>;
using test::check_contains;
using test::TemporaryFolder;

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

template <class Number>
std::string bytes_of(Number number) {
  std::string bytes(sizeof number, '\0');
  std::memcpy(bytes.data(), &number, sizeof number);
  return bytes;
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7)
    bytes.push_back(static_cast<char>(value | 0x80));
  return bytes + static_cast<char>(value);
}

// Fields of protocol buffers.
std::string number_field(uint64_t field, uint64_t value) {
  return varint(field << 3) + varint(value);
}
std::string bytes_field(uint64_t field, const std::string& bytes) {
  return varint(field << 3 | 2) + varint(bytes.size()) + bytes;
}

std::string piece(const std::string& text, float score, uint64_t type = 1) {
  return bytes_field(
      1, bytes_field(1, text) + varint(2 << 3 | 5) + bytes_of(score) + number_field(3, type));
}

std::string trainer(uint64_t kind) {
  return bytes_field(2, number_field(3, kind));
}

/// A model of SentencePiece with the letters a and b, and tokens for all bytes but "z".
std::string small_model() {
  std::string model = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3) +
                      piece("<tool>", 0, 4) + piece("<0x7A>", 0, 6);
  for (const auto& [text, score] : {std::pair("▁", -9), std::pair("a", -8), std::pair("b", -7),
                                    std::pair("ab", -1), std::pair("▁ab", -3), std::pair("ba", -2)})
    model += piece(text, static_cast<float>(score));
  return model + trainer(2) + bytes_field(3, number_field(4, 0));
}

std::string refusal_of_model(const std::string& bytes) {
  const TemporaryFolder folder;
  write(folder / "tokenizer.model", bytes);
  const std::string message =
      test::message_of<FormatError>([&] { Tokenizer::load(folder.path()); });
  check_contains(message, "tokenizer.model");
  return message;
}

/// A GGUF file without tensors.
class GgufBuilder {
 public:
  GgufBuilder& text(const std::string& key, const std::string& value) {
    return add(key, 8, sized(value));
  }
  GgufBuilder& integer(const std::string& key, uint32_t value) {
    return add(key, 4, bytes_of(value));
  }
  GgufBuilder& texts(const std::string& key, const std::vector<std::string>& values) {
    std::string bytes = bytes_of(uint32_t{8}) + bytes_of(uint64_t{values.size()});
    for (const std::string& value : values)
      bytes += sized(value);
    return add(key, 9, bytes);
  }
  GgufBuilder& floats(const std::string& key, const std::vector<float>& values) {
    std::string bytes = bytes_of(uint32_t{6}) + bytes_of(uint64_t{values.size()});
    for (const float value : values)
      bytes += bytes_of(value);
    return add(key, 9, bytes);
  }
  std::string bytes() const {
    return "GGUF" + bytes_of(uint32_t{3}) + bytes_of(uint64_t{0}) + bytes_of(count_) + values_;
  }

 private:
  static std::string sized(const std::string& text) {
    return bytes_of(uint64_t{text.size()}) + text;
  }
  GgufBuilder& add(const std::string& key, uint32_t type, const std::string& value) {
    ++count_;
    values_ += sized("tokenizer." + key) + bytes_of(type) + value;
    return *this;
  }

  uint64_t count_ = 0;
  std::string values_;
};

GgufBuilder byte_level_gguf() {
  GgufBuilder file;
  file.text("ggml.model", "gpt2").text("ggml.pre", "gpt-2");
  file.texts("ggml.tokens", {"a", "b", "ab", "</s>"}).texts("ggml.merges", {"a b"});
  return file;
}

std::string refusal_of_gguf(const GgufBuilder& file) {
  const TemporaryFolder folder;
  write(folder / "model.gguf", file.bytes());
  const std::string message =
      test::message_of<FormatError>([&] { Tokenizer::load(folder / "model.gguf"); });
  check_contains(message, "model.gguf");
  return message;
}

bool loads(const std::filesystem::path& path) {
  try {
    const Tokenizer tokenizer = Tokenizer::load(path);
    tokenizer.decode(tokenizer.encode("ab <s>abz é漢"));
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// Loads the file with each byte changed in three ways, and cut short at each. Counts what is
/// refused.
int refused_mutations(const std::filesystem::path& path, const std::string& bytes) {
  int refused = 0;
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string changed = bytes;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      write(path, changed);
      refused += !loads(path);
    }
    write(path, bytes.substr(0, at));
    refused += !loads(path);
  }
  return refused;
}

}  // namespace

TEST_CASE("vocab.json and merges.txt: the class says what is done with a text") {
  const TemporaryFolder folder;
  write(folder / "vocab.json",
        R"({"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3, "Ġ": 4, "Ġab": 5, "e": 6, "Ã": 7, "©": 8,
            "Ã©": 9})");
  write(folder / "merges.txt", "#version: 0.2\r\na b\nĠ ab\r\nÃ ©\n");
  const auto encode = [&](const char* config, const char* text) {
    write(folder / "tokenizer_config.json", config);
    return Tokenizer::load(folder.path()).encode(text);
  };
  CHECK(encode(R"({"tokenizer_class": "GPT2Tokenizer"})", "ab<|endoftext|>ab") == Ids{2, 3, 2});
  CHECK(encode(R"({"tokenizer_class": "GPT2TokenizerFast", "add_prefix_space": true,
                   "add_bos_token": true})",
               "ab") == Ids{3, 5});
  // Only Qwen2's composes characters.
  CHECK(encode(R"({"tokenizer_class": "GPT2Tokenizer"})", "e\u0301") == Ids{6});
  CHECK(encode(R"({"tokenizer_class": "Qwen2Tokenizer"})", "e\u0301") == Ids{9});
  CHECK(Tokenizer::load(folder.path()).eos_id() == 3);
  CHECK(Tokenizer::load(folder.path()).pad_id() == 3);

  const TemporaryFolder saved;
  Tokenizer::load(folder.path()).save(saved.path());
  for (const char* name : {"tokenizer.json", "vocab.json", "merges.txt"})
    CHECK(std::filesystem::exists(saved / name));
  CHECK(Tokenizer::load(saved.path()).encode("e\u0301 ab<|endoftext|>") == Ids{9, 5, 3});

  std::filesystem::remove(folder / "tokenizer_config.json");
  write(folder / "config.json", R"({"model_type": "qwen3"})");
  CHECK(Tokenizer::load(folder.path()).encode("e\u0301") == Ids{9});
  write(folder / "added_tokens.json", R"({"<|im_end|>": 10, "<think>": 11})");
  write(folder / "special_tokens_map.json", R"({"eos_token": {"content": "<|im_end|>"},
      "additional_special_tokens": ["<|endoftext|>"]})");
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  CHECK(tokenizer.encode("ab<|im_end|><think>") == Ids{2, 10, 11});
  CHECK(tokenizer.decode(Ids{2, 10, 11}, true) == "ab<think>");
  CHECK(tokenizer.eos_id() == 10);
}

TEST_CASE("vocab.json and merges.txt: what is wrong has a file and a place") {
  const TemporaryFolder folder;
  const auto refusal = [&](const std::string& vocabulary, const std::string& merges,
                           const char* config = R"({"tokenizer_class": "GPT2Tokenizer"})") {
    write(folder / "vocab.json", vocabulary);
    write(folder / "merges.txt", merges);
    write(folder / "tokenizer_config.json", config);
    return test::message_of<FormatError>([&] { Tokenizer::load(folder.path()); });
  };
  const std::string good = R"({"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3})";
  check_contains(refusal(good, "a b\nab\n"), "merges.txt:2: merge 'ab' is not two tokens");
  check_contains(refusal(good, "a b c\n"), "merges.txt:1: merge 'a b c'");
  check_contains(refusal(good, "a b\n\na b\n"), "merges.txt:2: merge ''");
  check_contains(refusal(good, "a \xff\n"), "merges.txt: at byte 2: not UTF-8");
  check_contains(refusal(good, "a x\n"), "needs the token 'x', which is not in the vocabulary");
  check_contains(refusal(R"({"a": -1})", ""), "the id of token 'a' is not a whole number");
  check_contains(refusal(R"({"a": "0"})", ""), "the id of token 'a' is not a whole number");
  check_contains(refusal(R"({"a": {}})", ""), "nested");
  check_contains(refusal(R"({"a": 0, "a": 1})", ""), "'a'");
  check_contains(refusal(R"({"a": 0, "b": 0})", ""), "both have id 0");
  check_contains(refusal("{}", ""), "it has no tokens");
  check_contains(refusal(R"({"a": 0})", ""), "the bos_token '<|endoftext|>' is not in");
  check_contains(refusal(good, "a b\n", "{}"),
                 "tokenizer_class '', but graft reads such a file for "
                 "GPT2Tokenizer and Qwen2Tokenizer");
  check_contains(refusal(good, "a b\n", R"({"tokenizer_class": "RobertaTokenizerFast"})"),
                 "tokenizer_class 'RobertaTokenizer'");
  check_contains(refusal(good, "", R"({"split_special_tokens": true})"), "split_special_tokens");
  std::filesystem::remove(folder / "merges.txt");
  write(folder / "tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer"})");
  check_contains(test::message_of<IoError>([&] { Tokenizer::load(folder.path()); }), "merges.txt");
}

TEST_CASE("tokenizer.model: pieces merge by their scores, with spaces as the file wants them") {
  const TemporaryFolder folder;
  const auto load = [&](const std::string& model, const char* config = "{}") {
    write(folder / "tokenizer.model", model);
    write(folder / "tokenizer_config.json", config);
    return Tokenizer::load(folder.path());
  };
  const Tokenizer tokenizer = load(small_model());
  CHECK(tokenizer.encode("ab") == Ids{9});
  CHECK(tokenizer.encode(" bab") == Ids{5, 5, 7, 8});  // ab before ba, whatever the ids
  CHECK(tokenizer.encode("abz") == Ids{9, 4});
  CHECK(tokenizer.encode("<tool>a</s>") == Ids{3, 5, 6, 2});
  CHECK(tokenizer.decode(Ids{9, 4, 2}) == "abz</s>");
  CHECK(tokenizer.decode(Ids{3, 9, 2}, true) == "<tool> ab");
  CHECK(tokenizer.bos_id() == 1);
  CHECK(tokenizer.prefix_ids().empty());
  CHECK(tokenizer.is_special(2));
  CHECK_FALSE(tokenizer.is_special(3));

  CHECK(load(small_model(), R"({"tokenizer_class": "LlamaTokenizerFast", "legacy": false,
      "add_bos_token": true, "add_eos_token": true})")
            .encode(" ab</s>ab") == Ids{1, 9, 2, 8, 2});
  CHECK(load(small_model(), R"({"add_prefix_space": false})").encode("ab") == Ids{8});
  const std::string no_prefix = small_model() + bytes_field(3, number_field(3, 0));
  CHECK(load(no_prefix).encode(" ab") == Ids{9});
  const std::string few_spaces = small_model() + bytes_field(3, number_field(4, 1));
  CHECK(load(few_spaces).encode("  a   ab ") == Ids{5, 6, 9});
  const std::string gemma = small_model() + piece("<bos>", 0, 3) + piece("<eos>", 0, 3) +
                            piece("<pad>", 0, 3) + piece("<mask>", 0, 3);
  CHECK(load(gemma, R"({"tokenizer_class": "GemmaTokenizer"})").encode("ab a<eos>") ==
        Ids{8, 5, 6, 12});

  const TemporaryFolder saved;
  load(small_model()).save(saved.path());
  CHECK(std::filesystem::exists(saved / "tokenizer.json"));
  CHECK(Tokenizer::load(saved.path()).encode("<tool> bab</s>z") ==
        tokenizer.encode("<tool> bab</s>z"));
}

TEST_CASE("tokenizer.model: other kinds are refused by name") {
  check_contains(refusal_of_model(small_model() + trainer(1)), "a Unigram model of SentencePiece");
  check_contains(refusal_of_model(small_model() + trainer(3)), "a word model of SentencePiece");
  check_contains(refusal_of_model(small_model() + trainer(4)), "a character model");
  check_contains(refusal_of_model(piece("a", 0)),
                 "a Unigram model");  // what the format says of none
  check_contains(refusal_of_model(small_model() + bytes_field(3, bytes_field(2, "table"))),
                 "normalizer_spec.precompiled_charsmap");
  const TemporaryFolder folder;
  write(folder / "tokenizer.model", small_model());
  write(folder / "tokenizer_config.json", R"({"tokenizer_class": "T5Tokenizer"})");
  check_contains(test::message_of<FormatError>([&] { Tokenizer::load(folder.path()); }),
                 "tokenizer_class 'T5Tokenizer', but graft reads such a file for LlamaTokenizer");
}

TEST_CASE("tokenizer.model: broken files are refused with the byte") {
  check_contains(refusal_of_model(""), "it has no pieces");
  check_contains(refusal_of_model("IQ== 0\nIg== 1\n"), "no SentencePiece model");  // tiktoken's
  check_contains(refusal_of_model(std::string("\x0a\x7f", 2)), "a value of 127 bytes where 0 are");
  check_contains(refusal_of_model("\x0a" + std::string(9, '\xff') + "\x01"),
                 "a value of 18446744073709551615 bytes");
  check_contains(refusal_of_model("\x0a" + std::string(11, '\xff')), "more than 64 bits");
  check_contains(refusal_of_model("\x0a" + std::string(9, '\x80') + "\x02"), "more than 64 bits");
  check_contains(refusal_of_model(std::string("\x0a\x80", 2)), "a value of 1 bytes where 0 are");
  check_contains(refusal_of_model("\x0b"), "field 1 is of kind 3, expected 0, 1, 2 or 5");
  check_contains(refusal_of_model(number_field(1, 5)), "field 1 is of kind 0, expected 2");
  check_contains(refusal_of_model(piece("", 0)), "a piece is empty, or not UTF-8");
  check_contains(refusal_of_model(piece("\xff", 0)), "a piece is empty, or not UTF-8");
  check_contains(refusal_of_model(piece("a", 0, 7)), "field 3 is 7, expected 1 to 6");
  check_contains(refusal_of_model(piece("a", std::numeric_limits<float>::infinity())),
                 "the score of piece 'a' is not finite");
  check_contains(refusal_of_model(small_model() + trainer(5)), "field 3 is 5, expected 1 to 4");
  check_contains(refusal_of_model(small_model() + piece("a", 0)), "'a' is there twice");
  check_contains(refusal_of_model(small_model() + piece(std::string(2000, 'x'), 0)),
                 "token 11 has 2000 bytes");
  std::string long_pieces = trainer(2);
  for (int i = 0; i < 1200; ++i)
    long_pieces += piece(std::to_string(i) + std::string(1000, 'x'), 0);
  check_contains(refusal_of_model(long_pieces), "most of the tokens a few");
  // The place: behind the first piece, and the length in it.
  check_contains(refusal_of_model(piece("a", 0) + "\x0a\x05"),
                 concat("byte ", piece("a", 0).size() + 2));
}

TEST_CASE("tokenizer.model: whatever byte is changed, it loads or is refused") {
  const TemporaryFolder folder;
  const std::string bytes = small_model();
  // Flipped scores and letters make other models; lengths and kinds make none.
  CHECK(refused_mutations(folder / "tokenizer.model", bytes) > static_cast<int>(bytes.size()));
}

TEST_CASE("GGUF: tokenizers of other kinds are refused by name") {
  const auto message = [](const char* model) {
    GgufBuilder file;
    return refusal_of_gguf(file.text("ggml.model", model).texts("ggml.tokens", {"a"}));
  };
  check_contains(message("bert"),
                 "tokenizer.ggml.model is 'bert' (WordPiece), expected gpt2 or llama");
  check_contains(message("t5"), "is 't5' (Unigram)");
  check_contains(message("rwkv"), "is 'rwkv' (RWKV's own)");
  check_contains(message("plamo2"), "is 'plamo2', expected gpt2 or llama: graft has byte-pair");
  GgufBuilder other;
  other.text("ggml.model", "gpt2").text("ggml.pre", "chameleon").texts("ggml.tokens", {"a"});
  check_contains(refusal_of_gguf(other),
                 "tokenizer.ggml.pre is 'chameleon', expected one of gpt-2, phi-2, olmo, smollm, "
                 "starcoder, deepseek-coder, llama-bpe, llama3, llama-v3, dbrx, qwen2, "
                 "deepseek-r1-qwen, gpt-4o, tekken; convert");
}

TEST_CASE("GGUF: the pieces of dbrx are Llama 3's, merged from their parts and without bos") {
  GgufBuilder file;
  file.text("ggml.model", "gpt2").text("ggml.pre", "dbrx");
  file.texts("ggml.tokens", {"1", "2", "3", "4", "12", "34", "123", "234", "<s>"});
  file.texts("ggml.merges", {"1 2", "3 4", "2 34"}).integer("ggml.bos_token_id", 8);
  const TemporaryFolder folder;
  write(folder / "model.gguf", file.bytes());
  const Tokenizer tokenizer = Tokenizer::load(folder / "model.gguf");
  CHECK(tokenizer.encode("1234") == Ids{4, 2, 3});  // "123" has no merge
}

TEST_CASE("GGUF: how a text is cut follows from tokenizer.ggml.pre") {
  // Each token that a cut can go through has a merge, so that the tokens are the pieces.
  std::vector<std::string> tokens = {"<s>", "'", "s", "1", "2", "3", "4", "b", "C",
                                     "Ġ",   "a", "/", "Ċ", "Ì", "ģ", "Ã", "¡"};
  const std::vector<std::string> pairs = {"' s",  "1 2", "12 3", "123 4", "b C",
                                          "a 's", "/ Ċ", "a Ì",  "aÌ ģ",  "Ã ¡"};
  for (const std::string& pair : pairs) {
    std::string token = pair;
    tokens.push_back(token.erase(token.find(' '), 1));
  }
  const auto pieces = [&](const char* pre, const std::string& text) {
    GgufBuilder file;
    file.text("ggml.model", "gpt2").text("ggml.pre", pre).texts("ggml.tokens", tokens);
    file.texts("ggml.merges", pairs).integer("ggml.bos_token_id", 0);
    const TemporaryFolder folder;
    write(folder / "model.gguf", file.bytes());
    const Tokenizer tokenizer = Tokenizer::load(folder / "model.gguf");
    std::string result;
    for (const int64_t id : tokenizer.encode(text))
      result += (result.empty() ? "" : "|") + *tokenizer.token(id);
    return result;
  };
  const std::string text = "1234bCa's/\n", accent = "a\u0301";
  for (const char* pre : {"gpt-2", "phi-2"}) {
    CHECK(pieces(pre, text) == "1234|bC|a|'s|/|Ċ");
    CHECK(pieces(pre, accent) == "a|Ì|ģ");  // a mark is no letter
  }
  CHECK(pieces("olmo", text) == "1234|bC|a|'s|/|Ċ");
  for (const char* pre : {"olmo", "qwen2", "deepseek-r1-qwen"})
    CHECK(pieces(pre, accent) == "Ã¡");  // NFC
  for (const char* pre : {"qwen2", "deepseek-r1-qwen"})
    CHECK(pieces(pre, text) == "1|2|3|4|bC|a|'s|/Ċ");
  CHECK(pieces("dbrx", text) == "123|4|bC|a|'s|/Ċ");
  CHECK(pieces("gpt-4o", text) == "123|4|b|C|a's|/Ċ");
  CHECK(pieces("gpt-4o", accent) == "aÌģ");
  CHECK(pieces("tekken", text) == "<s>|1|2|3|4|b|C|a|'s|/Ċ");
  CHECK(pieces("tekken", accent) == "<s>|aÌģ");
}

TEST_CASE("GGUF: any part of a split model has its tokenizer") {
  const auto part = [](int number) {
    const std::string name = "gguf_models/llama3_other-0000" + std::to_string(number);
    return Tokenizer::load(test::golden(name + "-of-00003.gguf"));
  };
  const Ids ids = part(1).encode("the ab");
  CHECK(ids.front() == 1);  // bos
  CHECK(part(3).encode("the ab") == ids);
}

TEST_CASE("GGUF: lists that do not fit each other are refused") {
  check_contains(refusal_of_gguf(byte_level_gguf().integer("ggml.eos_token_id", 4)),
                 "tokenizer.ggml.eos_token_id");
  check_contains(refusal_of_gguf(byte_level_gguf().integer("ggml.token_type", 1)),
                 "tokenizer.ggml.token_type");
  const auto with_merge = [](const char* merge) {
    GgufBuilder file;
    file.text("ggml.model", "gpt2").text("ggml.pre", "gpt-2");
    return refusal_of_gguf(file.texts("ggml.tokens", {"a", "b"}).texts("ggml.merges", {merge}));
  };
  check_contains(with_merge("ab"), "merge 'ab' is not two tokens with a space between");
  check_contains(with_merge("a c"), "needs the token 'c'");
  check_contains(with_merge("a b"), "needs the token 'ab'");
  const auto with_scores = [](const std::vector<std::string>& tokens, std::vector<float> scores) {
    GgufBuilder file;
    return refusal_of_gguf(file.text("ggml.model", "llama")
                               .integer("ggml.bos_token_id", 0)
                               .texts("ggml.tokens", tokens)
                               .floats("ggml.scores", std::move(scores)));
  };
  check_contains(with_scores({"a", "b"}, {0}), "tokenizer.ggml.scores has 1 elements for 2 tokens");
  check_contains(with_scores({"a"}, {std::numeric_limits<float>::quiet_NaN()}), "not finite");
  check_contains(with_scores({"a", "a"}, {0, 0}), "'a' is there twice");
  check_contains(with_scores({"a", "\xff"}, {0, 0}),
                 "token 1 of tokenizer.ggml.tokens is not UTF-8");
  GgufBuilder no_bos;
  no_bos.text("ggml.model", "llama").texts("ggml.tokens", {"a"}).floats("ggml.scores", {0});
  check_contains(refusal_of_gguf(no_bos), "texts are to get the bos_token");
}

TEST_CASE("GGUF: whatever byte is changed, the tokenizer loads or is refused") {
  const TemporaryFolder folder;
  const std::string bytes = byte_level_gguf().bytes();
  write(folder / "model.gguf", bytes);
  CHECK(Tokenizer::load(folder / "model.gguf").encode("ab") == Ids{2});
  CHECK(refused_mutations(folder / "model.gguf", bytes) > static_cast<int>(bytes.size()));
}

}  // namespace graft::text
