#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "graft/io/file.h"
#include "graft/io/gguf_model.h"
#include "graft/io/json.h"
#include "graft/text/chat.h"
#include "graft/text/tokenizer_parts.h"

namespace graft::text {
namespace {

/// The files that make up a tokenizer in a folder.
constexpr std::array<std::string_view, 8> tokenizer_files = {"tokenizer.json",
                                                             "tokenizer_config.json",
                                                             "special_tokens_map.json",
                                                             "added_tokens.json",
                                                             "vocab.json",
                                                             "merges.txt",
                                                             "tokenizer.model",
                                                             "chat_template.jinja"};
constexpr int64_t max_file_bytes = int64_t{256} << 20;

bool is_gguf(const std::filesystem::path& path) {
  return path.extension() == ".gguf";
}

bool is_sentencepiece(const std::filesystem::path& path) {
  return path.extension() == ".model";
}

bool is_tokenizer_json(const std::filesystem::path& path) {
  return !is_gguf(path) && !is_sentencepiece(path) && path.filename() != "vocab.json";
}

void write(const std::filesystem::path& folder, std::string_view name, std::string_view text) {
  io::write_file_atomically(folder / name, text);
}

}  // namespace

Tokenizer::Parts::Parts(TokenizerDefinition definition, TokenizerSettings settings_)
    : source(definition.file),
      settings(std::move(settings_)),
      bpe(Vocabulary(std::move(definition.vocabulary), definition.file), definition.merges,
          std::move(definition.options), definition.file),
      id_limit(bpe.vocabulary().id_limit()) {
  const io::Json pipeline = io::parse_json(definition.pipeline, source, {.max_bytes = 64 << 20});
  const io::JsonObject stages(pipeline, source);
  normalizer = read_normalizer(stages, "normalizer");
  pre_tokenizer = read_pre_tokenizer(stages, "pre_tokenizer");
  decoder = read_decoder(stages, "decoder");
  add_tokens(definition.added_tokens);
  frame = read_special_frame(stages, "post_processor", id_limit);
  set_frame();
  set_stop_ids();
}

/// Ids follow from the vocabulary and the order of the added tokens; the files repeat them.
void Tokenizer::Parts::add_tokens(const std::vector<AddedToken>& tokens) {
  int64_t next_id = bpe.vocabulary().size();
  const auto add = [&](const AddedToken& token) {
    const int32_t known = bpe.vocabulary().find(token.content);
    const int64_t id = known != Vocabulary::none ? known : next_id++;
    if (token.id != id)
      throw FormatError(source, -1,
                        concat("added token '", token.content, "' has id ", token.id,
                               ", but its place in the list makes it ", id));
    add_token(token);
  };
  for (const AddedToken& token : tokens)
    add(token);
  std::vector<AddedToken>& missing = settings.added_tokens;
  std::erase_if(missing,
                [&](const AddedToken& token) { return added_ids.contains(token.content); });
  std::ranges::sort(missing, {}, &AddedToken::id);
  for (const AddedToken& token : missing)
    add(token);
}

void Tokenizer::Parts::add_token(const AddedToken& token) {
  if (token.content.empty())
    throw FormatError(source, -1, concat("added token ", token.id, " is empty"));
  if (!added_ids.emplace(token.content, token.id).second)
    throw FormatError(source, -1, concat("added token '", token.content, "' is there twice"));
  Added& added = added_by_id[token.id];
  added = {token, token.content};
  id_limit = std::max(id_limit, token.id + 1);
  if (!token.normalized) {
    blame([&] { plain_tokens.add(token.content, added.token); });
    return;
  }
  if (normalizer) {
    const ByteRange all{0, static_cast<uint32_t>(token.content.size())};
    blame([&] {
      added.normalized_content = normalizer->apply(AlignedText(token.content, all)).text();
    });
  }
  if (!added.normalized_content.empty())
    blame([&] { normalized_tokens.add(added.normalized_content, added.token); });
}

std::optional<int64_t> Tokenizer::Parts::find(std::string_view token) const {
  const auto added = added_ids.find(std::string(token));
  if (added != added_ids.end())
    return added->second;
  const int32_t id = bpe.vocabulary().find(token);
  return id == Vocabulary::none ? std::nullopt : std::optional<int64_t>(id);
}

std::optional<int64_t> Tokenizer::Parts::special_id(const std::string& purpose) const {
  const auto named = settings.special_tokens.find(purpose);
  return named == settings.special_tokens.end() ? std::nullopt : find(named->second);
}

bool Tokenizer::Parts::is_special(const std::string& text) const {
  const auto id = added_ids.find(text);
  return id != added_ids.end() && added_by_id.at(id->second).token.special;
}

void Tokenizer::Parts::set_frame() {
  for (const char* purpose : {"bos_token", "eos_token"})
    if (settings.special_tokens.contains(purpose) && !special_id(purpose))
      throw FormatError(source, -1,
                        concat("the ", purpose, " '", settings.special_tokens.at(purpose),
                               "' is not in the vocabulary"));
  if (!settings.add_bos_token && !settings.add_eos_token)
    return;
  frame = {};
  const auto bos = special_id("bos_token");
  const auto eos = special_id("eos_token");
  if (settings.add_bos_token.value_or(false) && bos)
    frame.prefix = {*bos};
  if (settings.add_eos_token.value_or(false) && eos)
    frame.suffix = {*eos};
}

void Tokenizer::Parts::set_stop_ids() {
  add_stop_id(special_id("eos_token"));
  for (const int64_t id : settings.stop_ids) {
    if (id >= id_limit)
      throw FormatError(
          source, -1, concat("generation is to end at id ", id, ", but ids end at ", id_limit - 1));
    add_stop_id(id);
  }
}

void Tokenizer::Parts::add_stop_id(std::optional<int64_t> id) {
  if (id && !std::ranges::binary_search(stop_ids, *id))
    stop_ids.insert(std::ranges::upper_bound(stop_ids, *id), *id);
}

Tokenizer::Tokenizer(TokenizerDefinition definition, TokenizerSettings settings)
    : parts_(std::make_unique<Parts>(std::move(definition), std::move(settings))) {
  const auto usual = chat_templates().find("default");
  if (usual != chat_templates().end())
    parts_->add_stop_id(end_of_turn(*this, usual->second));
}

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  if (is_gguf(path))
    return from_gguf(io::GgufModel(path).metadata());
  const bool is_folder = std::filesystem::is_directory(path);
  const std::optional<std::filesystem::path> file = is_folder ? find_tokenizer_file(path) : path;
  GRAFT_CHECK(file && std::filesystem::exists(*file), ConfigError, "tokenizer: ", path.string(),
              is_folder ? " holds none" : " does not exist",
              "; give a folder with a tokenizer.json, a tokenizer.model, or a vocab.json and a "
              "merges.txt, or give a .gguf file");
  auto [definition, settings] = read_tokenizer_file(*file);
  return {std::move(definition), std::move(settings)};
}

Tokenizer Tokenizer::from_gguf(const io::GgufFile& file) {
  auto [definition, settings] = read_gguf_tokenizer(file);
  return {std::move(definition), std::move(settings)};
}

std::span<const std::string_view> Tokenizer::file_names() {
  return tokenizer_files;
}

void Tokenizer::save(const std::filesystem::path& folder) const {
  const std::filesystem::path source = parts_->source;
  if (is_gguf(source)) {
    const auto [definition, settings] = read_gguf_tokenizer(io::GgufFile(source));
    write(folder, "tokenizer.json", to_tokenizer_json(definition));
    write(folder, "tokenizer_config.json", to_tokenizer_config(settings));
    save_chat_templates(folder);
    return;
  }
  for (const std::string_view name : file_names()) {
    const std::filesystem::path from = source.parent_path() / name;
    if (std::filesystem::exists(from))
      write(folder, name, io::read_file(from, max_file_bytes));
  }
  save_chat_templates(folder);
  if (is_tokenizer_json(source)) {
    write(folder, "tokenizer.json", io::read_file(source, max_file_bytes));
    return;
  }
  // What the class of a vocabulary's files does with them, for who does not know the class.
  const auto [definition, settings] = read_tokenizer_file(source);
  write(folder, "tokenizer.json", to_tokenizer_json(definition));
  if (!std::filesystem::exists(folder / "tokenizer_config.json"))
    write(folder, "tokenizer_config.json", to_tokenizer_config(settings));
}

std::optional<std::filesystem::path> find_tokenizer_file(const std::filesystem::path& folder) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.json"})
    if (std::filesystem::exists(folder / name))
      return folder / name;
  return std::nullopt;
}

std::pair<TokenizerDefinition, TokenizerSettings> read_tokenizer_file(
    const std::filesystem::path& path) {
  TokenizerSettings settings = read_tokenizer_settings(path.parent_path());
  TokenizerDefinition definition = is_sentencepiece(path) ? read_sentencepiece(path, settings)
                                   : is_tokenizer_json(path)
                                       ? read_tokenizer_json(path)
                                       : read_vocabulary_and_merges(path, settings);
  return {std::move(definition), std::move(settings)};
}

}  // namespace graft::text
