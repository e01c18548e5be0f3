// The parser of chat templates: recursive descent, with the precedences of Jinja2.
#include <algorithm>
#include <array>
#include <charconv>

#include "graft/tensor/error.h"
#include "graft/text/jinja_ast.h"
#include "graft/text/jinja_builtins.h"
#include "graft/text/jinja_lexer.h"

namespace graft::text::jinja {
namespace {

/// Expressions and blocks inside each other; published templates stay below 20.
constexpr int max_depth = 100;

class Parser {
 public:
  Parser(std::vector<Token> tokens, std::string_view name)
      : tokens_(std::move(tokens)), name_(name) {}

  Template run() {
    Template result;
    result.body = parse_block({});
    result.marks_generation = marks_generation_;
    return result;
  }

 private:
  const Token& now() const { return tokens_[at_]; }
  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError::at_line(name_, now().line, what);
  }
  std::string shown() const {
    switch (now().kind) {
      case TokenKind::end:
        return "the end of the template";
      case TokenKind::statement_end:
        return "%}";
      case TokenKind::output_end:
        return "}}";
      default:
        return "'" + now().text + "'";
    }
  }

  bool at_symbol(std::string_view symbol) const {
    return now().kind == TokenKind::symbol && now().text == symbol;
  }
  bool at_name(std::string_view name) const {
    return now().kind == TokenKind::name && now().text == name;
  }
  bool take_symbol(std::string_view symbol) { return at_symbol(symbol) && ++at_; }
  bool take_name(std::string_view name) { return at_name(name) && ++at_; }
  void expect_symbol(std::string_view symbol) {
    if (!take_symbol(symbol))
      fail(concat("'", symbol, "' expected, found ", shown()));
  }
  std::string expect_identifier() {
    if (now().kind != TokenKind::name)
      fail(concat("a name expected, found ", shown()));
    return tokens_[at_++].text;
  }
  void expect_end(TokenKind kind) {
    if (now().kind != kind)
      fail(concat(kind == TokenKind::statement_end ? "%}" : "}}", " expected, found ", shown()));
    ++at_;
  }

  /// Counts how deep the parser is inside expressions and blocks.
  class Depth {
   public:
    explicit Depth(Parser& parser) : parser_(parser) {
      if (++parser_.depth_ > max_depth)
        parser_.fail(concat("more than ", max_depth, " expressions or blocks inside each other"));
    }
    ~Depth() { --parser_.depth_; }

   private:
    Parser& parser_;
  };

  // ---- statements

  /// Statements up to a tag named in `ends`, whose name is left to be read; up to the end of the
  /// template where there is none.
  Block parse_block(const std::vector<std::string_view>& ends) {
    const Depth depth(*this);
    Block block;
    while (now().kind != TokenKind::end) {
      const int line = now().line;
      if (now().kind == TokenKind::text) {
        block.push_back({TextStatement{tokens_[at_++].text}, line});
      } else if (now().kind == TokenKind::output_begin) {
        ++at_;
        block.push_back({Output{parse_tuple()}, line});
        expect_end(TokenKind::output_end);
      } else {
        ++at_;
        if (now().kind == TokenKind::name && std::ranges::find(ends, now().text) != ends.end())
          return block;
        block.push_back(parse_statement(line));
      }
    }
    if (!ends.empty())
      fail(concat("{% ", ends.back(), " %} is missing"));
    return block;
  }

  /// Reads `{% name %}`, of which `{%` was read.
  void expect_closing(std::string_view name) {
    if (!take_name(name))
      fail(concat("{% ", name, " %} expected, found ", shown()));
    expect_end(TokenKind::statement_end);
  }

  Statement parse_statement(int line) {
    const std::string tag = expect_identifier();
    if (tag == "if")
      return {parse_if(), line};
    if (tag == "for")
      return {parse_for(), line};
    if (tag == "set")
      return {parse_set(), line};
    if (tag == "generation") {
      marks_generation_ = true;
      expect_end(TokenKind::statement_end);
      Generation generation{parse_block({"endgeneration"})};
      expect_closing("endgeneration");
      return {std::move(generation), line};
    }
    if (tag == "break" || tag == "continue") {
      if (loops_ == 0)
        fail(concat("{% ", tag, " %} outside of a loop"));
      expect_end(TokenKind::statement_end);
      if (tag == "break")
        return {Break{}, line};
      return {Continue{}, line};
    }
    --at_;
    fail(concat("the tag {% ", tag, " %} is not supported here"));
  }

  If parse_if() {
    If result;
    for (bool first = true;; first = false) {
      ExpressionPtr condition;
      if (first || take_name("elif")) {
        condition = parse_tuple();
      } else if (!take_name("else")) {
        expect_closing("endif");
        return result;
      }
      expect_end(TokenKind::statement_end);
      const bool last = condition == nullptr;
      Block block = last ? parse_block({"endif"}) : parse_block({"elif", "else", "endif"});
      result.branches.emplace_back(std::move(condition), std::move(block));
    }
  }

  std::vector<std::string> parse_targets() {
    std::vector<std::string> targets{expect_identifier()};
    while (take_symbol(","))
      targets.push_back(expect_identifier());
    return targets;
  }

  For parse_for() {
    For result;
    const bool bracketed = take_symbol("(");
    result.targets = parse_targets();
    if (bracketed)
      expect_symbol(")");
    if (!take_name("in"))
      fail(concat("'in' expected, found ", shown()));
    result.iterable = parse_or();  // an `if` that follows filters the loop
    if (take_name("if"))
      result.filter = parse_expression();
    expect_end(TokenKind::statement_end);
    ++loops_;
    result.body = parse_block({"else", "endfor"});
    --loops_;
    if (take_name("else")) {
      expect_end(TokenKind::statement_end);
      result.otherwise = parse_block({"endfor"});
    }
    expect_closing("endfor");
    return result;
  }

  Set parse_set() {
    Set result;
    result.targets = parse_targets();
    if (take_symbol("."))
      result.attribute = expect_identifier();
    if (take_symbol("=")) {
      result.value = parse_tuple();
      expect_end(TokenKind::statement_end);
      return result;
    }
    expect_end(TokenKind::statement_end);
    result.body = parse_block({"endset"});
    expect_closing("endset");
    return result;
  }

  // ---- expressions

  template <class Node>
  static ExpressionPtr make(Node node, int line) {
    return std::make_unique<const Expression>(Expression{std::move(node), line});
  }

  /// An expression, or several with commas between them: a list.
  ExpressionPtr parse_tuple() {
    const int line = now().line;
    ExpressionPtr first = parse_expression();
    if (!at_symbol(","))
      return first;
    ListLiteral list;
    list.items.push_back(std::move(first));
    while (take_symbol(",") && !at_symbol(")") && now().kind != TokenKind::output_end &&
           now().kind != TokenKind::statement_end)
      list.items.push_back(parse_expression());
    return make(std::move(list), line);
  }

  ExpressionPtr parse_expression() {
    const Depth depth(*this);
    const int line = now().line;
    ExpressionPtr value = parse_or();
    while (take_name("if")) {
      Conditional result{parse_or(), std::move(value), nullptr};
      if (take_name("else"))
        result.otherwise = parse_expression();
      value = make(std::move(result), line);
    }
    return value;
  }

  using Rule = ExpressionPtr (Parser::*)();

  /// operand (symbol operand)*, grouped from the left.
  ExpressionPtr parse_left(Rule operand, const std::vector<std::string_view>& symbols) {
    ExpressionPtr left = (this->*operand)();
    for (;;) {
      const auto it = std::ranges::find_if(
          symbols, [&](std::string_view s) { return at_symbol(s) || at_name(s); });
      if (it == symbols.end())
        return left;
      const int line = now().line;
      ++at_;
      left = make(Binary{std::string(*it), std::move(left), (this->*operand)()}, line);
    }
  }

  ExpressionPtr parse_or() { return parse_left(&Parser::parse_and, {"or"}); }
  ExpressionPtr parse_and() { return parse_left(&Parser::parse_not, {"and"}); }

  ExpressionPtr parse_not() {
    const int line = now().line;
    if (!take_name("not"))
      return parse_comparison();
    const Depth depth(*this);
    return make(Unary{"not", parse_not()}, line);
  }

  /// The comparison that stands here, or an empty string.
  std::string take_comparison() {
    constexpr std::array<std::string_view, 6> symbols = {"==", "!=", "<", "<=", ">", ">="};
    for (const std::string_view symbol : symbols) {
      if (take_symbol(symbol))
        return std::string(symbol);
    }
    if (take_name("in"))
      return "in";
    if (at_name("not") && tokens_[at_ + 1].kind == TokenKind::name &&
        tokens_[at_ + 1].text == "in") {
      at_ += 2;
      return "not in";
    }
    return "";
  }

  ExpressionPtr parse_comparison() {
    const int line = now().line;
    ExpressionPtr first = parse_sum();
    std::vector<std::pair<std::string, ExpressionPtr>> rest;
    for (std::string symbol = take_comparison(); !symbol.empty(); symbol = take_comparison())
      rest.emplace_back(symbol, parse_sum());
    if (rest.empty())
      return first;
    return make(Comparison{std::move(first), std::move(rest)}, line);
  }

  ExpressionPtr parse_sum() { return parse_left(&Parser::parse_concatenation, {"+", "-"}); }
  ExpressionPtr parse_concatenation() { return parse_left(&Parser::parse_product, {"~"}); }
  ExpressionPtr parse_product() { return parse_left(&Parser::parse_unary, {"*", "/", "//", "%"}); }

  ExpressionPtr parse_unary() {
    const int line = now().line;
    const Depth depth(*this);
    if (take_symbol("-"))
      return make(Unary{"-", parse_unary_operand()}, line);
    if (take_symbol("+"))
      return make(Unary{"+", parse_unary_operand()}, line);
    return parse_filters(parse_postfix(parse_primary()));
  }

  /// A filter behind -x applies to all of it, so x itself takes none.
  ExpressionPtr parse_unary_operand() {
    if (at_symbol("-") || at_symbol("+"))
      return parse_unary();
    return parse_postfix(parse_primary());
  }

  ExpressionPtr parse_primary() {
    const Token token = now();
    switch (token.kind) {
      case TokenKind::string: {
        std::string text;
        while (now().kind == TokenKind::string)
          text += tokens_[at_++].text;
        return make(Literal{Value(std::move(text))}, token.line);
      }
      case TokenKind::integer:
      case TokenKind::number:
        ++at_;
        return make(Literal{number_of(token)}, token.line);
      case TokenKind::name:
        ++at_;
        return parse_name(token);
      default:
        break;
    }
    if (take_symbol("("))
      return parse_brackets(token.line);
    if (take_symbol("["))
      return parse_list(token.line);
    if (take_symbol("{"))
      return parse_dict(token.line);
    fail(concat("an expression expected, found ", shown()));
  }

  Value number_of(const Token& token) const {
    const char* begin = token.text.data();
    const char* end = begin + token.text.size();
    int64_t integer = 0;
    double real = 0;
    const bool read = token.kind == TokenKind::integer
                          ? std::from_chars(begin, end, integer).ec == std::errc()
                          : std::from_chars(begin, end, real).ec == std::errc();
    if (!read)
      throw FormatError::at_line(name_, token.line,
                                 concat("the number ", token.text, " is too large"));
    return token.kind == TokenKind::integer ? Value(integer) : Value(real);
  }

  static ExpressionPtr parse_name(const Token& token) {
    if (token.text == "true" || token.text == "True")
      return make(Literal{Value(true)}, token.line);
    if (token.text == "false" || token.text == "False")
      return make(Literal{Value(false)}, token.line);
    if (token.text == "none" || token.text == "None")
      return make(Literal{Value(None{})}, token.line);
    return make(Name{token.text}, token.line);
  }

  ExpressionPtr parse_brackets(int line) {
    if (take_symbol(")"))
      return make(ListLiteral{}, line);
    ExpressionPtr inner = parse_tuple();
    expect_symbol(")");
    return inner;
  }

  ExpressionPtr parse_list(int line) {
    ListLiteral list;
    while (!take_symbol("]")) {
      list.items.push_back(parse_expression());
      if (!at_symbol("]"))
        expect_symbol(",");
    }
    return make(std::move(list), line);
  }

  ExpressionPtr parse_dict(int line) {
    DictLiteral dict;
    while (!take_symbol("}")) {
      ExpressionPtr key = parse_expression();
      expect_symbol(":");
      dict.items.emplace_back(std::move(key), parse_expression());
      if (!at_symbol("}"))
        expect_symbol(",");
    }
    return make(std::move(dict), line);
  }

  /// .name, [key], [a:b] and (arguments) behind an expression.
  ExpressionPtr parse_postfix(ExpressionPtr object) {
    for (;;) {
      const int line = now().line;
      if (take_symbol("."))
        object = make(Attribute{std::move(object), expect_identifier()}, line);
      else if (take_symbol("["))
        object = parse_subscript(std::move(object), line);
      else if (at_symbol("("))
        object = make(Call{std::move(object), parse_arguments()}, line);
      else
        return object;
    }
  }

  ExpressionPtr parse_subscript(ExpressionPtr object, int line) {
    Slice slice;
    slice.object = std::move(object);
    if (!at_symbol(":"))
      slice.begin = parse_expression();
    if (take_symbol("]"))
      return make(Subscript{std::move(slice.object), std::move(slice.begin)}, line);
    expect_symbol(":");
    if (!at_symbol(":") && !at_symbol("]"))
      slice.end = parse_expression();
    if (take_symbol(":") && !at_symbol("]"))
      slice.step = parse_expression();
    expect_symbol("]");
    return make(std::move(slice), line);
  }

  Arguments parse_arguments() {
    Arguments arguments;
    expect_symbol("(");
    while (!take_symbol(")")) {
      const bool named = now().kind == TokenKind::name &&
                         tokens_[at_ + 1].kind == TokenKind::symbol && tokens_[at_ + 1].text == "=";
      if (named) {
        std::string name = expect_identifier();
        ++at_;
        arguments.named.emplace_back(std::move(name), parse_expression());
      } else {
        arguments.positional.push_back(parse_expression());
      }
      if (!at_symbol(")"))
        expect_symbol(",");
    }
    return arguments;
  }

  /// | filter, is test, and what may stand behind those.
  ExpressionPtr parse_filters(ExpressionPtr object) {
    for (;;) {
      const int line = now().line;
      if (take_symbol("|")) {
        const std::string name = expect_identifier();
        if (!is_filter(name)) {
          --at_;
          fail(concat("the filter '", name, "' is not supported"));
        }
        Arguments arguments = at_symbol("(") ? parse_arguments() : Arguments{};
        object = make(Filter{std::move(object), name, std::move(arguments)}, line);
      } else if (take_name("is")) {
        object = parse_test(std::move(object), line);
      } else if (at_symbol("(") || at_symbol(".") || at_symbol("[")) {
        object = parse_postfix(std::move(object));
      } else {
        return object;
      }
    }
  }

  ExpressionPtr parse_test(ExpressionPtr object, int line) {
    const bool negated = take_name("not");
    const std::string name = expect_identifier();
    if (!is_test(name)) {
      --at_;
      fail(concat("the test 'is ", name, "' is not supported"));
    }
    Arguments arguments;
    if (at_symbol("("))
      arguments = parse_arguments();
    else if (starts_bare_argument())
      arguments.positional.push_back(parse_postfix(parse_primary()));
    return make(Test{std::move(object), name, std::move(arguments), negated}, line);
  }

  /// `x is divisibleby 3`: a test's argument without brackets.
  bool starts_bare_argument() const {
    if (now().kind == TokenKind::name) {
      constexpr std::array<std::string_view, 7> others = {"else", "or", "and", "is",
                                                          "if",   "in", "not"};
      return std::ranges::find(others, now().text) == others.end();
    }
    return now().kind == TokenKind::string || now().kind == TokenKind::integer ||
           now().kind == TokenKind::number || at_symbol("[") || at_symbol("{");
  }

  std::vector<Token> tokens_;
  std::string_view name_;
  size_t at_ = 0;
  int depth_ = 0;
  int loops_ = 0;
  bool marks_generation_ = false;
};

}  // namespace

Template parse(std::string_view source, std::string_view name) {
  return Parser(lex(source, name), name).run();
}

}  // namespace graft::text::jinja
