// Files that have a vocabulary and little else. What is done with a text then follows from
// transformers' class for them, which tokenizer_config.json names.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "graft/io/file.h"
#include "graft/io/json.h"
#include "graft/io/json_events.h"
#include "graft/text/scored_merges.h"
#include "graft/text/sentencepiece.h"
#include "graft/text/split_patterns.h"
#include "graft/text/tokenizer_definition.h"
#include "graft/text/unicode.h"

namespace graft::text {
namespace {

using io::Json;

constexpr io::JsonLimits vocabulary_limits{.max_bytes = int64_t{64} << 20, .max_depth = 1};
constexpr int64_t max_merges_bytes = int64_t{64} << 20;

/// {"token": 17, …}
class VocabularyReader final : public io::JsonHandler {
 public:
  explicit VocabularyReader(TokenizerDefinition& definition) : definition_(definition) {}

  void null() override { fail(); }
  void boolean(bool) override { fail(); }
  void negative(int64_t) override { fail(); }
  void number(double) override { fail(); }
  void text(std::string&) override { fail(); }
  void begin_array() override { fail(); }
  void end_array() override {}
  void begin_object() override {}
  void end_object() override {}
  void key(std::string& name) override { token_ = std::move(name); }
  void integer(uint64_t id) override {
    definition_.vocabulary.emplace_back(
        std::move(token_), static_cast<int64_t>(std::min<uint64_t>(id, Vocabulary::max_ids)));
  }

 private:
  [[noreturn]] void fail() const {
    throw FormatError(definition_.file, offset(),
                      concat("the id of token '", token_, "' is not a whole number of at least 0"));
  }

  TokenizerDefinition& definition_;
  std::string token_;
};

/// A merge a line: two tokens with a space between them.
std::vector<Merge> read_merges(const std::filesystem::path& path) {
  const std::string file = path.string();
  const std::string bytes = io::read_file(path, max_merges_bytes);
  if (const size_t invalid = first_invalid_byte(bytes); invalid != bytes.size())
    throw FormatError(file, static_cast<int64_t>(invalid), "not UTF-8");
  std::vector<Merge> merges;
  int64_t line_number = 0;
  for (size_t at = 0; at < bytes.size();) {
    const size_t end = std::min(bytes.find('\n', at), bytes.size());
    std::string_view line = std::string_view(bytes).substr(at, end - at);
    at = end + 1;
    ++line_number;
    if (line.ends_with('\r'))
      line.remove_suffix(1);
    if (line.starts_with("#version"))
      continue;
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos)
      throw FormatError::at_line(
          file, line_number,
          concat("merge '", line, "' is not two tokens with a space between them"));
    merges.push_back({std::string(line.substr(0, space)), std::string(line.substr(space + 1))});
  }
  return merges;
}

/// The class that the files are for; where none is named, what the model's type tells.
std::string class_of(const TokenizerSettings& settings) {
  const std::string& type = settings.model_type;
  if (!settings.tokenizer_class.empty())
    return settings.tokenizer_class;
  if (type == "gpt2")
    return "GPT2Tokenizer";
  if (type.starts_with("qwen2") || type.starts_with("qwen3"))
    return "Qwen2Tokenizer";
  return type.starts_with("gemma") ? "GemmaTokenizer" : "";
}

FormatError unknown_class(const std::string& file, const std::string& name,
                          std::string_view expected) {
  return {file, -1,
          concat("it is for the tokenizer_class '", name, "', but graft reads such a file for ",
                 expected,
                 "; let transformers write a tokenizer.json (AutoTokenizer.from_pretrained(…)"
                 ".save_pretrained(…))")};
}

Json byte_level(bool add_prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json gpt2_pipeline(const TokenizerSettings& settings) {
  return {{"pre_tokenizer", byte_level(settings.add_prefix_space.value_or(false), true)},
          {"decoder", byte_level(true, true)}};
}

Json qwen2_pipeline(const TokenizerSettings& settings) {
  const Json split{{"type", "Split"},
                   {"pattern", {{"Regex", qwen2_pattern}}},
                   {"behavior", "Isolated"},
                   {"invert", false}};
  const Json bytes = byte_level(settings.add_prefix_space.value_or(false), false);
  return {{"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", Json::array({split, bytes})}}},
          {"decoder", byte_level(true, true)}};
}

Json replace(const char* text, const char* content) {
  return {{"type", "Replace"}, {"pattern", {{"String", text}}}, {"content", content}};
}

Json spaces_and_bytes_decoder(bool strip) {
  Json decoders{replace("▁", " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}};
  if (strip)
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return {{"type", "Sequence"}, {"decoders", decoders}};
}

/// Spaces as the file has them treated. Where tokenizer_config.json says that the tokenizer is not
/// of the old ("legacy") kind, only the beginning of a text gets a space, not what stands behind a
/// special token, and not where there is one already.
Json llama_pipeline(const TokenizerSettings& settings, const SentencePieceModel& model) {
  const bool prefix = settings.add_prefix_space.value_or(model.add_dummy_prefix);
  Json pipeline{{"decoder", spaces_and_bytes_decoder(prefix)}};
  Json normalizers = Json::array();
  if (model.remove_extra_whitespaces)
    for (const auto& [pattern, content] :
         {std::pair(R"(\A +|[ ▁]+\z)", ""), std::pair(" {2,}", " ")})
      normalizers.push_back(
          {{"type", "Replace"}, {"pattern", {{"Regex", pattern}}}, {"content", content}});
  if (settings.legacy) {
    if (prefix)
      normalizers.push_back({{"type", "Prepend"}, {"prepend", "▁"}});
    normalizers.push_back(replace(" ", "▁"));
  } else {
    pipeline["pre_tokenizer"] = {{"type", "Metaspace"},
                                 {"replacement", "▁"},
                                 {"prepend_scheme", prefix ? "first" : "never"},
                                 {"split", false}};
  }
  pipeline["normalizer"] = {{"type", "Sequence"}, {"normalizers", normalizers}};
  return pipeline;
}

Json gemma_pipeline() {
  return {{"normalizer", replace(" ", "▁")},
          {"pre_tokenizer",
           {{"type", "Split"},
            {"pattern", {{"String", " "}}},
            {"behavior", "MergedWithPrevious"},
            {"invert", false}}},
          {"decoder", spaces_and_bytes_decoder(false)}};
}

void set_special_tokens(TokenizerSettings& settings,
                        std::initializer_list<std::pair<const char*, const char*>> tokens) {
  for (const auto& [purpose, token] : tokens)
    settings.special_tokens.emplace(purpose, token);
}

/// All added tokens in the order of their ids: those of the settings, those that the definition has
/// already, and whatever of the vocabulary is special.
void collect_added_tokens(TokenizerDefinition& definition, TokenizerSettings& settings) {
  std::vector<AddedToken> tokens = std::move(settings.added_tokens);
  settings.added_tokens.clear();
  std::unordered_set<std::string> known;
  for (const AddedToken& token : tokens)
    known.insert(token.content);
  const auto add = [&](const AddedToken& token) {
    if (known.insert(token.content).second)
      tokens.push_back(token);
  };
  for (const AddedToken& token : definition.added_tokens)
    add(token);
  std::unordered_set<std::string> special(settings.extra_special_tokens.begin(),
                                          settings.extra_special_tokens.end());
  for (const auto& [purpose, text] : settings.special_tokens)
    special.insert(text);
  for (const auto& [text, id] : definition.vocabulary)
    if (special.contains(text))
      add({.content = text, .id = id, .special = true});
  std::ranges::sort(tokens, {}, &AddedToken::id);
  definition.added_tokens = std::move(tokens);
}

}  // namespace

TokenizerDefinition read_vocabulary_and_merges(const std::filesystem::path& vocabulary,
                                               TokenizerSettings& settings) {
  TokenizerDefinition definition;
  definition.file = vocabulary.string();
  const std::string name = class_of(settings);
  if (name == "GPT2Tokenizer") {
    set_special_tokens(settings, {{"bos_token", "<|endoftext|>"}});
    definition.pipeline = io::to_text(gpt2_pipeline(settings));
  } else if (name == "Qwen2Tokenizer") {
    set_special_tokens(settings, {{"pad_token", "<|endoftext|>"}});
    definition.pipeline = io::to_text(qwen2_pipeline(settings));
  } else {
    throw unknown_class(definition.file, name, "GPT2Tokenizer and Qwen2Tokenizer");
  }
  set_special_tokens(settings, {{"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"}});
  VocabularyReader reader(definition);
  io::parse_json_events(io::read_file(vocabulary, vocabulary_limits.max_bytes), definition.file,
                        vocabulary_limits, reader);
  if (definition.vocabulary.empty())
    throw FormatError(definition.file, -1, "it has no tokens");
  definition.merges = read_merges(vocabulary.parent_path() / "merges.txt");
  collect_added_tokens(definition, settings);
  return definition;
}

TokenizerDefinition read_sentencepiece(const std::filesystem::path& path,
                                       TokenizerSettings& settings) {
  using Model = SentencePieceModel;
  TokenizerDefinition definition;
  definition.file = path.string();
  const Model model = read_sentencepiece_model(path);
  if (model.kind != Model::Kind::bpe)
    throw FormatError(definition.file, -1,
                      concat("it is a ",
                             model.kind == Model::Kind::unigram ? "Unigram"
                             : model.kind == Model::Kind::word  ? "word"
                                                                : "character",
                             " model of SentencePiece, expected BPE, the kind that graft supports; "
                             "use a model with another tokenizer"));
  if (model.has_charsmap)
    throw FormatError(definition.file, -1,
                      "it replaces characters by a table (normalizer_spec.precompiled_charsmap), "
                      "which graft does not support in this file; use a tokenizer.json");
  const std::string name = class_of(settings);
  definition.options = {.fuse_unk = true, .byte_fallback = true};
  if (name.empty() || name == "LlamaTokenizer") {
    definition.pipeline = io::to_text(llama_pipeline(settings, model));
    set_special_tokens(settings,
                       {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}});
  } else if (name == "GemmaTokenizer") {
    definition.pipeline = io::to_text(gemma_pipeline());
    set_special_tokens(settings, {{"bos_token", "<bos>"},
                                  {"eos_token", "<eos>"},
                                  {"unk_token", "<unk>"},
                                  {"pad_token", "<pad>"},
                                  {"mask_token", "<mask>"}});
    definition.options.unk_token = settings.special_tokens.at("unk_token");
  } else {
    throw unknown_class(definition.file, name, "LlamaTokenizer and GemmaTokenizer");
  }
  std::vector<std::string_view> texts;
  std::vector<double> scores;
  for (const Model::Piece& piece : model.pieces) {
    const auto id = static_cast<int64_t>(texts.size());
    texts.push_back(piece.text);
    scores.push_back(piece.score);
    definition.vocabulary.emplace_back(piece.text, id);
    if (piece.type == Model::Type::control || piece.type == Model::Type::user_defined)
      definition.added_tokens.push_back(
          {.content = piece.text, .id = id, .special = piece.type == Model::Type::control});
  }
  definition.merges = merges_by_score(texts, scores, definition.file);
  collect_added_tokens(definition, settings);
  return definition;
}

}  // namespace graft::text
