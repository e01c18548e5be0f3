// Every vector of the data folder for a tokenizer that is there: texts with the ids that the
// reference gave them. Each table says how many there are, so that none goes missing in silence.
#include <nlohmann/json.hpp>
#include <sstream>

#include "graft/io/file.h"
#include "graft/io/json.h"
#include "graft/tests/support/test.h"
#include "graft/text/tokenizer.h"

namespace graft::text {
namespace {

using io::Json;
using Ids = std::vector<int64_t>;

std::vector<std::string> split(std::string_view text, std::string_view separator) {
  std::vector<std::string> parts;
  for (size_t at = text.find(separator); at != std::string_view::npos; at = text.find(separator)) {
    parts.emplace_back(text.substr(0, at));
    text.remove_prefix(at + separator.size());
  }
  if (!text.empty())
    parts.emplace_back(text);
  return parts;
}

Ids read_ids(const std::string& line) {
  Ids ids;
  std::istringstream words(line);
  for (int64_t id = 0; words >> id;)
    ids.push_back(id);
  return ids;
}

Json read_vectors(const std::string& file) {
  return io::read_json_file(test::data("tokenizers/test-vectors-swift-transformers/" + file),
                            {.max_bytes = 64 << 20});
}

/// A text, its ids, and what is wrong with them if anything.
class Vectors {
 public:
  Vectors(std::string name, const std::string& tokenizer)
      : Vectors(std::move(name), Tokenizer::load(test::data(tokenizer))) {}
  Vectors(std::string name, Tokenizer tokenizer)
      : name_(std::move(name)), tokenizer_(std::move(tokenizer)) {}

  void check_ids(const std::string& text, const Ids& expected, bool with_frame = false) {
    ++count_;
    CHECK_MESSAGE(tokenizer_.encode(text, {.add_special_tokens = with_frame}) == expected, name_,
                  ": ", text);
  }
  void check_text(const Ids& ids, const std::string& expected, bool skip_special_tokens = false) {
    CHECK_MESSAGE(tokenizer_.decode(ids, skip_special_tokens) == expected, name_, ": ", expected);
  }
  void check_tokens(const Ids& ids, const Json& expected) {
    REQUIRE(ids.size() == expected.size());
    for (size_t i = 0; i < ids.size(); ++i)
      CHECK(tokenizer_.token(ids[i]) == expected[i].get<std::string>());
  }
  /// How many texts have been compared.
  size_t finish() const {
    std::printf("       %s: %zu texts\n", name_.c_str(), count_);
    return count_;
  }

 private:
  std::string name_;
  Tokenizer tokenizer_;
  size_t count_ = 0;
};

constexpr const char* llama_cpp = "tokenizers/llama.cpp-models/ggml-vocab-";

void check_llama_cpp(Vectors& vectors, const std::string& name) {
  const std::string base = llama_cpp + name + ".gguf";
  const auto texts =
      split(io::read_file(test::data(base + ".inp"), 1 << 20), "\n__ggml_vocab_test__\n");
  const auto lines = split(io::read_file(test::data(base + ".out"), 1 << 20), "\n");
  REQUIRE(texts.size() == lines.size());
  for (size_t i = 0; i < texts.size(); ++i)
    vectors.check_ids(texts[i], read_ids(lines[i]));
  CHECK(vectors.finish() == 46);
}

}  // namespace

TEST_CASE("tokenizer: llama.cpp's vectors, from Hugging Face's files and from GGUF") {
  struct Row {
    std::string vectors;
    std::string tokenizer;
  };
  const Row rows[] = {
      {"gpt-2", "tokenizers/gpt2"},
      {"llama-spm", "tokenizers/tinyllama-chat"},
      {"llama-bpe", "tokenizers/llama3"},
      {"qwen2", "tokenizers/qwen2.5"},
      {"deepseek-r1-qwen", "tokenizers/qwen2.5"},
      {"gpt-2", llama_cpp + std::string("gpt-2.gguf")},
      {"llama-spm", llama_cpp + std::string("llama-spm.gguf")},
      {"phi-3", llama_cpp + std::string("phi-3.gguf")},
      {"starcoder", llama_cpp + std::string("starcoder.gguf")},
      {"deepseek-coder", llama_cpp + std::string("deepseek-coder.gguf")},
  };
  for (const auto& [name, path] : rows) {
    Vectors vectors(name + " with " + path, path);
    check_llama_cpp(vectors, name);
  }
  // With tokenizer_config.json beside it, which says that it is not legacy, it would treat leading
  // spaces as transformers does then.
  const test::TemporaryFolder alone;
  std::filesystem::copy(test::data("tokenizers/tinyllama-chat/tokenizer.model"), alone.path());
  Vectors vectors("llama-spm with tokenizer.model alone", Tokenizer::load(alone.path()));
  check_llama_cpp(vectors, "llama-spm");
}

TEST_CASE("tokenizer: conformance texts, there and back") {
  struct Row {
    const char* file;
    const char* tokenizer;
    size_t count;
  };
  for (const auto& [file, tokenizer, count] :
       {Row{"openai-community__gpt2", "tokenizers/gpt2", 30},
        Row{"Qwen2.5-0.5B", "tokenizers/qwen2.5", 30},
        Row{"TinyLlama-1.1B-Chat-v1.0", "tokenizers/tinyllama-chat", 30},
        Row{"TinyLlama-1.1B-Chat-v1.0", "tokenizers/tinyllama-chat/tokenizer.model", 30}}) {
    const Json entries = read_vectors(concat("conformance/", file, ".json"))["entries"];
    Vectors vectors(concat(file, " with ", tokenizer), tokenizer);
    for (const Json& entry : entries) {
      const Ids ids = entry["input_ids"];
      // A text that a normal form changes stands there as it is read back, which has the same ids.
      vectors.check_ids(entry["decoded_skip_special"], ids, true);
      vectors.check_text(ids, entry["decoded_with_special"]);
      vectors.check_text(ids, entry["decoded_skip_special"], true);
      vectors.check_tokens(ids, entry["tokens"]);
    }
    CHECK(vectors.finish() == count);
  }
}

TEST_CASE("tokenizer: TinyLlama's conformance texts of many languages") {
  Vectors vectors("multilingual", "tokenizers/tinyllama-chat");
  const Json inputs = read_vectors("conformance/inputs.json");
  const Json entries = read_vectors("conformance/tinyllama_multilingual.json")["entries"];
  REQUIRE(inputs.size() == entries.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Json& entry = entries[i];
    REQUIRE(entry["id"] == inputs[i]["id"]);
    vectors.check_ids(inputs[i]["text"], entry["input_ids"], true);
    vectors.check_text(entry["input_ids"], entry["decoded_with_special"]);
    vectors.check_text(entry["input_ids"], entry["decoded_skip_special"], true);
    vectors.check_tokens(entry["input_ids"], entry["tokens"]);
  }
  CHECK(vectors.finish() == 83);
}

TEST_CASE("tokenizer: vectors of models with the same vocabularies") {
  struct Row {
    const char* model;
    const char* tokenizer;
    bool has_bos;
  };
  const Json tests = read_vectors("tokenizer_tests.json");
  for (const auto& [model, tokenizer, has_bos] :
       {Row{"distilgpt2", "tokenizers/gpt2", false},
        Row{"coreml-projects/Llama-2-7b-chat-coreml", "tokenizers/tinyllama-chat", true},
        Row{"pcuenq/Llama-3.2-1B-Instruct-tokenizer", "tokenizers/llama3", true}}) {
    REQUIRE(tests.contains(model));
    Vectors vectors(concat(model, " with ", tokenizer), tokenizer);
    for (const Json& entry : tests[model]) {
      Ids ids = entry["encoded"]["input_ids"];
      if (has_bos)
        ids.erase(ids.begin());
      vectors.check_ids(entry["input"], ids);
    }
    CHECK(vectors.finish() == 18);
  }
}

TEST_CASE("tokenizer: a long French text as gpt2, Llama 2 and Llama 3 read it") {
  struct Row {
    const char* file;
    const char* tokenizer;
  };
  for (const auto& [file, tokenizer] : {Row{"gpt2_encoded_tokens.json", "tokenizers/gpt2"},
                                        Row{"llama_encoded.json", "tokenizers/tinyllama-chat"},
                                        Row{"llama_3.2_encoded.json", "tokenizers/llama3"}}) {
    const Json entry = read_vectors(file);
    Vectors vectors(file, tokenizer);
    Ids ids = entry["token_ids"];
    if (ids.size() > entry["bpe_tokens"].size())  // a bos token stands before them
      ids.erase(ids.begin());
    vectors.check_ids(entry["text"], ids);
    vectors.check_tokens(ids, entry["bpe_tokens"]);
    CHECK(vectors.finish() == 1);
  }
}

}  // namespace graft::text
