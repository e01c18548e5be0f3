// Tokenizer: text to token ids and back, exactly as Hugging Face's tokenizers library does it.
//
// Reads a Hugging Face folder (tokenizer.json, else tokenizer.model, else vocab.json and
// merges.txt, with tokenizer_config.json …), one of these files alone, or a GGUF file's metadata.
// Byte-pair encoding, byte-level (GPT-2, Llama 3, Qwen, SmolLM2) or with byte fallback (Llama 2,
// TinyLlama); anything in a file that graft does not support is refused by name, never ignored. The
// truncation and padding that a tokenizer.json may ask for are left to the caller, as transformers
// does. Safe to use from several threads; moved, not copied.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/text/byte_range.h"

namespace graft::io {
class GgufFile;
}

namespace graft::text {

struct TokenizerDefinition;
struct TokenizerSettings;

struct EncodeOptions {
  /// Put around the text what the tokenizer puts around texts: prefix_ids and suffix_ids.
  bool add_special_tokens = true;
};

/// Token ids, and for each the bytes of the input it stands for: in order, exact to the byte, empty
/// for tokens that were put in.
struct Encoding {
  std::vector<int64_t> ids;
  std::vector<ByteRange> offsets;
};

class Tokenizer {
 public:
  /// `path` is a folder with a tokenizer.json, a tokenizer.model (SentencePiece) or a vocab.json
  /// (beside a merges.txt), such a file, or a .gguf file. Throws FormatError with file and place,
  /// ConfigError where there is no such thing, IoError.
  static Tokenizer load(const std::filesystem::path& path);
  /// From the metadata of an open GGUF file. Throws FormatError.
  static Tokenizer from_gguf(const io::GgufFile& file);
  ~Tokenizer();
  Tokenizer(Tokenizer&& other) noexcept;
  Tokenizer& operator=(Tokenizer&& other) noexcept;

  /// Special tokens written out in the text are recognised. Throws ConfigError where the text is
  /// not valid UTF-8 or longer than max_text_bytes, FormatError where a pattern of the tokenizer
  /// takes too many steps on it.
  std::vector<int64_t> encode(std::string_view text, const EncodeOptions& options = {}) const;
  Encoding encode_with_offsets(std::string_view text, const EncodeOptions& options = {}) const;
  /// With prefix_ids before it, unless the text writes them out itself: bos exactly once, and
  /// nothing behind. For what a model is to continue, and for texts that a template has written.
  Encoding encode_with_prefix(std::string_view text) const;

  /// The text of `ids`; ids without a token add nothing. Bytes that are no UTF-8 become U+FFFD.
  std::string decode(std::span<const int64_t> ids, bool skip_special_tokens = false) const;

  /// One more than the largest id.
  int64_t vocab_size() const;
  /// As the vocabulary spells it ("Ġthe"), or nothing where the id has no token.
  std::optional<std::string> token(int64_t id) const;
  std::optional<int64_t> id(std::string_view token) const;
  /// True for tokens that skip_special_tokens leaves out.
  bool is_special(int64_t id) const;
  /// True for the tokens "<0x..>" that spell characters byte by byte.
  bool is_byte_token(int64_t id) const;

  std::optional<int64_t> bos_id() const;
  std::optional<int64_t> eos_id() const;
  std::optional<int64_t> pad_id() const;
  /// Ids that end a generation, ascending: eos, those of generation_config.json (or of the GGUF
  /// file), and the token that ends a turn in the chat template.
  const std::vector<int64_t>& stop_ids() const;
  /// What add_special_tokens puts before and behind a text.
  const std::vector<int64_t>& prefix_ids() const;
  const std::vector<int64_t>& suffix_ids() const;
  /// The special tokens' texts by what they are for: "bos_token", "eos_token", "pad_token" …
  const std::map<std::string, std::string>& special_tokens() const;

  /// The folder of templates beside the tokenizer's files.
  static constexpr const char* chat_template_folder = "additional_chat_templates";
  /// Sources of the chat templates by name; the usual one is "default".
  const std::map<std::string, std::string>& chat_templates() const;
  /// Where they were read from, for messages.
  const std::string& chat_template_source() const;

  /// Takes one of its chat templates by name, or the one in a file, for all conversations: it alone
  /// stays, as "default", and the token that ends its turns is one of stop_ids. To be called before
  /// the tokenizer is used. Throws ConfigError where there is neither, naming the templates.
  void choose_chat_template(const std::string& name_or_file);

  /// Writes the tokenizer's files into an existing folder: copies of those it was read from, and
  /// where a tokenizer.json was not among them, one that transformers reads as the same tokenizer.
  /// Throws IoError.
  void save(const std::filesystem::path& folder) const;
  /// The names of all files that `save` may write, and the loader looks for.
  static std::span<const std::string_view> file_names();
  /// Where it was read from, for messages.
  const std::string& source() const;

 private:
  struct Parts;
  Tokenizer(TokenizerDefinition definition, TokenizerSettings settings);
  void save_chat_templates(const std::filesystem::path& folder) const;
  void encode_segment(std::string_view input, ByteRange segment, Encoding& out) const;

  std::unique_ptr<Parts> parts_;
};

}  // namespace graft::text
