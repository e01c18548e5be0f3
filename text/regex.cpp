#include "graft/text/regex.h"

#include <map>
#include <mutex>
#include <utility>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "graft/tensor/error.h"

namespace graft::text {
namespace {

struct Free {
  void operator()(pcre2_code* p) const { pcre2_code_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
  void operator()(pcre2_compile_context* p) const { pcre2_compile_context_free(p); }
};
using MatchData = std::unique_ptr<pcre2_match_data, Free>;

// A word of a megabyte takes a few steps a byte; a nested quantifier takes 2^n. The first must
// pass, the second must end within a second.
constexpr uint32_t match_limit = 20'000'000;
constexpr uint32_t depth_limit = 2'000'000;
constexpr uint32_t heap_limit_kib = 512 * 1024;

std::string message_of(int error) {
  std::string text(256, '\0');
  const int length =
      pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(text.data()), text.size());
  text.resize(length < 0 ? 0 : static_cast<size_t>(length));
  return text;
}

}  // namespace

struct Regex::Code {
  std::unique_ptr<pcre2_code, Free> code;
  std::unique_ptr<pcre2_match_context, Free> context;

  /// Number of capture pairs found, 0 where nothing matches.
  int match(const std::string& pattern, std::string_view text, size_t from, uint32_t options,
            pcre2_match_data* data) const;
};

int Regex::Code::match(const std::string& pattern, std::string_view text, size_t from,
                       uint32_t options, pcre2_match_data* data) const {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  int count = pcre2_match(code.get(), subject, text.size(), from, options, data, context.get());
  // The machine code has a small stack of its own; the interpreter takes its memory from the heap.
  if (count == PCRE2_ERROR_JIT_STACKLIMIT)
    count = pcre2_match(code.get(), subject, text.size(), from, options | PCRE2_NO_JIT, data,
                        context.get());
  if (count == PCRE2_ERROR_NOMATCH)
    return 0;
  GRAFT_CHECK(count != PCRE2_ERROR_MATCHLIMIT && count != PCRE2_ERROR_DEPTHLIMIT &&
                  count != PCRE2_ERROR_HEAPLIMIT,
              ConfigError, "regex: '", pattern, "' takes too many steps on a text of ", text.size(),
              " bytes; rewrite it without nested repetition");
  GRAFT_CHECK(count > 0, ConfigError, "regex: matching '", pattern,
              "' failed: ", message_of(count));
  return count;
}

Regex::Regex(std::string_view pattern) : pattern_(pattern), code_(std::make_unique<Code>()) {
  // Such a prefix switches options of the engine; in the dialects users write it is an error.
  GRAFT_CHECK(!pattern.starts_with("(*"), ConfigError, "regex: '", pattern,
              "' at byte 1: nothing to repeat");
  const std::unique_ptr<pcre2_compile_context, Free> options(pcre2_compile_context_create(nullptr));
  GRAFT_CHECK(options != nullptr, OutOfMemory, "regex: no memory for '", pattern, "'");
  pcre2_set_newline(options.get(), PCRE2_NEWLINE_LF);  // else each distribution has its own
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset,
                                  options.get()));
  GRAFT_CHECK(code_->code != nullptr, ConfigError, "regex: '", pattern, "' at byte ", offset, ": ",
              message_of(error));
  // Without machine code (an error here) the interpreter does the work.
  pcre2_jit_compile(code_->code.get(), PCRE2_JIT_COMPLETE);
  code_->context.reset(pcre2_match_context_create(nullptr));
  GRAFT_CHECK(code_->context != nullptr, OutOfMemory, "regex: no memory for '", pattern, "'");
  pcre2_set_match_limit(code_->context.get(), match_limit);
  pcre2_set_depth_limit(code_->context.get(), depth_limit);
  pcre2_set_heap_limit(code_->context.get(), heap_limit_kib);
}

Regex::~Regex() = default;
Regex::Regex(Regex&& other) noexcept = default;
Regex& Regex::operator=(Regex&& other) noexcept = default;

namespace {

MatchData new_match_data(const pcre2_code* code) {
  MatchData data(pcre2_match_data_create_from_pattern(code, nullptr));
  GRAFT_CHECK(data != nullptr, OutOfMemory, "regex: no memory for a match");
  return data;
}

ByteRange range_at(const pcre2_match_data* data, int group) {
  const PCRE2_SIZE* pairs = pcre2_get_ovector_pointer(const_cast<pcre2_match_data*>(data));
  return {static_cast<uint32_t>(pairs[2 * group]), static_cast<uint32_t>(pairs[2 * group + 1])};
}

void check_text(std::string_view text) {
  GRAFT_CHECK(text.size() <= max_text_bytes, ConfigError, "regex: a text of ", text.size(),
              " bytes, at most ", max_text_bytes, " are searched");
}

}  // namespace

bool Regex::full_match(std::string_view text) const {
  check_text(text);
  const MatchData data = new_match_data(code_->code.get());
  return code_->match(pattern_, text, 0, PCRE2_ANCHORED | PCRE2_ENDANCHORED, data.get()) > 0;
}

std::optional<RegexMatch> Regex::search(std::string_view text, size_t from) const {
  check_text(text);
  GRAFT_CHECK(from <= text.size(), ConfigError, "regex: search from byte ", from, " of a text of ",
              text.size(), " bytes");
  const MatchData data = new_match_data(code_->code.get());
  const int count = code_->match(pattern_, text, from, 0, data.get());
  if (count == 0)
    return std::nullopt;
  RegexMatch result{range_at(data.get(), 0), {}};
  const auto groups = static_cast<int>(pcre2_get_ovector_count(data.get()));
  for (int group = 1; group < groups; ++group) {
    const PCRE2_SIZE begin = pcre2_get_ovector_pointer(data.get())[2 * group];
    const bool set = group < count && begin != PCRE2_UNSET;
    result.groups.push_back(set ? std::optional(range_at(data.get(), group)) : std::nullopt);
  }
  return result;
}

std::vector<ByteRange> Regex::find_all(std::string_view text) const {
  check_text(text);
  const MatchData data = new_match_data(code_->code.get());
  std::vector<ByteRange> result;
  uint32_t options = 0;
  size_t from = 0;
  while (from <= text.size() && code_->match(pattern_, text, from, options, data.get()) > 0) {
    options = PCRE2_NO_UTF_CHECK;  // the first search has looked at the whole text
    const ByteRange range = range_at(data.get(), 0);
    GRAFT_CHECK(range.begin <= range.end, ConfigError, "regex: '", pattern_,
                "' gives a match that ends before it begins");
    if (range.empty() && !result.empty() && result.back().end == range.end) {
      do
        ++from;
      while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xc0) == 0x80);
      continue;
    }
    from = range.end;
    result.push_back(range);
  }
  return result;
}

std::function<bool(const std::string&, const std::string&)> full_matcher() {
  struct Cache {
    std::mutex mutex;
    std::map<std::string, Regex, std::less<>> compiled;
  };
  return [cache = std::make_shared<Cache>()](const std::string& pattern, const std::string& name) {
    const std::lock_guard lock(cache->mutex);
    auto found = cache->compiled.find(pattern);
    if (found == cache->compiled.end())
      found = cache->compiled.emplace(pattern, Regex(pattern)).first;
    return found->second.full_match(name);
  };
}

}  // namespace graft::text
