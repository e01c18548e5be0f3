#include "graft/text/normalizer.h"

#include <functional>
#include <vector>

#include "graft/text/byte_alphabet.h"
#include "graft/text/charsmap.h"
#include "graft/text/text_pattern.h"
#include "graft/text/unicode.h"

namespace graft::text {
namespace {

/// Rewrites character by character: `rewrite` appends what becomes of one.
class CharacterNormalizer final : public Normalizer {
 public:
  using Rewrite = std::function<void(std::string& out, char32_t character)>;
  explicit CharacterNormalizer(Rewrite rewrite) : rewrite_(std::move(rewrite)) {}

  AlignedText apply(AlignedText text) const override {
    AlignedText result = text.successor();
    result.reserve(text.size());
    std::string rewritten;
    for (uint32_t at = 0; at < text.size();) {
      const CodePoint character = code_point_at(text.text(), at);
      const ByteRange part{at, at + character.size};
      rewritten.clear();
      rewrite_(rewritten, character.value);
      if (rewritten == part.of(text.text()))
        result.append(text, part);
      else
        result.append(rewritten, text.origin_of(part));
      at = part.end;
    }
    return result;
  }

 private:
  Rewrite rewrite_;
};

/// A Unicode normal form, chunk by chunk, so that origins stay narrow.
class NormalFormNormalizer final : public Normalizer {
 public:
  explicit NormalFormNormalizer(NormalForm form) : form_(form) {}

  AlignedText apply(AlignedText text) const override {
    const std::string_view bytes = text.text();
    if (first_non_ascii(bytes) == bytes.size())
      return text;
    AlignedText result = text.successor();
    result.reserve(text.size());
    for (uint32_t begin = 0; begin < text.size();) {
      const ByteRange chunk{begin, end_of_chunk(bytes, begin)};
      const bool known = !is_unknown_to_normalization(code_point_at(bytes, begin).value);
      const std::string rewritten = known ? normalized(chunk.of(bytes), form_) : "";
      if (!known || rewritten == chunk.of(bytes))
        result.append(text, chunk);
      else
        result.append(rewritten, text.origin_of(chunk));
      begin = chunk.end;
    }
    return result;
  }

 private:
  static size_t first_non_ascii(std::string_view text) {
    size_t at = 0;
    while (at < text.size() && static_cast<unsigned char>(text[at]) < 0x80)
      ++at;
    return at;
  }

  /// A character that the normal forms do not know is a chunk of its own.
  static uint32_t end_of_chunk(std::string_view text, uint32_t begin) {
    const CodePoint first = code_point_at(text, begin);
    uint32_t at = begin + first.size;
    while (at < text.size() && !is_unknown_to_normalization(first.value)) {
      const CodePoint character = code_point_at(text, at);
      if (starts_normalization_chunk(character.value) ||
          is_unknown_to_normalization(character.value))
        return at;
      at += character.size;
    }
    return at;
  }

  NormalForm form_;
};

class PrependNormalizer final : public Normalizer {
 public:
  explicit PrependNormalizer(std::string prefix) : prefix_(std::move(prefix)) {}

  AlignedText apply(AlignedText text) const override {
    if (text.empty())
      return text;
    const uint32_t begin = text.origin(0).begin;
    AlignedText result = text.successor();
    result.reserve(prefix_.size() + text.size());
    result.append(prefix_, {begin, begin});
    result.append(text, {0, text.size()});
    return result;
  }

 private:
  std::string prefix_;
};

class ReplaceNormalizer final : public Normalizer {
 public:
  ReplaceNormalizer(TextPattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  AlignedText apply(AlignedText text) const override {
    const std::vector<ByteRange> matches = pattern_.find_all(text.text());
    if (matches.empty())
      return text;
    AlignedText result = text.successor();
    result.reserve(text.size());
    uint32_t done = 0;
    for (const ByteRange& match : matches) {
      result.append(text, {done, match.begin});
      result.append(content_, origin_of(text, match));
      done = match.end;
    }
    result.append(text, {done, text.size()});
    return result;
  }

 private:
  /// Of an empty match the place, without any bytes.
  static ByteRange origin_of(const AlignedText& text, ByteRange match) {
    if (!match.empty())
      return text.origin_of(match);
    const uint32_t place = match.begin < text.size() ? text.origin(match.begin).begin
                           : text.empty()            ? 0
                                                     : text.origin(text.size() - 1).end;
    return {place, place};
  }

  TextPattern pattern_;
  std::string content_;
};

class StripNormalizer final : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}

  AlignedText apply(AlignedText text) const override {
    const std::string_view bytes = text.text();
    ByteRange kept{0, text.size()};
    while (left_ && !kept.empty() && is_whitespace(code_point_at(bytes, kept.begin).value))
      kept.begin += code_point_at(bytes, kept.begin).size;
    while (right_ && !kept.empty() && is_whitespace(last_code_point(kept.of(bytes)).value))
      kept.end -= last_code_point(kept.of(bytes)).size;
    AlignedText result = text.successor();
    result.append(text, kept);
    return result;
  }

 private:
  bool left_;
  bool right_;
};

/// SentencePiece's table, character by character as a reader sees them. Of longer ones, which the
/// table does not know as a whole, each code point is looked up.
class CharsmapNormalizer final : public Normalizer {
 public:
  explicit CharsmapNormalizer(Charsmap table) : table_(std::move(table)) {}

  AlignedText apply(AlignedText text) const override {
    const std::string_view bytes = text.text();
    AlignedText result = text.successor();
    result.reserve(text.size());
    for (ByteRange whole; whole.end < text.size();) {
      whole = {whole.end, end_of_grapheme(bytes, whole.end)};
      if (whole.size() < 6 && append(result, text, whole))
        continue;
      for (uint32_t at = whole.begin; at < whole.end;) {
        const ByteRange part{at, at + code_point_at(bytes, at).size};
        at = part.end;
        if (!append(result, text, part))
          result.append(text, part);
      }
    }
    return result;
  }

 private:
  bool append(AlignedText& out, const AlignedText& text, ByteRange part) const {
    const auto replacement = table_.replacement(part.of(text.text()));
    if (replacement)
      out.append(*replacement, text.origin_of(part));
    return replacement.has_value();
  }

  Charsmap table_;
};

class ByteLevelNormalizer final : public Normalizer {
 public:
  AlignedText apply(AlignedText text) const override { return spelled_in_byte_alphabet(text); }
};

class SequenceNormalizer final : public Normalizer {
 public:
  explicit SequenceNormalizer(std::vector<std::unique_ptr<Normalizer>> stages)
      : stages_(std::move(stages)) {}

  AlignedText apply(AlignedText text) const override {
    for (const auto& stage : stages_)
      text = stage->apply(std::move(text));
    return text;
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> stages_;
};

void append_unless_accent(std::string& out, char32_t character) {
  const bool mark_once = character == 0x1cf2 || character == 0x1cf3;  // letters since Unicode 12
  const bool mark = category(character)[0] == 'M' && !is_unknown_to_normalization(character);
  if (!mark && !mark_once)
    append_utf8(out, character);
}

/// What the translation systems of SentencePiece's authors take out, or read as a space.
void append_for_nmt(std::string& out, char32_t character) {
  const auto within = [&](char32_t first, char32_t last) {
    return first <= character && character <= last;
  };
  constexpr std::u32string_view spaces = U"\t\n\f\r\u1680\u2028\u2029\u2581\ufeff\ufffd";
  if (spaces.find(character) != std::u32string_view::npos || within(0x200b, 0x200f))
    out += ' ';
  else if (!within(1, 0x1f) && character != 0x7f && character != 0x8f && character != 0x9f)
    append_utf8(out, character);
}

std::unique_ptr<Normalizer> make_normalizer(const io::JsonObject& stage);

std::unique_ptr<Normalizer> make_charsmap(const io::JsonObject& stage) {
  constexpr std::string_view key = "precompiled_charsmap";
  const auto bytes = from_base64(stage.text(key));
  if (!bytes)
    throw FormatError(stage.file(), -1, stage.path_of(key) + " is not base64");
  try {
    return std::make_unique<CharsmapNormalizer>(Charsmap(*bytes));
  } catch (const ConfigError& error) {
    throw FormatError(stage.file(), -1, concat(stage.path_of(key), ": ", error.what()));
  }
}

std::unique_ptr<Normalizer> make_sequence(const io::JsonObject& stage) {
  std::vector<std::unique_ptr<Normalizer>> stages;
  for (const io::JsonObject& inner : stage.objects("normalizers"))
    stages.push_back(make_normalizer(inner));
  return std::make_unique<SequenceNormalizer>(std::move(stages));
}

std::unique_ptr<Normalizer> make_known(const std::string& type, const io::JsonObject& stage) {
  if (type == "NFC")
    return std::make_unique<NormalFormNormalizer>(NormalForm::nfc);
  if (type == "NFD")
    return std::make_unique<NormalFormNormalizer>(NormalForm::nfd);
  if (type == "NFKC")
    return std::make_unique<NormalFormNormalizer>(NormalForm::nfkc);
  if (type == "NFKD")
    return std::make_unique<NormalFormNormalizer>(NormalForm::nfkd);
  if (type == "Lowercase")
    return std::make_unique<CharacterNormalizer>(append_lowercase);
  if (type == "StripAccents")
    return std::make_unique<CharacterNormalizer>(append_unless_accent);
  if (type == "Nmt")
    return std::make_unique<CharacterNormalizer>(append_for_nmt);
  if (type == "Precompiled")
    return make_charsmap(stage);
  if (type == "Prepend")
    return std::make_unique<PrependNormalizer>(stage.text("prepend"));
  if (type == "Replace")
    return std::make_unique<ReplaceNormalizer>(TextPattern::read(stage, "pattern"),
                                               stage.text("content"));
  if (type == "Strip")
    return std::make_unique<StripNormalizer>(stage.boolean("strip_left"),
                                             stage.boolean("strip_right"));
  if (type == "ByteLevel")
    return std::make_unique<ByteLevelNormalizer>();
  if (type == "Sequence")
    return make_sequence(stage);
  throw stage.wrong("type", "a normalizer that graft supports");
}

std::unique_ptr<Normalizer> make_normalizer(const io::JsonObject& stage) {
  auto result = make_known(stage.text("type"), stage);
  refuse_unasked_options(stage);
  return result;
}

}  // namespace

std::unique_ptr<Normalizer> read_normalizer(const io::JsonObject& parent, std::string_view key) {
  return parent.has(key) ? make_normalizer(parent.object(key)) : nullptr;
}

AlignedText spelled_in_byte_alphabet(const AlignedText& text) {
  AlignedText result = text.successor();
  result.reserve(text.size() + text.size() / 2);
  for (uint32_t i = 0; i < text.size(); ++i)
    result.append(letter_of_byte(static_cast<unsigned char>(text.text()[i])), text.origin(i));
  return result;
}

}  // namespace graft::text
