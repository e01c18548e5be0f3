#include <nlohmann/json.hpp>
#include <unordered_set>

#include "graft/io/file.h"
#include "graft/io/json.h"
#include "graft/text/tokenizer.h"
#include "graft/text/tokenizer_definition.h"

namespace graft::text {
namespace {

constexpr io::JsonLimits limits{.max_bytes = int64_t{16} << 20};
constexpr int64_t max_template_bytes = int64_t{1} << 20;

/// A special token is a text or an object with its content.
void read_special_tokens(const io::JsonObject& config, TokenizerSettings& settings) {
  for (const std::string& key : config.keys()) {
    if (!key.ends_with("_token"))
      continue;
    const io::JsonKind kind = config.kind(key);
    if (kind == io::JsonKind::text)
      settings.special_tokens.emplace(key, config.text(key));
    else if (kind == io::JsonKind::object)
      settings.special_tokens.emplace(key, config.object(key).text("content"));
  }
}

void read_extra_special_tokens(const io::JsonObject& config, TokenizerSettings& settings) {
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    if (config.kind(key) != io::JsonKind::array)
      continue;
    for (const io::Json& token : config.value(key)) {
      if (token.is_string())
        settings.extra_special_tokens.push_back(token);
      else if (token.is_object() && token.contains("content") && token["content"].is_string())
        settings.extra_special_tokens.push_back(token["content"]);
      else
        throw config.wrong(key, "a list of tokens");
    }
  }
}

void read_chat_templates(const io::JsonObject& config, TokenizerSettings& settings) {
  if (!config.has("chat_template"))
    return;
  if (config.kind("chat_template") == io::JsonKind::text) {
    settings.chat_templates["default"] = config.text("chat_template");
    return;
  }
  for (const io::JsonObject& named : config.objects("chat_template"))
    settings.chat_templates[named.text("name")] = named.text("template");
}

/// Tokens that tokenizer.json may lack: {"0": {"content": "<s>", ...}}.
void read_added_tokens(const io::JsonObject& config, TokenizerSettings& settings) {
  if (!config.has("added_tokens_decoder"))
    return;
  const io::JsonObject tokens = config.object("added_tokens_decoder");
  for (const std::string& key : tokens.keys()) {
    const io::JsonObject token = tokens.object(key);
    if (key.empty() || key.size() > 8 || key.find_first_not_of("0123456789") != std::string::npos)
      throw FormatError(tokens.file(), -1, concat(tokens.path_of(key), ": the key is no token id"));
    AddedToken added;
    added.content = token.text("content");
    added.id = std::stoll(key);
    added.single_word = token.boolean_or("single_word", false);
    added.lstrip = token.boolean_or("lstrip", false);
    added.rstrip = token.boolean_or("rstrip", false);
    added.special = token.boolean_or("special", false);
    added.normalized = token.boolean_or("normalized", !added.special);
    settings.added_tokens.push_back(std::move(added));
  }
}

void read_tokenizer_config(const io::JsonObject& config, TokenizerSettings& settings) {
  read_special_tokens(config, settings);
  read_chat_templates(config, settings);
  read_added_tokens(config, settings);
  read_extra_special_tokens(config, settings);
  if (config.boolean_or("split_special_tokens", false))
    throw config.wrong("split_special_tokens",
                       "false: special tokens that a text writes out are always recognised");
  settings.tokenizer_class = config.text_or("tokenizer_class", "");
  if (settings.tokenizer_class.ends_with("Fast"))
    settings.tokenizer_class.resize(settings.tokenizer_class.size() - 4);
  if (config.has("add_prefix_space"))
    settings.add_prefix_space = config.boolean("add_prefix_space");
  settings.legacy = config.boolean_or("legacy", true);
  if (config.has("add_bos_token"))
    settings.add_bos_token = config.boolean("add_bos_token");
  if (config.has("add_eos_token"))
    settings.add_eos_token = config.boolean("add_eos_token");
}

/// "eos_token_id" of a model's configuration: one id or several.
void read_stop_ids(const io::JsonObject& config, TokenizerSettings& settings) {
  constexpr io::IntegerRange ids{.min = 0, .max = Vocabulary::max_ids - 1};
  if (config.kind("eos_token_id") == io::JsonKind::array)
    settings.stop_ids = config.integers("eos_token_id", ids);
  else if (config.has("eos_token_id"))
    settings.stop_ids = {config.integer("eos_token_id", ids)};
}

void read_special_tokens_map(const io::JsonObject& map, TokenizerSettings& settings) {
  read_special_tokens(map, settings);
  read_extra_special_tokens(map, settings);
}

/// Tokens of a vocabulary's files from before 2023: {"<|im_end|>": 151645}. Which of them are
/// special is known by now.
void read_added_tokens_file(const io::JsonObject& tokens, TokenizerSettings& settings) {
  std::unordered_set<std::string> special_texts(settings.extra_special_tokens.begin(),
                                                settings.extra_special_tokens.end());
  for (const auto& [purpose, text] : settings.special_tokens)
    special_texts.insert(text);
  for (const std::string& text : tokens.keys()) {
    const bool special = special_texts.contains(text);
    settings.added_tokens.push_back(
        {.content = text,
         .id = tokens.integer(text, {.min = 0, .max = Vocabulary::max_ids - 1}),
         .normalized = !special,
         .special = special});
  }
}

void read_model_type(const io::JsonObject& config, TokenizerSettings& settings) {
  if (config.kind("model_type") == io::JsonKind::text)
    settings.model_type = config.text("model_type");
}

/// Templates that stand in files of their own: chat_template.jinja is the usual one. Where there is
/// one, those of tokenizer_config.json count no more, as in transformers.
void read_template_files(const std::filesystem::path& folder, TokenizerSettings& settings) {
  std::map<std::string, std::string> templates;
  const std::filesystem::path usual = folder / "chat_template.jinja";
  if (std::filesystem::exists(usual))
    templates["default"] = io::read_file(usual, max_template_bytes);
  std::error_code none;
  for (const auto& entry :
       std::filesystem::directory_iterator(folder / Tokenizer::chat_template_folder, none))
    if (entry.path().extension() == ".jinja")
      templates[entry.path().stem().string()] = io::read_file(entry.path(), max_template_bytes);
  if (!templates.empty())
    settings.chat_templates = std::move(templates);
}

}  // namespace

TokenizerSettings read_tokenizer_settings(const std::filesystem::path& folder) {
  TokenizerSettings settings;
  const auto read = [&](const char* name, void (*take)(const io::JsonObject&, TokenizerSettings&)) {
    const std::filesystem::path path = folder / name;
    if (!std::filesystem::exists(path))
      return false;
    const io::Json json = io::read_json_file(path, limits);
    take(io::JsonObject(json, path.string()), settings);
    return true;
  };
  read("tokenizer_config.json", read_tokenizer_config);
  read("special_tokens_map.json", read_special_tokens_map);  // for what the first leaves open
  if (settings.added_tokens.empty() && !std::filesystem::exists(folder / "tokenizer.json"))
    read("added_tokens.json", read_added_tokens_file);
  read("config.json", read_model_type);
  if (!read("generation_config.json", read_stop_ids))
    read("config.json", read_stop_ids);
  read_template_files(folder, settings);
  return settings;
}

std::string to_tokenizer_config(const TokenizerSettings& settings) {
  io::Json config = io::Json::object();
  // The class that takes tokenizer.json as it is.
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  for (const auto& [name, token] : settings.special_tokens)
    config[name] = token;
  config["clean_up_tokenization_spaces"] = false;
  if (settings.chat_templates.size() == 1 && settings.chat_templates.contains("default")) {
    config["chat_template"] = settings.chat_templates.at("default");
  } else if (!settings.chat_templates.empty()) {
    config["chat_template"] = io::Json::array();
    for (const auto& [name, source] : settings.chat_templates)
      config["chat_template"].push_back({{"name", name}, {"template", source}});
  }
  return io::to_text(config) + "\n";
}

}  // namespace graft::text
