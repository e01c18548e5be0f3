#include "graft/text/tokenizer.h"

#include <algorithm>
#include <unordered_map>

#include "graft/io/file.h"
#include "graft/io/json.h"
#include "graft/text/decoder.h"
#include "graft/text/normalizer.h"
#include "graft/text/post_processor.h"
#include "graft/text/pre_tokenizer.h"
#include "graft/text/tokenizer_parts.h"
#include "graft/text/unicode.h"

namespace graft::text {

Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&& other) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&& other) noexcept = default;

Encoding Tokenizer::encode_with_offsets(std::string_view text, const EncodeOptions& options) const {
  GRAFT_CHECK(text.size() <= max_text_bytes, ConfigError, "tokenizer: a text of ", text.size(),
              " bytes, expected at most ", max_text_bytes, "; split it");
  const size_t invalid = first_invalid_byte(text);
  GRAFT_CHECK(invalid == text.size(), ConfigError, "tokenizer: the text is not UTF-8 at byte ",
              invalid, "; convert it");
  const auto size = static_cast<uint32_t>(text.size());
  Encoding out;
  const auto put_in = [&](const std::vector<int64_t>& ids, uint32_t place) {
    out.ids.insert(out.ids.end(), ids.begin(), ids.end());
    out.offsets.insert(out.offsets.end(), ids.size(), {place, place});
  };
  if (options.add_special_tokens)
    put_in(parts_->frame.prefix, 0);
  for (const auto& [token, range] : parts_->plain_tokens.split(text)) {
    if (token == nullptr) {
      parts_->blame([&] { encode_segment(text, range, out); });
      continue;
    }
    out.ids.push_back(token->id);
    out.offsets.push_back(range);
  }
  if (options.add_special_tokens)
    put_in(parts_->frame.suffix, size);
  return out;
}

Encoding Tokenizer::encode_with_prefix(std::string_view text) const {
  Encoding encoding = encode_with_offsets(text, {.add_special_tokens = false});
  const std::vector<int64_t>& prefix = parts_->frame.prefix;
  const auto [in_prefix, in_ids] = std::ranges::mismatch(prefix, encoding.ids);
  if (in_prefix != prefix.end()) {
    encoding.ids.insert(encoding.ids.begin(), prefix.begin(), prefix.end());
    encoding.offsets.insert(encoding.offsets.begin(), prefix.size(), ByteRange{});
  }
  return encoding;
}

std::vector<int64_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  return encode_with_offsets(text, options).ids;
}

void Tokenizer::encode_segment(std::string_view input, ByteRange segment, Encoding& out) const {
  const Parts& parts = *parts_;
  AlignedText text(input, segment);
  if (parts.normalizer)
    text = parts.normalizer->apply(std::move(text));
  std::vector<BpeToken> tokens;
  for (const auto& [added, range] : parts.normalized_tokens.split(text.text())) {
    if (added != nullptr) {
      out.ids.push_back(added->id);
      out.offsets.push_back(text.origin_of(range));
      continue;
    }
    AlignedText part = text.successor();
    part.append(text, range);
    Pieces pieces{std::move(part), {{0, range.size()}}};
    if (parts.pre_tokenizer)
      pieces = parts.pre_tokenizer->apply(std::move(pieces));
    tokens.clear();
    parts.bpe.encode(pieces.text.text(), pieces.pieces, tokens);
    for (const BpeToken& token : tokens) {
      out.ids.push_back(token.id);
      out.offsets.push_back(pieces.text.origin_of(token.range));
    }
  }
}

std::string Tokenizer::decode(std::span<const int64_t> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  for (const int64_t id : ids) {
    const auto added = parts_->added_by_id.find(id);
    const std::string* token = added != parts_->added_by_id.end()
                                   ? &added->second.normalized_content
                                   : parts_->bpe.vocabulary().token(id);
    if (token != nullptr && !(skip_special_tokens && parts_->is_special(*token)))
      tokens.push_back(*token);
  }
  std::string text;
  parts_->blame([&] {
    for (const std::string& piece : parts_->decoder->apply(std::move(tokens)))
      text += piece;
  });
  return text;
}

int64_t Tokenizer::vocab_size() const {
  return parts_->id_limit;
}

std::optional<std::string> Tokenizer::token(int64_t id) const {
  const auto added = parts_->added_by_id.find(id);
  if (added != parts_->added_by_id.end())
    return added->second.token.content;
  const std::string* token = parts_->bpe.vocabulary().token(id);
  return token == nullptr ? std::nullopt : std::optional(*token);
}

std::optional<int64_t> Tokenizer::id(std::string_view token) const {
  return parts_->find(token);
}

bool Tokenizer::is_special(int64_t id) const {
  const auto added = parts_->added_by_id.find(id);
  return added != parts_->added_by_id.end() && added->second.token.special;
}

bool Tokenizer::is_byte_token(int64_t id) const {
  return parts_->bpe.is_byte_token(id);
}

std::optional<int64_t> Tokenizer::bos_id() const {
  return parts_->special_id("bos_token");
}
std::optional<int64_t> Tokenizer::eos_id() const {
  return parts_->special_id("eos_token");
}
std::optional<int64_t> Tokenizer::pad_id() const {
  return parts_->special_id("pad_token");
}
const std::vector<int64_t>& Tokenizer::stop_ids() const {
  return parts_->stop_ids;
}
const std::vector<int64_t>& Tokenizer::prefix_ids() const {
  return parts_->frame.prefix;
}
const std::vector<int64_t>& Tokenizer::suffix_ids() const {
  return parts_->frame.suffix;
}
const std::map<std::string, std::string>& Tokenizer::special_tokens() const {
  return parts_->settings.special_tokens;
}
const std::map<std::string, std::string>& Tokenizer::chat_templates() const {
  return parts_->settings.chat_templates;
}
const std::string& Tokenizer::source() const {
  return parts_->source;
}

}  // namespace graft::text
