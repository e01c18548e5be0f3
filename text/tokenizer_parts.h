// What a Tokenizer consists of. Internal to text.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "graft/text/added_tokens.h"
#include "graft/text/bpe.h"
#include "graft/text/decoder.h"
#include "graft/text/normalizer.h"
#include "graft/text/post_processor.h"
#include "graft/text/pre_tokenizer.h"
#include "graft/text/tokenizer.h"
#include "graft/text/tokenizer_definition.h"

namespace graft::text {

struct Tokenizer::Parts {
  /// An added token, and how it looks in normalised text and for the decoder.
  struct Added {
    AddedToken token;
    std::string normalized_content;
  };

  Parts(TokenizerDefinition definition, TokenizerSettings settings);
  Parts(const Parts&) = delete;

  std::optional<int64_t> find(std::string_view token) const;
  /// Id of the special token for `purpose` ("bos_token").
  std::optional<int64_t> special_id(const std::string& purpose) const;
  void add_stop_id(std::optional<int64_t> id);
  /// True where what the decoder is given for a token is how a special token is written. The
  /// reference goes by the text too: a special token that normalisation changes is not left out.
  bool is_special(const std::string& text) const;

  /// Runs the tokenizer's stages. What they cannot do to a text is said of the file: a pattern
  /// that takes too many steps, say.
  template <class Action>
  void blame(const Action& action) const {
    try {
      action();
    } catch (const ConfigError& error) {
      throw FormatError(source, -1, error.what());
    }
  }

  std::string source;
  TokenizerSettings settings;
  Bpe bpe;
  std::unique_ptr<Normalizer> normalizer;
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  std::unique_ptr<Decoder> decoder;
  SpecialFrame frame;
  std::unordered_map<int64_t, Added> added_by_id;
  std::unordered_map<std::string, int64_t> added_ids;
  AddedTokenFinder plain_tokens;       // looked for in the input
  AddedTokenFinder normalized_tokens;  // looked for in the normalised text
  int64_t id_limit = 0;
  std::vector<int64_t> stop_ids;  // ascending
  /// Where the chat template that was chosen comes from; empty where none was. The tokenizer's
  /// files do not say it.
  std::string chosen_template_source;

 private:
  void add_tokens(const std::vector<AddedToken>& tokens);
  void add_token(const AddedToken& token);
  void set_frame();
  void set_stop_ids();
};

}  // namespace graft::text
