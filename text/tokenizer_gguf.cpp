#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/text/gguf_words.h"
#include "graft/text/scored_merges.h"
#include "graft/text/tokenizer_definition.h"
#include "graft/text/unicode.h"

namespace graft::text {
namespace {

using io::Json;

/// What tokenizer.ggml.model says of tokenizers that are none of ours.
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> other_models = {
    {{"bert", "WordPiece"}, {"t5", "Unigram"}, {"rwkv", "RWKV's own"}, {"none", "no tokenizer"}}};

class GgufTokenizerReader {
 public:
  explicit GgufTokenizerReader(const io::GgufFile& file) : file_(file) {
    definition_.file = file.path();
  }

  std::pair<TokenizerDefinition, TokenizerSettings> read() {
    const std::string model = file_.text("tokenizer.ggml.model");
    if (model != "gpt2" && model != "llama")
      throw unknown_model(model);
    read_tokens();
    read_special_tokens();
    read_templates();
    if (model == "gpt2")
      read_byte_level();
    else
      read_sentencepiece();
    definition_.pipeline = io::to_text(pipeline_);
    return {std::move(definition_), std::move(settings_)};
  }

 private:
  FormatError wrong(std::string_view what) const { return {file_.path(), -1, what}; }
  FormatError unknown_model(std::string_view model) const;
  GgufTokenType type_of(size_t id) const { return static_cast<GgufTokenType>(types_[id]); }

  void read_tokens();
  void read_special_tokens();
  void read_templates();
  void read_byte_level();
  void read_sentencepiece();
  void generate_merges();
  void set_frame(bool add_bos, bool add_eos);

  const io::GgufFile& file_;
  std::vector<std::string_view> tokens_;
  std::vector<int64_t> types_;
  TokenizerDefinition definition_;
  TokenizerSettings settings_;
  Json pipeline_ = Json::object();
};

FormatError GgufTokenizerReader::unknown_model(std::string_view model) const {
  std::string kind;
  for (const auto& [name, meaning] : other_models)
    if (name == model)
      kind = concat(" (", meaning, ")");
  return wrong(concat("tokenizer.ggml.model is '", model, "'", kind,
                      ", expected gpt2 or llama: graft has byte-pair tokenizers only; use a model "
                      "with one"));
}

void GgufTokenizerReader::read_tokens() {
  tokens_ = file_.text_views("tokenizer.ggml.tokens");
  types_ = file_.has("tokenizer.ggml.token_type")
               ? file_.integers("tokenizer.ggml.token_type", {.min = 1, .max = 6})
               : std::vector(tokens_.size(), static_cast<int64_t>(GgufTokenType::normal));
  if (types_.size() != tokens_.size())
    throw wrong(concat("tokenizer.ggml.token_type has ", types_.size(), " elements for ",
                       tokens_.size(), " tokens"));
  for (size_t id = 0; id < tokens_.size(); ++id) {
    const std::string_view token = tokens_[id];
    if (token.size() > max_piece_bytes || first_invalid_byte(token) != token.size())
      throw wrong(concat("token ", id, " of tokenizer.ggml.tokens is not UTF-8 of at most ",
                         max_piece_bytes, " bytes"));
    definition_.vocabulary.emplace_back(token, static_cast<int64_t>(id));
    const GgufTokenType type = type_of(id);
    if (type == GgufTokenType::control || type == GgufTokenType::user_defined ||
        type == GgufTokenType::unknown)
      definition_.added_tokens.push_back({.content = std::string(token),
                                          .id = static_cast<int64_t>(id),
                                          .special = type != GgufTokenType::user_defined});
  }
}

void GgufTokenizerReader::read_special_tokens() {
  const auto read = [&](std::string_view key) -> std::optional<int64_t> {
    const std::string full = concat("tokenizer.ggml.", key);
    if (!file_.has(full))
      return std::nullopt;
    return file_.integer(full, {.min = 0, .max = static_cast<int64_t>(tokens_.size()) - 1});
  };
  const std::pair<const char*, const char*> names[] = {{"bos_token_id", "bos_token"},
                                                       {"eos_token_id", "eos_token"},
                                                       {"unknown_token_id", "unk_token"},
                                                       {"padding_token_id", "pad_token"}};
  for (const auto& [key, name] : names)
    if (const auto id = read(key))
      settings_.special_tokens[name] = tokens_[static_cast<size_t>(*id)];
  for (const char* key : {"eot_token_id", "eom_token_id"})
    if (const auto id = read(key))
      settings_.stop_ids.push_back(*id);
}

void GgufTokenizerReader::read_templates() {
  constexpr std::string_view usual = "tokenizer.chat_template";
  if (file_.has(usual))
    settings_.chat_templates["default"] = file_.text(usual);
  if (file_.has("tokenizer.chat_templates"))
    for (const std::string& name : file_.texts("tokenizer.chat_templates"))
      settings_.chat_templates[name] = file_.text(concat(usual, ".", name));
}

/// The post-processor that puts bos and eos around a text.
void GgufTokenizerReader::set_frame(bool add_bos, bool add_eos) {
  add_bos = file_.boolean_or("tokenizer.ggml.add_bos_token", add_bos);
  add_eos = file_.boolean_or("tokenizer.ggml.add_eos_token", add_eos);
  if (!add_bos && !add_eos)
    return;
  Json special_tokens = Json::object();
  const auto special = [&](const char* name) {
    const auto found = settings_.special_tokens.find(name);
    if (found == settings_.special_tokens.end())
      throw wrong(concat("texts are to get the ", name, ", but the file does not say which it is"));
    const std::string& token = found->second;
    const auto id = std::ranges::find(tokens_, token) - tokens_.begin();
    special_tokens[token] = {{"id", token}, {"ids", {id}}, {"tokens", {token}}};
    return Json{{"SpecialToken", {{"id", token}, {"type_id", 0}}}};
  };
  const Json first{{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const Json second{{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
  Json single = Json::array();
  if (add_bos)
    single.push_back(special("bos_token"));
  single.push_back(first);
  if (add_eos)
    single.push_back(special("eos_token"));
  Json pair = single;
  pair.push_back(second);
  pipeline_["post_processor"] = {{"type", "TemplateProcessing"},
                                 {"single", single},
                                 {"pair", pair},
                                 {"special_tokens", special_tokens}};
}

void GgufTokenizerReader::read_byte_level() {
  const std::string name = file_.text("tokenizer.ggml.pre");
  const auto pre = std::ranges::find(gguf_pres(), name, &GgufPre::name);
  if (pre == gguf_pres().end())
    throw wrong(concat("tokenizer.ggml.pre is '", name, "', expected one of ", gguf_pre_names(),
                       "; convert the model's Hugging Face folder instead"));
  for (const std::string_view merge : file_.text_views("tokenizer.ggml.merges")) {
    const size_t space = merge.find(' ');
    if (space == std::string_view::npos)
      throw wrong(concat("merge '", merge, "' is not two tokens with a space between them"));
    definition_.merges.push_back(
        {std::string(merge.substr(0, space)), std::string(merge.substr(space + 1))});
  }
  definition_.options.ignore_merges = pre->ignore_merges;

  const Json stages = stages_of(*pre, file_.boolean_or("tokenizer.ggml.add_space_prefix", false));
  if (pre->nfc)
    pipeline_["normalizer"] = {{"type", "NFC"}};
  pipeline_["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", stages}};
  pipeline_["decoder"] = stages.back();
  set_frame(pre->add_bos, false);
}

void GgufTokenizerReader::generate_merges() {
  const std::vector<double> scores = file_.numbers("tokenizer.ggml.scores");
  if (scores.size() != tokens_.size())
    throw wrong(concat("tokenizer.ggml.scores has ", scores.size(), " elements for ",
                       tokens_.size(), " tokens"));
  if (!std::ranges::all_of(scores, [](double score) { return std::isfinite(score); }))
    throw wrong("tokenizer.ggml.scores has an element that is not finite");
  definition_.merges = merges_by_score(tokens_, scores, file_.path());
}

void GgufTokenizerReader::read_sentencepiece() {
  generate_merges();
  BpeOptions& options = definition_.options;
  options.fuse_unk = true;
  const auto unk = settings_.special_tokens.find("unk_token");
  if (unk != settings_.special_tokens.end())
    options.unk_token = unk->second;
  options.byte_fallback =
      std::ranges::find(types_, static_cast<int64_t>(GgufTokenType::byte)) != types_.end();

  const Json space_to_mark{{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}};
  const Json mark_to_space{{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}};
  Json normalizers = Json::array();
  Json decoders{mark_to_space, {{"type", "ByteFallback"}}, {{"type", "Fuse"}}};
  const bool add_prefix = file_.boolean_or("tokenizer.ggml.add_space_prefix", true);
  if (add_prefix) {
    normalizers.push_back({{"type", "Prepend"}, {"prepend", "▁"}});
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  normalizers.push_back(space_to_mark);
  pipeline_["normalizer"] = {{"type", "Sequence"}, {"normalizers", normalizers}};
  pipeline_["decoder"] = {{"type", "Sequence"}, {"decoders", decoders}};
  set_frame(true, false);
}

}  // namespace

std::pair<TokenizerDefinition, TokenizerSettings> read_gguf_tokenizer(const io::GgufFile& file) {
  return GgufTokenizerReader(file).read();
}

}  // namespace graft::text
