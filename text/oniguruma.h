// Patterns of tokenizer.json files are written for Oniguruma; this says the same to PCRE2.
//
// Where the two read a spelling differently it is rewritten (classes follow Unicode 16, `\s` is the
// White_Space property, `^` and `$` stand at every line, `{1,3}+` repeats); what cannot be said, or
// is not known to mean the same, is refused by name: a tokenizer that splits nearly right is wrong.
#pragma once

#include <string>
#include <string_view>

namespace graft::text {

/// The pattern as Regex takes it. Throws ConfigError with the pattern, the byte offset in it and
/// what is not supported there.
std::string from_oniguruma(std::string_view pattern);

}  // namespace graft::text
