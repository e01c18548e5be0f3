#include "graft/text/decoder.h"

#include <algorithm>
#include <optional>

#include "graft/text/byte_alphabet.h"
#include "graft/text/text_pattern.h"
#include "graft/text/unicode.h"

namespace graft::text {
namespace {

using Texts = std::vector<std::string>;

std::string joined(const Texts& texts) {
  std::string result;
  for (const std::string& text : texts)
    result += text;
  return result;
}

class SpaceDecoder final : public Decoder {
 public:
  Texts apply(Texts tokens) const override {
    for (size_t i = 1; i < tokens.size(); ++i)
      tokens[i].insert(tokens[i].begin(), ' ');
    return tokens;
  }
};

/// Letters of the byte alphabet become bytes; the bytes of all tokens together become text.
class ByteLevelDecoder final : public Decoder {
 public:
  Texts apply(Texts tokens) const override {
    std::string bytes;
    for (const std::string& token : tokens)
      bytes += spelled_bytes(token);
    return {replace_invalid_bytes(bytes)};
  }
};

/// Runs of tokens "<0x..>" become the text of their bytes, or one U+FFFD each where they are none.
class ByteFallbackDecoder final : public Decoder {
 public:
  Texts apply(Texts tokens) const override {
    Texts result;
    std::string run;
    const auto end_run = [&] {
      if (first_invalid_byte(run) == run.size())
        result.push_back(run);
      else
        result.insert(result.end(), run.size(), "\uFFFD");
      run.clear();
    };
    for (std::string& token : tokens) {
      if (const auto byte = byte_of(token)) {
        run.push_back(static_cast<char>(*byte));
        continue;
      }
      if (!run.empty())
        end_run();
      result.push_back(std::move(token));
    }
    if (!run.empty())
      end_run();
    return result;
  }

 private:
  static std::optional<unsigned char> byte_of(const std::string& token) {
    if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>') ||
        token.find_first_not_of("0123456789abcdefABCDEF", 3) != 5)
      return std::nullopt;
    return static_cast<unsigned char>(std::stoul(token.substr(3, 2), nullptr, 16));
  }
};

class FuseDecoder final : public Decoder {
 public:
  Texts apply(Texts tokens) const override { return {joined(tokens)}; }
};

class MetaspaceDecoder final : public Decoder {
 public:
  MetaspaceDecoder(char32_t replacement, bool prepends)
      : replacement_(replacement), prepends_(prepends) {}

  Texts apply(Texts tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      std::string text;
      for (size_t at = 0; at < tokens[i].size();) {
        const CodePoint character = code_point_at(tokens[i], at);
        at += character.size;
        if (character.value != replacement_)
          append_utf8(text, character.value);
        else if (i > 0 || !prepends_)
          text += ' ';
      }
      tokens[i] = std::move(text);
    }
    return tokens;
  }

 private:
  char32_t replacement_;
  bool prepends_;
};

class ReplaceDecoder final : public Decoder {
 public:
  ReplaceDecoder(TextPattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  Texts apply(Texts tokens) const override {
    for (std::string& token : tokens)
      token = pattern_.replaced(token, content_);
    return tokens;
  }

 private:
  TextPattern pattern_;
  std::string content_;
};

/// Takes up to `start` (`stop`) copies of a character from the front (back) of each token.
class StripDecoder final : public Decoder {
 public:
  StripDecoder(std::string character, int64_t start, int64_t stop)
      : character_(std::move(character)), start_(start), stop_(stop) {}

  Texts apply(Texts tokens) const override {
    for (std::string& token : tokens) {
      std::string_view kept = token;
      for (int64_t i = 0; i < start_ && kept.starts_with(character_); ++i)
        kept.remove_prefix(character_.size());
      for (int64_t i = 0; i < stop_ && kept.ends_with(character_); ++i)
        kept.remove_suffix(character_.size());
      token = std::string(kept);
    }
    return tokens;
  }

 private:
  std::string character_;
  int64_t start_;
  int64_t stop_;
};

/// The end-of-word suffix becomes a space, behind the last token nothing.
class SuffixDecoder final : public Decoder {
 public:
  explicit SuffixDecoder(std::string suffix) : suffix_(TextPattern::literal(std::move(suffix))) {}

  Texts apply(Texts tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = suffix_.replaced(tokens[i], i + 1 < tokens.size() ? " " : "");
    return tokens;
  }

 private:
  TextPattern suffix_;
};

class SequenceDecoder final : public Decoder {
 public:
  explicit SequenceDecoder(std::vector<std::unique_ptr<Decoder>> stages)
      : stages_(std::move(stages)) {}

  Texts apply(Texts tokens) const override {
    for (const auto& stage : stages_)
      tokens = stage->apply(std::move(tokens));
    return tokens;
  }

 private:
  std::vector<std::unique_ptr<Decoder>> stages_;
};

std::unique_ptr<Decoder> make_decoder(const io::JsonObject& stage);

std::unique_ptr<Decoder> make_sequence(const io::JsonObject& stage) {
  std::vector<std::unique_ptr<Decoder>> stages;
  for (const io::JsonObject& inner : stage.objects("decoders"))
    stages.push_back(make_decoder(inner));
  return std::make_unique<SequenceDecoder>(std::move(stages));
}

std::unique_ptr<Decoder> make_metaspace(const io::JsonObject& stage) {
  for (const std::string_view only_for_encoding : {"str_rep", "split"})
    stage.kind(only_for_encoding);
  const bool prepends = stage.boolean_or("add_prefix_space", true) &&
                        stage.text_or("prepend_scheme", "always") != "never";
  return std::make_unique<MetaspaceDecoder>(
      code_point_at(one_character(stage, "replacement"), 0).value, prepends);
}

std::unique_ptr<Decoder> make_replace(const io::JsonObject& stage) {
  constexpr size_t most_bytes = 1024;  // the text of a few tokens may not fill the memory
  std::string content = stage.text("content");
  if (content.size() > most_bytes)
    throw FormatError(stage.file(), -1,
                      concat(stage.path_of("content"), " has ", content.size(),
                             " bytes, expected at most ", most_bytes));
  return std::make_unique<ReplaceDecoder>(TextPattern::read(stage, "pattern"), std::move(content));
}

std::unique_ptr<Decoder> make_known(const std::string& type, const io::JsonObject& stage) {
  if (type == "ByteLevel") {
    for (const std::string_view only_for_encoding :
         {"add_prefix_space", "trim_offsets", "use_regex"})
      stage.kind(only_for_encoding);
    return std::make_unique<ByteLevelDecoder>();
  }
  if (type == "ByteFallback")
    return std::make_unique<ByteFallbackDecoder>();
  if (type == "Fuse")
    return std::make_unique<FuseDecoder>();
  if (type == "BPEDecoder")
    return std::make_unique<SuffixDecoder>(stage.text("suffix"));
  if (type == "Metaspace")
    return make_metaspace(stage);
  if (type == "Replace")
    return make_replace(stage);
  if (type == "Strip")
    return std::make_unique<StripDecoder>(one_character(stage, "content"),
                                          stage.integer("start", {.min = 0}),
                                          stage.integer("stop", {.min = 0}));
  if (type == "Sequence")
    return make_sequence(stage);
  throw stage.wrong("type", "a decoder that graft supports");
}

std::unique_ptr<Decoder> make_decoder(const io::JsonObject& stage) {
  auto result = make_known(stage.text("type"), stage);
  refuse_unasked_options(stage);
  return result;
}

}  // namespace

std::unique_ptr<Decoder> read_decoder(const io::JsonObject& parent, std::string_view key) {
  return parent.has(key) ? make_decoder(parent.object(key)) : std::make_unique<SpaceDecoder>();
}

}  // namespace graft::text
