// The lexer of chat templates: pieces of plain text, and the tokens inside {{ }} and {% %}.
//
// White space around tags is dealt with here, as Jinja2 does with trim_blocks and lstrip_blocks:
// the newline after a block tag and the blanks before one on its line go, "-" takes all white space
// on its side, "+" keeps it. Raw blocks become plain text, comments nothing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace graft::text::jinja {

enum class TokenKind {
  text,             ///< plain text between tags
  statement_begin,  ///< {%
  statement_end,
  output_begin,  ///< {{
  output_end,
  name,
  string,  ///< with its escapes resolved
  integer,
  number,  ///< with a point or an exponent
  symbol,  ///< an operator or a bracket
  end,     ///< of the template
};

struct Token {
  TokenKind kind;
  std::string text;
  int line;
};

/// All tokens, the last of kind `end`. Throws FormatError with `name` and the line.
std::vector<Token> lex(std::string_view source, std::string_view name);

}  // namespace graft::text::jinja
