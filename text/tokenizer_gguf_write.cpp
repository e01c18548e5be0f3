#include "graft/text/tokenizer_gguf_write.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "graft/io/json.h"
#include "graft/text/gguf_words.h"
#include "graft/text/post_processor.h"
#include "graft/text/scored_merges.h"
#include "graft/text/tokenizer_definition.h"

namespace graft::text {
namespace {

using io::Json;

/// The stages of a member of the pipeline: none, one, or those of a sequence.
std::vector<Json> stages_in(const Json& pipeline, const char* key, const char* list) {
  const auto member = pipeline.find(key);
  if (member == pipeline.end() || member->is_null())
    return {};
  if (member->value("type", "") != "Sequence")
    return {*member};
  return member->value(list, std::vector<Json>{});
}

/// A stage of a byte-level pre-tokenizer without what changes no token, in one spelling.
Json plain(const Json& stage) {
  const std::string type = stage.value("type", "");
  if (type == "Digits")
    return {{"type", type}, {"individual_digits", stage.value("individual_digits", false)}};
  if (type == "ByteLevel")
    return {{"type", type},
            {"add_prefix_space", stage.value("add_prefix_space", true)},
            {"use_regex", stage.value("use_regex", true)}};
  if (type != "Split" || !stage.contains("pattern"))
    return stage;
  // To keep the matches alone is to cut them out, where the pattern matches every character.
  const bool keeps = stage.value("behavior", "") == "Removed" && stage.value("invert", false);
  return {{"type", type},
          {"pattern", stage["pattern"]},
          {"behavior", keeps ? "Isolated" : stage.value("behavior", "")},
          {"invert", stage.value("invert", false) && !keeps}};
}

std::vector<Json> plain(const std::vector<Json>& stages) {
  std::vector<Json> result;
  std::ranges::transform(stages, std::back_inserter(result),
                         [](const Json& s) { return plain(s); });
  return result;
}

bool is_replacement(const Json& stage, const char* text, const char* content) {
  return stage.value("type", "") == "Replace" && stage.value("content", "") == content &&
         stage.value("pattern", Json()) == Json{{"String", text}};
}

/// "<0x0A>".
bool is_byte_token(std::string_view token) {
  return token.size() == 6 && token.starts_with("<0x") && token.ends_with('>') &&
         token.substr(3, 2).find_first_not_of("0123456789ABCDEF") == std::string_view::npos;
}

class GgufTokenizerWriter {
 public:
  GgufTokenizerWriter(const TokenizerDefinition& definition, const TokenizerSettings& settings,
                      io::GgufValues& values)
      : definition_(definition),
        settings_(settings),
        values_(values),
        pipeline_(io::parse_json(definition.pipeline, definition.file, {.max_bytes = 64 << 20})) {
    const std::vector<Json> stages = stages_in(pipeline_, "pre_tokenizer", "pretokenizers");
    is_byte_level_ = !stages.empty() && stages.back().value("type", "") == "ByteLevel" &&
                     !definition.options.byte_fallback;
  }

  void add(int64_t vocab_size, const SpecialFrame& frame) {
    place_tokens(vocab_size);
    values_.add_text("tokenizer.ggml.model", is_byte_level_ ? "gpt2" : "llama");
    if (is_byte_level_)
      add_byte_level();
    else
      add_sentencepiece();
    add_special_tokens();
    add_frame(frame);
    add_templates();
  }
  std::vector<std::string> lost() && { return std::move(lost_); }

 private:
  [[noreturn]] void refuse(const auto&... what) const {
    throw ConfigError(concat("tokenizer: ", definition_.file, ": ", what...,
                             ", which the metadata of a GGUF file cannot say"));
  }

  void place_tokens(int64_t vocab_size);
  void place(const std::string& token, int64_t id, GgufTokenType type);
  void add_tokens();
  const GgufPre& pre_of(const std::vector<Json>& stages) const;
  void add_byte_level();
  bool adds_space();
  void add_sentencepiece();
  std::vector<float> scores() const;
  void add_special_tokens();
  void add_frame(const SpecialFrame& frame);
  void add_templates();
  std::optional<int64_t> id_of(const std::string& token) const {
    const auto found = ids_.find(token);
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }

  const TokenizerDefinition& definition_;
  const TokenizerSettings& settings_;
  io::GgufValues& values_;
  const Json pipeline_;
  bool is_byte_level_ = false;
  std::vector<std::string> tokens_;
  std::vector<int32_t> types_;
  std::unordered_map<std::string, int64_t> ids_;
  std::vector<std::string> lost_;
};

void GgufTokenizerWriter::place(const std::string& token, int64_t id, GgufTokenType type) {
  if (id >= std::ssize(tokens_))
    refuse("token '", token, "' has id ", id, " and the model has ", tokens_.size(), " of them");
  tokens_[static_cast<size_t>(id)] = token;
  types_[static_cast<size_t>(id)] = static_cast<int32_t>(type);
  ids_.emplace(token, id);
}

/// Each token in the place of its id. Ids without one get what converters put there.
void GgufTokenizerWriter::place_tokens(int64_t vocab_size) {
  types_.assign(static_cast<size_t>(vocab_size), static_cast<int32_t>(GgufTokenType::unused));
  for (int64_t id = 0; id < vocab_size; ++id)
    tokens_.push_back(concat("[PAD", id, "]"));
  for (const auto& [token, id] : definition_.vocabulary) {
    const bool is_byte = definition_.options.byte_fallback && is_byte_token(token);
    place(token, id, is_byte ? GgufTokenType::byte : GgufTokenType::normal);
  }
  int64_t stripping = 0;
  std::unordered_set<std::string> placed;
  for (const std::vector<AddedToken>* list : {&definition_.added_tokens, &settings_.added_tokens}) {
    for (const AddedToken& token : *list) {
      if (!placed.insert(token.content).second)
        continue;
      place(token.content, token.id,
            token.special ? GgufTokenType::control : GgufTokenType::user_defined);
      stripping += token.lstrip || token.rstrip || token.single_word;
    }
  }
  if (stripping > 0)
    lost_.push_back(concat(stripping,
                           " added tokens take the white space beside them or stand for "
                           "whole words only (lstrip, rstrip, single_word); the file does not say "
                           "so"));
  const auto& unk = definition_.options.unk_token;
  if (unk && !is_byte_level_)
    if (const auto id = id_of(*unk))
      types_[static_cast<size_t>(*id)] = static_cast<int32_t>(GgufTokenType::unknown);
}

void GgufTokenizerWriter::add_tokens() {
  values_.add_texts("tokenizer.ggml.tokens", tokens_);
  values_.add_i32s("tokenizer.ggml.token_type", types_);
}

/// The name for how the text is cut.
const GgufPre& GgufTokenizerWriter::pre_of(const std::vector<Json>& stages) const {
  const bool adds_space = plain(stages.back())["add_prefix_space"];
  const std::vector<Json> normalizers = stages_in(pipeline_, "normalizer", "normalizers");
  const bool is_nfc = normalizers.size() == 1 && normalizers[0].value("type", "") == "NFC";
  if (!normalizers.empty() && !is_nfc)
    refuse("its normalizer is ", io::to_text(normalizers[0], -1));
  const GgufPre* like = nullptr;
  for (const GgufPre& pre : gguf_pres()) {
    if (plain(stages) != plain(stages_of(pre, adds_space).get<std::vector<Json>>()))
      continue;
    if (pre.nfc == is_nfc && pre.ignore_merges == definition_.options.ignore_merges)
      return pre;
    like = &pre;
  }
  if (like != nullptr)
    refuse("it cuts its text as ", like->name, ", but has ", is_nfc ? "" : "not ",
           "the normal form NFC, and ignore_merges is ",
           definition_.options.ignore_merges ? "true" : "false");
  refuse("its pre_tokenizer is none of those of ", gguf_pre_names());
}

void GgufTokenizerWriter::add_byte_level() {
  const BpeOptions& options = definition_.options;
  if (!options.continuing_subword_prefix.empty() || !options.end_of_word_suffix.empty())
    refuse("it has a continuing_subword_prefix or an end_of_word_suffix");
  const std::vector<Json> stages = stages_in(pipeline_, "pre_tokenizer", "pretokenizers");
  values_.add_text("tokenizer.ggml.pre", pre_of(stages).name);
  add_tokens();
  std::vector<std::string> merges;
  for (const Merge& merge : definition_.merges) {
    if (merge.left.find(' ') != std::string::npos || merge.right.find(' ') != std::string::npos)
      refuse("the merge of '", merge.left, "' and '", merge.right, "' has a space");
    merges.push_back(concat(merge.left, " ", merge.right));
  }
  values_.add_texts("tokenizer.ggml.merges", merges);
  if (plain(stages.back())["add_prefix_space"])
    values_.add_boolean("tokenizer.ggml.add_space_prefix", true);
}

/// Whether a text gets a space in front: by the normalizer or the pre-tokenizer, which may do
/// nothing else but to put marks for spaces.
bool GgufTokenizerWriter::adds_space() {
  bool adds = false;
  bool marks = false;
  for (const Json& stage : stages_in(pipeline_, "normalizer", "normalizers")) {
    if (is_replacement(stage, " ", "▁") && !marks)
      marks = true;
    else if (stage.value("type", "") == "Prepend" && stage.value("prepend", "") == "▁" && !marks)
      adds = true;
    else
      refuse("its normalizer has ", io::to_text(stage, -1));
  }
  for (const Json& stage : stages_in(pipeline_, "pre_tokenizer", "pretokenizers")) {
    const std::string type = stage.value("type", "");
    const std::string scheme = stage.value("prepend_scheme", "always");
    const bool splits_at_spaces =
        type == "Split" && stage.value("pattern", Json()) == Json{{"String", " "}};
    if (splits_at_spaces && marks)  // of which there are none left
      continue;
    if (type != "Metaspace" || stage.value("replacement", "▁") != "▁" ||
        stage.value("split", true) || marks)
      refuse("its pre_tokenizer has ", io::to_text(stage, -1));
    marks = true;
    adds = scheme != "never";
    if (scheme == "first")
      lost_.emplace_back(
          "only the beginning of a text gets a space; as the file says it, what stands behind a "
          "special token gets one too");
  }
  if (!marks)
    refuse("it puts no ▁ for spaces");
  return adds;
}

/// Scores that give the merges their order: the lower, the later one comes.
std::vector<float> GgufTokenizerWriter::scores() const {
  std::unordered_map<std::string, double> first;
  for (size_t rank = 0; rank < definition_.merges.size(); ++rank) {
    const Merge& merge = definition_.merges[rank];
    first.emplace(merge.left + merge.right, -static_cast<double>(rank));
  }
  const double last = -static_cast<double>(definition_.merges.size()) - 1;
  std::vector<double> scores;
  std::vector<std::string_view> views;
  for (size_t id = 0; id < tokens_.size(); ++id) {
    const bool is_text = types_[id] == static_cast<int32_t>(GgufTokenType::normal) ||
                         types_[id] == static_cast<int32_t>(GgufTokenType::user_defined);
    const auto known = first.find(tokens_[id]);
    scores.push_back(known != first.end() ? known->second : is_text ? last : 0);
    views.push_back(tokens_[id]);
  }
  const std::vector<Merge> read = merges_by_score(views, scores, definition_.file);
  const bool same = std::ranges::equal(
      read, definition_.merges,
      [](const Merge& a, const Merge& b) { return a.left == b.left && a.right == b.right; });
  if (!same)
    refuse("its merges do not follow from a score for each token");
  return {scores.begin(), scores.end()};
}

void GgufTokenizerWriter::add_sentencepiece() {
  const BpeOptions& options = definition_.options;
  if (options.ignore_merges || !options.continuing_subword_prefix.empty() ||
      !options.end_of_word_suffix.empty())
    refuse("ignore_merges, a continuing_subword_prefix or an end_of_word_suffix is set");
  if (!options.fuse_unk && !options.byte_fallback)
    refuse("unknown characters are tokens each (fuse_unk is false)");
  const bool adds = adds_space();
  values_.add_text("tokenizer.ggml.pre", "default");
  add_tokens();
  values_.add_f32s("tokenizer.ggml.scores", scores());
  values_.add_boolean("tokenizer.ggml.add_space_prefix", adds);
}

void GgufTokenizerWriter::add_special_tokens() {
  constexpr std::array names = {
      std::pair("bos_token", "bos_token_id"), std::pair("eos_token", "eos_token_id"),
      std::pair("unk_token", "unknown_token_id"), std::pair("pad_token", "padding_token_id")};
  std::optional<int64_t> eos;
  for (const auto& [purpose, key] : names) {
    const auto token = settings_.special_tokens.find(purpose);
    const auto id = token == settings_.special_tokens.end() ? std::nullopt : id_of(token->second);
    if (id)
      values_.add_u32(concat("tokenizer.ggml.", key), static_cast<uint32_t>(*id));
    if (purpose == std::string_view("eos_token"))
      eos = id;
  }
  // Generation may end at more tokens; the format has names for two of them.
  constexpr std::array more = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
  size_t used = 0;
  for (const int64_t id : settings_.stop_ids) {
    if (id == eos)
      continue;
    if (used < more.size())
      values_.add_u32(more[used], static_cast<uint32_t>(id));
    else
      lost_.push_back(concat("generation also ends at id ", id, "; the file does not say so"));
    ++used;
  }
}

void GgufTokenizerWriter::add_frame(const SpecialFrame& frame) {
  const auto put_in = [&](const std::vector<int64_t>& ids, const char* purpose, const char* key) {
    const auto token = settings_.special_tokens.find(purpose);
    const auto id = token == settings_.special_tokens.end() ? std::nullopt : id_of(token->second);
    if (ids.size() > 1 || (ids.size() == 1 && ids[0] != id))
      refuse("texts get tokens around them that are not bos or eos");
    values_.add_boolean(key, !ids.empty());
  };
  put_in(frame.prefix, "bos_token", "tokenizer.ggml.add_bos_token");
  put_in(frame.suffix, "eos_token", "tokenizer.ggml.add_eos_token");
}

void GgufTokenizerWriter::add_templates() {
  const std::string usual = "tokenizer.chat_template";
  std::vector<std::string> others;
  for (const auto& [name, source] : settings_.chat_templates) {
    values_.add_text(name == "default" ? usual : concat(usual, ".", name), source);
    if (name != "default")
      others.push_back(name);
  }
  if (!others.empty())
    values_.add_texts("tokenizer.chat_templates", others);
}

}  // namespace

std::vector<std::string> add_gguf_tokenizer(io::GgufValues& values, const Tokenizer& tokenizer,
                                            int64_t vocab_size) {
  const std::filesystem::path source = tokenizer.source();
  auto [definition, settings] = source.extension() == ".gguf"
                                    ? read_gguf_tokenizer(io::GgufFile(source))
                                    : read_tokenizer_file(source);
  settings.chat_templates = tokenizer.chat_templates();  // one may have been chosen
  GgufTokenizerWriter writer(definition, settings, values);
  writer.add(vocab_size, {tokenizer.prefix_ids(), tokenizer.suffix_ids()});
  return std::move(writer).lost();
}

}  // namespace graft::text
