#include "graft/text/pre_tokenizer.h"

#include <algorithm>
#include <functional>
#include <optional>

#include "graft/text/normalizer.h"
#include "graft/text/text_pattern.h"
#include "graft/text/unicode.h"

namespace graft::text {
namespace {

/// What becomes of the stretches that match (of "a-b" cut at "-").
enum class Behavior {
  removed,               // a, b
  isolated,              // a, -, b
  contiguous,            // as isolated, but neighbouring matches stay together
  merged_with_previous,  // a-, b
  merged_with_next,      // a, -b
};

/// A stretch of a piece: a match, or what lies between two.
struct Stretch {
  ByteRange range;
  bool is_match = false;
};

using Stretches = std::vector<Stretch>;

/// Matches and what lies between them, covering the whole piece.
Stretches cover(const std::vector<ByteRange>& matches, uint32_t size) {
  Stretches result;
  uint32_t done = 0;
  for (const ByteRange& match : matches) {
    if (done != match.begin)
      result.push_back({{done, match.begin}, false});
    result.push_back({match, true});
    done = match.end;
  }
  if (done != size)
    result.push_back({{done, size}, false});
  return result;
}

/// Joins what belongs together. `merges` says of a stretch and the one before it (in the order they
/// are gone through) whether they do.
template <class Range, class Merges>
Stretches join(const Range& stretches, const Merges& merges) {
  Stretches result;
  bool previous_match = false;
  for (const Stretch& stretch : stretches) {
    if (!result.empty() && merges(stretch.is_match, previous_match)) {
      ByteRange& last = result.back().range;
      last = {std::min(last.begin, stretch.range.begin), std::max(last.end, stretch.range.end)};
    } else {
      result.push_back({stretch.range, false});
    }
    previous_match = stretch.is_match;
  }
  return result;
}

std::vector<ByteRange> pieces_of(Stretches stretches, Behavior behavior) {
  const auto same = [](bool now, bool before) { return now == before; };
  const auto begins_match = [](bool now, bool before) { return now && !before; };
  if (behavior == Behavior::contiguous)
    stretches = join(stretches, same);
  else if (behavior == Behavior::merged_with_previous)
    stretches = join(stretches, begins_match);
  else if (behavior == Behavior::merged_with_next) {
    std::ranges::reverse(stretches);
    stretches = join(stretches, begins_match);
    std::ranges::reverse(stretches);
  }
  std::vector<ByteRange> result;
  for (const auto& [range, is_match] : stretches)
    if (!range.empty() && !(behavior == Behavior::removed && is_match))
      result.push_back(range);
  return result;
}

/// Cuts every piece at what `find` finds in it.
class SplitPreTokenizer final : public PreTokenizer {
 public:
  using Find = std::function<std::vector<ByteRange>(std::string_view piece)>;
  SplitPreTokenizer(Find find, Behavior behavior, bool invert = false)
      : find_(std::move(find)), behavior_(behavior), invert_(invert) {}

  Pieces apply(Pieces input) const override {
    std::vector<ByteRange> result;
    for (const ByteRange& piece : input.pieces) {
      Stretches stretches = cover(find_(piece.of(input.text.text())), piece.size());
      if (invert_)
        for (Stretch& stretch : stretches)
          stretch.is_match = !stretch.is_match;
      for (const ByteRange& part : pieces_of(std::move(stretches), behavior_))
        result.push_back({piece.begin + part.begin, piece.begin + part.end});
    }
    input.pieces = std::move(result);
    return input;
  }

 private:
  Find find_;
  Behavior behavior_;
  bool invert_;
};

SplitPreTokenizer::Find characters_that(std::function<bool(char32_t)> is_match) {
  return [is_match = std::move(is_match)](std::string_view piece) {
    std::vector<ByteRange> result;
    for (uint32_t at = 0; at < piece.size();) {
      const CodePoint character = code_point_at(piece, at);
      if (is_match(character.value))
        result.push_back({at, at + character.size});
      at += character.size;
    }
    return result;
  };
}

SplitPreTokenizer::Find matches_of(TextPattern pattern) {
  return [pattern = std::make_shared<TextPattern>(std::move(pattern))](std::string_view piece) {
    return pattern->find_all(piece);
  };
}

/// Words and runs of what is neither word nor space.
std::vector<ByteRange> words(std::string_view piece) {
  std::vector<ByteRange> result;
  enum class Kind { space, word, other } previous = Kind::space;
  for (uint32_t at = 0; at < piece.size();) {
    const CodePoint character = code_point_at(piece, at);
    const Kind kind = is_word_character(character.value) ? Kind::word
                      : is_whitespace(character.value)   ? Kind::space
                                                         : Kind::other;
    const ByteRange range{at, at + character.size};
    if (kind != Kind::space && kind == previous)
      result.back().end = range.end;
    else if (kind != Kind::space)
      result.push_back(range);
    previous = kind;
    at = range.end;
  }
  return result;
}

/// Stretches of `length` characters.
SplitPreTokenizer::Find stretches_of(int64_t length) {
  return [length](std::string_view piece) {
    std::vector<ByteRange> result;
    for (uint32_t at = 0; at < piece.size();) {
      const uint32_t begin = at;
      for (int64_t i = 0; i < length && at < piece.size(); ++i)
        at += code_point_at(piece, at).size;
      result.push_back({begin, at});
    }
    return result;
  };
}

/// The pieces in a new text; `add` appends what becomes of each.
Pieces rewritten(const Pieces& input,
                 const std::function<void(AlignedText& out, ByteRange piece)>& add) {
  Pieces result{input.text.successor(), {}};
  result.text.reserve(input.text.size());
  for (const ByteRange& piece : input.pieces) {
    const uint32_t begin = result.text.size();
    add(result.text, piece);
    result.pieces.push_back({begin, result.text.size()});
  }
  return result;
}

class ByteLevelPreTokenizer final : public PreTokenizer {
 public:
  ByteLevelPreTokenizer(bool add_prefix_space, bool use_regex)
      : add_prefix_space_(add_prefix_space) {
    if (use_regex)
      split_.emplace(
          matches_of(TextPattern::regex(
              R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)")),
          Behavior::isolated);
  }

  Pieces apply(Pieces input) const override {
    if (add_prefix_space_)
      input = with_prefix_spaces(input);
    if (split_)
      input = split_->apply(std::move(input));
    return spelled(input);
  }

 private:
  static Pieces with_prefix_spaces(const Pieces& input) {
    return rewritten(input, [&](AlignedText& out, ByteRange piece) {
      const uint32_t begin = input.text.origin(piece.begin).begin;
      if (input.text.text()[piece.begin] != ' ')
        out.append(" ", {begin, begin});
      out.append(input.text, piece);
    });
  }

  static Pieces spelled(const Pieces& input) {
    Pieces result{spelled_in_byte_alphabet(input.text), {}};
    // A letter of the alphabet takes one byte or two.
    uint32_t at = 0;
    uint32_t letters = 0;
    const auto advance_to = [&](uint32_t letter) {
      for (; letters < letter; ++letters)
        at += code_point_at(result.text.text(), at).size;
      return at;
    };
    for (const ByteRange& piece : input.pieces) {
      const uint32_t begin = advance_to(piece.begin);
      result.pieces.push_back({begin, advance_to(piece.end)});
    }
    return result;
  }

  bool add_prefix_space_;
  std::optional<SplitPreTokenizer> split_;
};

class MetaspacePreTokenizer final : public PreTokenizer {
 public:
  enum class Prepend { always, first, never };

  MetaspacePreTokenizer(std::string replacement, Prepend prepend, bool split)
      : replacement_(std::move(replacement)), prepend_(prepend) {
    if (split)
      split_.emplace(matches_of(TextPattern::literal(replacement_)), Behavior::merged_with_next);
  }

  Pieces apply(Pieces input) const override {
    const std::string_view text = input.text.text();
    Pieces result = rewritten(input, [&](AlignedText& out, ByteRange piece) {
      const uint32_t begin = input.text.origin(piece.begin).begin;
      const bool starts = text[piece.begin] == ' ' || piece.of(text).starts_with(replacement_);
      if (!starts && (prepend_ == Prepend::always || (prepend_ == Prepend::first && begin == 0)))
        out.append(replacement_, {begin, begin});
      for (uint32_t i = piece.begin; i < piece.end; ++i) {
        if (text[i] == ' ')
          out.append(replacement_, input.text.origin(i));
        else
          out.append(input.text, {i, i + 1});
      }
    });
    return split_ ? split_->apply(std::move(result)) : result;
  }

 private:
  std::string replacement_;
  Prepend prepend_;
  std::optional<SplitPreTokenizer> split_;
};

class SequencePreTokenizer final : public PreTokenizer {
 public:
  explicit SequencePreTokenizer(std::vector<std::unique_ptr<PreTokenizer>> stages)
      : stages_(std::move(stages)) {}

  Pieces apply(Pieces input) const override {
    for (const auto& stage : stages_)
      input = stage->apply(std::move(input));
    return input;
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> stages_;
};

Behavior read_behavior(const io::JsonObject& stage) {
  const std::string name = stage.text("behavior");
  if (name == "Removed")
    return Behavior::removed;
  if (name == "Isolated")
    return Behavior::isolated;
  if (name == "Contiguous")
    return Behavior::contiguous;
  if (name == "MergedWithPrevious")
    return Behavior::merged_with_previous;
  if (name == "MergedWithNext")
    return Behavior::merged_with_next;
  throw stage.wrong("behavior",
                    "Removed, Isolated, Contiguous, MergedWithPrevious or MergedWithNext");
}

std::unique_ptr<PreTokenizer> make_split(SplitPreTokenizer::Find find, Behavior behavior,
                                         bool invert = false) {
  return std::make_unique<SplitPreTokenizer>(std::move(find), behavior, invert);
}

std::unique_ptr<PreTokenizer> make_metaspace(const io::JsonObject& stage) {
  using Prepend = MetaspacePreTokenizer::Prepend;
  const std::string replacement = one_character(stage, "replacement");
  stage.kind("str_rep");  // an old copy of the replacement
  const std::string scheme = stage.text_or(
      "prepend_scheme", stage.boolean_or("add_prefix_space", true) ? "always" : "never");
  if (scheme != "always" && scheme != "first" && scheme != "never")
    throw stage.wrong("prepend_scheme", "always, first or never");
  if (!stage.boolean_or("add_prefix_space", true) && scheme != "never")
    throw stage.wrong("prepend_scheme", "never, as add_prefix_space is false");
  const Prepend prepend = scheme == "always"  ? Prepend::always
                          : scheme == "first" ? Prepend::first
                                              : Prepend::never;
  return std::make_unique<MetaspacePreTokenizer>(replacement, prepend,
                                                 stage.boolean_or("split", true));
}

std::unique_ptr<PreTokenizer> make_delimiter(const io::JsonObject& stage) {
  return make_split(matches_of(TextPattern::literal(one_character(stage, "delimiter"))),
                    Behavior::removed);
}

std::unique_ptr<PreTokenizer> make_bert() {
  std::vector<std::unique_ptr<PreTokenizer>> stages;
  stages.push_back(make_split(characters_that(is_whitespace), Behavior::removed));
  stages.push_back(make_split(characters_that(is_punctuation), Behavior::isolated));
  return std::make_unique<SequencePreTokenizer>(std::move(stages));
}

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const io::JsonObject& stage);

std::unique_ptr<PreTokenizer> make_sequence(const io::JsonObject& stage) {
  std::vector<std::unique_ptr<PreTokenizer>> stages;
  for (const io::JsonObject& inner : stage.objects("pretokenizers"))
    stages.push_back(make_pre_tokenizer(inner));
  return std::make_unique<SequencePreTokenizer>(std::move(stages));
}

std::unique_ptr<PreTokenizer> make_known(const std::string& type, const io::JsonObject& stage) {
  if (type == "ByteLevel") {
    stage.kind("trim_offsets");  // says what others report as offsets
    return std::make_unique<ByteLevelPreTokenizer>(stage.boolean("add_prefix_space"),
                                                   stage.boolean_or("use_regex", true));
  }
  if (type == "Split")
    return make_split(matches_of(TextPattern::read(stage, "pattern")), read_behavior(stage),
                      stage.boolean("invert"));
  if (type == "Digits")
    return make_split(characters_that(is_numeric), stage.boolean("individual_digits")
                                                       ? Behavior::isolated
                                                       : Behavior::contiguous);
  if (type == "Punctuation")
    return make_split(characters_that(is_punctuation),
                      stage.has("behavior") ? read_behavior(stage) : Behavior::isolated);
  if (type == "Whitespace")
    return make_split(words, Behavior::removed, true);
  if (type == "WhitespaceSplit")
    return make_split(characters_that(is_whitespace), Behavior::removed);
  if (type == "CharDelimiterSplit" || type == "Delimiter")
    return make_delimiter(stage);
  if (type == "BertPreTokenizer")
    return make_bert();
  if (type == "FixedLength")
    return make_split(stretches_of(stage.integer_or("length", 5, {.min = 1})), Behavior::isolated);
  if (type == "Metaspace")
    return make_metaspace(stage);
  if (type == "Sequence")
    return make_sequence(stage);
  throw stage.wrong("type", "a pre-tokenizer that graft supports");
}

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const io::JsonObject& stage) {
  auto result = make_known(stage.text("type"), stage);
  refuse_unasked_options(stage);
  return result;
}

}  // namespace

std::unique_ptr<PreTokenizer> read_pre_tokenizer(const io::JsonObject& parent,
                                                 std::string_view key) {
  return parent.has(key) ? make_pre_tokenizer(parent.object(key)) : nullptr;
}

}  // namespace graft::text
