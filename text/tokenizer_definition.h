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

/// The content of a tokenizer.json, or what other files amount to.
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

  // What makes a tokenizer of files that have only a vocabulary:
  /// transformers' class for them, without "Fast" at its end, and the type of the model beside
  /// them; each may be empty.
  std::string tokenizer_class;
  std::string model_type;
  std::optional<bool> add_prefix_space;
  bool legacy = true;
  /// Special tokens for no purpose in particular.
  std::vector<std::string> extra_special_tokens;
};

/// The file that says what the tokenizer in a folder is: tokenizer.json, else tokenizer.model, else
/// vocab.json (beside a merges.txt). Nothing where there is none.
std::optional<std::filesystem::path> find_tokenizer_file(const std::filesystem::path& folder);

/// Reads such a file and what stands beside it. Throws FormatError with file and place, IoError.
std::pair<TokenizerDefinition, TokenizerSettings> read_tokenizer_file(
    const std::filesystem::path& path);

/// Reads a tokenizer.json. Throws FormatError with file and place, IoError.
TokenizerDefinition read_tokenizer_json(const std::filesystem::path& path);

/// The tokenizer of a vocab.json and the merges.txt beside it, as transformers makes it for the
/// class that the settings name, or of a tokenizer.model, as SentencePiece and tokenizer.json files
/// converted from one read it; takes the settings' added tokens, and gives them the special tokens
/// of the class. Throws FormatError with file and place, IoError.
TokenizerDefinition read_vocabulary_and_merges(const std::filesystem::path& vocabulary,
                                               TokenizerSettings& settings);
TokenizerDefinition read_sentencepiece(const std::filesystem::path& path,
                                       TokenizerSettings& settings);

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
