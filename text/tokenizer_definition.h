// What a tokenizer is made of, before it is built: read from a tokenizer.json or from a GGUF file's
// metadata, and written as a tokenizer.json. Internal to text.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graft/io/gguf.h"
#include "graft/text/added_tokens.h"
#include "graft/text/bpe.h"

namespace graft::text {

/// The content of a tokenizer.json.
struct TokenizerDefinition {
  /// Where it comes from, for messages.
  std::string file;
  std::vector<std::pair<std::string, int64_t>> vocabulary;
  std::vector<Merge> merges;
  BpeOptions options;
  std::vector<AddedToken> added_tokens;
  /// JSON text of an object with the members normalizer, pre_tokenizer, post_processor, decoder.
  std::string pipeline = "{}";
};

/// What stands beside a tokenizer.json: in tokenizer_config.json and generation_config.json.
struct TokenizerSettings {
  /// Special tokens by what they are for: "bos_token", "eos_token", "pad_token", "unk_token" …
  std::map<std::string, std::string> special_tokens;
  /// Whether a text gets the bos (eos) token, where that overrides the post-processor.
  std::optional<bool> add_bos_token;
  std::optional<bool> add_eos_token;
  /// Sources of chat templates by name; the usual one is "default".
  std::map<std::string, std::string> chat_templates;
  /// Ids that end a generation besides the eos token.
  std::vector<int64_t> stop_ids;
  /// Tokens that the tokenizer.json may lack.
  std::vector<AddedToken> added_tokens;
};

/// Reads a tokenizer.json. Throws FormatError with file and place, IoError.
TokenizerDefinition read_tokenizer_json(const std::filesystem::path& path);

/// The text of a tokenizer.json.
std::string to_tokenizer_json(const TokenizerDefinition& definition);

/// Reads the settings that stand in `folder`; files that are not there are left out.
TokenizerSettings read_tokenizer_settings(const std::filesystem::path& folder);

/// The text of a tokenizer_config.json.
std::string to_tokenizer_config(const TokenizerSettings& settings);

/// The tokenizer that a GGUF file's metadata describes. Throws FormatError where it is of a kind
/// that graft does not support.
std::pair<TokenizerDefinition, TokenizerSettings> read_gguf_tokenizer(const io::GgufFile& file);

}  // namespace graft::text
