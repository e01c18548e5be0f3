// Reading and writing the files a tokenizer comes in, and what is wrong with them.
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/io/file.h"
#include "graft/io/json.h"
#include "graft/tests/support/test.h"
#include "graft/text/tokenizer.h"
#include "graft/text/tokenizer_definition.h"

namespace graft::text {
namespace {

using io::Json;
using Ids = std::vector<int64_t>;
using test::check_contains;
using test::TemporaryFolder;

/// A tokenizer.json with the tokens a, b, ab, <s>, </s>.
Json small_tokenizer() {
  return Json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [
      {"id": 3, "content": "<s>", "special": true, "normalized": false},
      {"id": 4, "content": "</s>", "special": true, "normalized": false}],
    "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false,
              "byte_fallback": false, "ignore_merges": false, "continuing_subword_prefix": null,
              "end_of_word_suffix": "", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})");
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

Tokenizer load(const TemporaryFolder& folder, const Json& tokenizer) {
  write(folder / "tokenizer.json", io::to_text(tokenizer));
  return Tokenizer::load(folder.path());
}

/// The message for the small tokenizer with `value` at `pointer`.
std::string refusal(const char* pointer, const Json& value) {
  const TemporaryFolder folder;
  Json tokenizer = small_tokenizer();
  tokenizer[Json::json_pointer(pointer)] = value;
  const std::string message = test::message_of<FormatError>([&] { load(folder, tokenizer); });
  check_contains(message, "tokenizer.json");
  return message;
}

std::filesystem::path smollm2() {
  const char* file = std::getenv("GRAFT_SMOLLM2_GGUF");
  if (file == nullptr || *file == '\0')
    test::skip("GRAFT_SMOLLM2_GGUF is not set");
  return file;
}

std::filesystem::path vocabulary_file(const std::string& name) {
  return test::data("tokenizers/llama.cpp-models/ggml-vocab-" + name + ".gguf");
}

}  // namespace

TEST_CASE("tokenizer.json: merges may be texts or pairs, in any order of the members") {
  const TemporaryFolder folder;
  Json tokenizer = small_tokenizer();
  CHECK(load(folder, tokenizer).encode("ab<s>ba") == Ids{2, 3, 1, 0});
  tokenizer["model"]["merges"] = Json::parse(R"([["a", "b"]])");
  CHECK(load(folder, tokenizer).encode("abab") == Ids{2, 2});
  Json reversed = Json::object();
  for (auto member = tokenizer.rbegin(); member != tokenizer.rend(); ++member)
    reversed[member.key()] = member.value();
  CHECK(load(folder, reversed).encode("abab") == Ids{2, 2});
}

TEST_CASE("tokenizer.json: what graft does not support is refused by name") {
  check_contains(refusal("/model/type", "Unigram"), "model.type is \"Unigram\", expected BPE");
  check_contains(refusal("/model/dropout", 0.1), "model.dropout is 0.1");
  check_contains(refusal("/model/dropout", "some"), "model.dropout is \"some\"");
  for (const char* kind : {"WordPiece", "WordLevel"})
    check_contains(refusal("/model/type", kind),
                   concat("model.type is \"", kind, "\", expected BPE"));
  check_contains(refusal("/model/surprise", 1), "model.surprise is an option that graft does not");
  check_contains(refusal("/normalizer", Json{{"type", "BertNormalizer"}}),
                 "normalizer.type is \"BertNormalizer\"");
  check_contains(refusal("/pre_tokenizer", Json{{"type", "UnicodeScripts"}}),
                 "pre_tokenizer.type is \"UnicodeScripts\"");
  check_contains(refusal("/pre_tokenizer", Json::parse(R"({"type": "Sequence", "pretokenizers": [
                {"type": "Digits", "individual_digits": true}, {"type": "Other"}]})")),
                 "pre_tokenizer.pretokenizers[1].type is \"Other\"");
  check_contains(refusal("/pre_tokenizer", Json::parse(R"({"type": "Digits",
                   "individual_digits": true, "roman": true})")),
                 "pre_tokenizer.roman is an option");
  for (const char* type : {"CTC", "WordPiece"})
    check_contains(refusal("/decoder", Json{{"type", type}}),
                   concat("decoder.type is \"", type, "\""));
  check_contains(refusal("/post_processor", Json{{"type", "Other"}}), "post_processor.type");
  check_contains(refusal("/version", "2.0"), "version is \"2.0\", expected 1.0");
}

TEST_CASE("tokenizer.json: one stage of a post-processor may add special tokens") {
  const TemporaryFolder folder;
  const Json byte_level = Json::parse(R"({"type": "ByteLevel", "trim_offsets": false})");
  const Json roberta = Json::parse(R"({"type": "RobertaProcessing", "cls": ["a", 0],
      "sep": ["</s>", 4], "trim_offsets": true, "add_prefix_space": false})");
  Json tokenizer = small_tokenizer();
  tokenizer["post_processor"] = {{"type", "Sequence"}, {"processors", {byte_level, roberta}}};
  CHECK(load(folder, tokenizer).encode("ab") == Ids{0, 2, 4});
  check_contains(
      refusal("/post_processor", {{"type", "Sequence"}, {"processors", {roberta, roberta}}}),
      "post_processor.processors is a list of 2, expected one stage at most");
}

TEST_CASE("tokenizer.json: a list of scored tokens is another kind of model, named as such") {
  const TemporaryFolder folder;
  Json tokenizer = small_tokenizer();
  tokenizer["model"] = Json::parse(R"({"type": "Unigram", "unk_id": 0, "vocab": [["a", -1.5]]})");
  check_contains(test::message_of<FormatError>([&] { load(folder, tokenizer); }),
                 "model.type is \"Unigram\"");
}

TEST_CASE("tokenizer.json: contradictions are found while it is read") {
  check_contains(refusal("/model/vocab/ab", 1), "both have id 1");
  check_contains(refusal("/model/vocab/ab", -2), "the id of token 'ab' is not a whole number");
  check_contains(refusal("/model/vocab/ab", 1.5), "the id of token 'ab' is not a whole number");
  check_contains(refusal("/model/vocab/ab", uint64_t{1} << 40), "has id 16777216, expected 0 to");
  check_contains(refusal("/model/vocab/ab", Json::array()), "a token is a text");
  check_contains(refusal("/model/vocab", Json::object()), "model.vocab is missing or empty");
  check_contains(refusal("/model/merges/0", "b a"), "needs the token 'ba'");
  check_contains(refusal("/model/merges/0", "ab"), "is not two tokens");
  check_contains(refusal("/model/merges/0", Json{"a", "b", "c"}), "a merge is two tokens");
  check_contains(refusal("/model/merges/0", 7), "a merge is two tokens");
  check_contains(refusal("/model/unk_token", "<unk>"), "the unknown token '<unk>'");
  check_contains(refusal("/added_tokens/0/id", 7),
                 "added token '<s>' has id 7, but its place in the list makes it 3");
  check_contains(refusal("/added_tokens/1/content", "<s>"), "'<s>'");
  check_contains(refusal("/added_tokens/0/content", std::string(2000, 'x')), "2000 bytes");
  check_contains(refusal("/post_processor", Json::parse(R"({"type": "TemplateProcessing",
                   "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
                   "pair": [], "special_tokens": {"<s>": {"ids": [99]}}})")),
                 "special_tokens.<s>.ids[0] is 99, expected an integer from 0 to 4");
  check_contains(refusal("/pre_tokenizer", Json::parse(R"({"type": "Split", "invert": false,
                   "behavior": "Isolated", "pattern": {"Regex": "a("}})")),
                 "pre_tokenizer.pattern: regex: 'a('");
}

TEST_CASE("tokenizer.json: a hostile pattern ends in an error that names the file") {
  const TemporaryFolder folder;
  Json tokenizer = small_tokenizer();
  tokenizer["pre_tokenizer"] = Json::parse(R"({"type": "Split", "invert": false,
      "behavior": "Isolated", "pattern": {"Regex": "(?:a+)+$"}})");
  const Tokenizer loaded = load(folder, tokenizer);
  const std::string message =
      test::message_of<FormatError>([&] { loaded.encode(std::string(60, 'a') + "b"); });
  check_contains(message, "tokenizer.json");
  check_contains(message, "too many steps");
}

TEST_CASE("tokenizer: a missing file says what to give") {
  const TemporaryFolder folder;
  const auto refusal = [](const std::filesystem::path& path) {
    return test::message_of<ConfigError>([&] { Tokenizer::load(path); });
  };
  check_contains(refusal(folder.path()),
                 folder.path().string() + " holds none; give a folder with a tokenizer.json");
  check_contains(refusal(folder / "tokenizer.json"),
                 "tokenizer.json does not exist; give a folder");
}

TEST_CASE("tokenizer_config.json: special tokens, bos and eos, templates, stop ids") {
  const TemporaryFolder folder;
  write(folder / "tokenizer_config.json", R"({
    "bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": null, "add_bos_token": true,
    "chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}],
    "added_tokens_decoder": {"5": {"content": "<|end|>", "special": true},
                             "3": {"content": "<s>", "special": true}}})");
  write(folder / "special_tokens_map.json", R"({"bos_token": "a", "pad_token": "<|end|>"})");
  write(folder / "generation_config.json", R"({"eos_token_id": [2, 4]})");
  const Tokenizer tokenizer = load(folder, small_tokenizer());
  CHECK(tokenizer.bos_id() == 3);
  CHECK(tokenizer.eos_id() == 4);
  CHECK(tokenizer.pad_id() == 5);
  CHECK(tokenizer.vocab_size() == 6);
  CHECK(tokenizer.prefix_ids() == Ids{3});
  CHECK(tokenizer.stop_ids() == Ids{2, 4});
  CHECK(tokenizer.encode("ab<|end|>") == Ids{3, 2, 5});
  CHECK(tokenizer.decode(Ids{3, 2, 5}, true) == "ab");
  CHECK(tokenizer.is_special(5));
  CHECK(tokenizer.id("<|end|>") == 5);
  CHECK(tokenizer.token(2) == "ab");
  CHECK_FALSE(tokenizer.token(6));
  CHECK(tokenizer.chat_templates().at("tool_use") == "T");
  write(folder / "chat_template.jinja", "J");
  CHECK(Tokenizer::load(folder.path()).chat_templates().at("default") == "J");
}

TEST_CASE("tokenizer_config.json: tokens that do not exist are refused") {
  const TemporaryFolder folder;
  write(folder / "tokenizer_config.json", R"({"eos_token": "<|im_end|>"})");
  check_contains(test::message_of<FormatError>([&] { load(folder, small_tokenizer()); }),
                 "the eos_token '<|im_end|>' is not in the vocabulary");
  write(folder / "tokenizer_config.json", "{}");
  write(folder / "generation_config.json", R"({"eos_token_id": 77})");
  check_contains(test::message_of<FormatError>([&] { load(folder, small_tokenizer()); }),
                 "generation is to end at id 77, but ids end at 4");
}

TEST_CASE("tokenizer: the token that ends a turn is a stop token") {
  const TemporaryFolder folder;
  write(folder / "tokenizer_config.json", R"({"chat_template":
      "{% for m in messages %}<s>{{ m.role }} {{ m.content }} </s>{% endfor %}"})");
  CHECK(load(folder, small_tokenizer()).stop_ids() == Ids{4});
  write(folder / "tokenizer_config.json",
        R"({"chat_template": "{% for m in messages %}{{ m.content }}b</s>{% endfor %}"})");
  CHECK(load(folder, small_tokenizer()).stop_ids().empty());
}

TEST_CASE("tokenizer: saving copies the files it was read from") {
  const TemporaryFolder from;
  const TemporaryFolder to;
  write(from / "tokenizer_config.json", R"({"bos_token": "<s>"})");
  write(from / "chat_template.jinja", "J");
  const Tokenizer tokenizer = load(from, small_tokenizer());
  tokenizer.save(to.path());
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"})
    CHECK(io::read_file(to / name, 1 << 20) == io::read_file(from / name, 1 << 20));
  CHECK(Tokenizer::load(to.path()).encode("ab<s>") == tokenizer.encode("ab<s>"));
}

TEST_CASE("tokenizer: from GGUF and from the tokenizer.json it is saved as, it is the same") {
  for (const std::string name : {"gpt-2", "llama-spm", "starcoder"}) {
    SUBCASE(name.c_str()) {
      const TemporaryFolder folder;
      const Tokenizer tokenizer = Tokenizer::load(vocabulary_file(name));
      tokenizer.save(folder.path());
      const Tokenizer saved = Tokenizer::load(folder.path());
      CHECK(saved.bos_id() == tokenizer.bos_id());
      CHECK(saved.eos_id() == tokenizer.eos_id());
      CHECK(saved.prefix_ids() == tokenizer.prefix_ids());
      CHECK(saved.vocab_size() == tokenizer.vocab_size());
      for (const std::string text : {"Hello  world 123, \n\t é漢👍</s>", "", " <s>▁\"\\ \x01"}) {
        CHECK(saved.encode(text) == tokenizer.encode(text));
        CHECK(saved.decode(tokenizer.encode(text)) == tokenizer.decode(tokenizer.encode(text)));
      }
    }
  }
}

TEST_CASE("GGUF: scores become the merges that Hugging Face's conversion made of them") {
  const auto [from_gguf, settings] =
      read_gguf_tokenizer(io::GgufFile(vocabulary_file("llama-spm")));
  const TokenizerDefinition reference =
      read_tokenizer_json(test::data("tokenizers/tinyllama-chat/tokenizer.json"));
  CHECK(from_gguf.vocabulary == reference.vocabulary);
  REQUIRE(from_gguf.merges.size() == reference.merges.size());
  size_t different = 0;
  for (size_t i = 0; i < reference.merges.size(); ++i)
    different += from_gguf.merges[i].left != reference.merges[i].left ||
                 from_gguf.merges[i].right != reference.merges[i].right;
  CHECK(different == 0);
  CHECK(settings.special_tokens.at("bos_token") == "<s>");
}

TEST_CASE("GGUF: kinds of tokenizers that graft does not know are refused by name") {
  const auto message = [](const std::string& name) {
    return test::message_of<FormatError>([&] { Tokenizer::load(vocabulary_file(name)); });
  };
  check_contains(message("gpt-neox"), "'tokenizer.ggml.pre' is missing");
}

TEST_CASE("GGUF: SmolLM2's tokenizer is the one of its Hugging Face folder") {
  const std::filesystem::path file = smollm2();
  const auto [from_gguf, settings] = read_gguf_tokenizer(io::GgufFile(file));
  const TokenizerDefinition reference =
      read_tokenizer_json(test::data("tokenizers/smollm/tokenizer.json"));
  CHECK(from_gguf.vocabulary == reference.vocabulary);
  REQUIRE(from_gguf.merges.size() == reference.merges.size());
  size_t different = 0;
  for (size_t i = 0; i < reference.merges.size(); ++i)
    different += from_gguf.merges[i].left != reference.merges[i].left ||
                 from_gguf.merges[i].right != reference.merges[i].right;
  CHECK(different == 0);

  const Tokenizer tokenizer = Tokenizer::load(file);
  const Tokenizer folder = Tokenizer::load(test::data("tokenizers/smollm"));
  const Json texts = io::read_json_file(test::golden("tokenizer.json"), {.max_bytes = 1 << 20});
  for (const std::string text : texts["texts"])
    CHECK(tokenizer.encode(text) == folder.encode(text));
  CHECK(tokenizer.bos_id() == 1);
  CHECK(tokenizer.eos_id() == 2);
  CHECK(tokenizer.stop_ids() == Ids{2});
  CHECK(tokenizer.prefix_ids().empty());
}

}  // namespace graft::text
