#include "graft/text/jinja/expression_parser.h"

#include <algorithm>
#include <array>

#include "graft/text/jinja/builtins.h"
#include "graft/text/jinja/numbers.h"

namespace graft::text::jinja {
namespace {

/// Expressions and blocks inside each other; published templates stay below 20.
constexpr int max_depth = 100;
/// Operators one after the other, which nest too: a + b + c …
constexpr int max_tree_depth = 400;

}  // namespace

// ---- tokens

void ExpressionParser::fail(const std::string& what) const {
  throw FormatError::at_line(name_, now().line, what);
}

std::string ExpressionParser::shown() const {
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

bool ExpressionParser::at_symbol(std::string_view symbol) const {
  return now().kind == TokenKind::symbol && now().text == symbol;
}

bool ExpressionParser::at_name(std::string_view name) const {
  return now().kind == TokenKind::name && now().text == name;
}

void ExpressionParser::expect_symbol(std::string_view symbol) {
  if (!take_symbol(symbol))
    fail(concat("'", symbol, "' expected, found ", shown()));
}

std::string ExpressionParser::expect_identifier() {
  if (now().kind != TokenKind::name)
    fail(concat("a name expected, found ", shown()));
  return tokens_[at_++].text;
}

void ExpressionParser::expect_end(TokenKind kind) {
  if (now().kind != kind)
    fail(concat(kind == TokenKind::statement_end ? "%}" : "}}", " expected, found ", shown()));
  ++at_;
}

bool ExpressionParser::at_tuple_end(TupleEnd end) const {
  return now().kind == TokenKind::output_end || now().kind == TokenKind::statement_end ||
         at_symbol(")") || (end == TupleEnd::in && at_name("in")) ||
         (end == TupleEnd::recursive && at_name("recursive"));
}

int ExpressionParser::intern(const std::string& name) {
  const auto [entry, is_new] = interned_.emplace(name, static_cast<int>(names_.size()));
  if (is_new)
    names_.push_back(name);
  return entry->second;
}

ExpressionParser::Depth::Depth(ExpressionParser& parser) : parser_(parser) {
  if (++parser_.depth_ > max_depth)
    parser_.fail(concat("more than ", max_depth, " expressions or blocks inside each other"));
}

template <class Node>
ExpressionPtr ExpressionParser::make(Node node, int line) {
  auto expression = std::make_unique<Expression>(Expression{std::move(node), line, 1});
  expression->depth += depth_below(*expression);
  if (expression->depth > max_tree_depth)
    fail(concat("more than ", max_tree_depth, " operators inside each other"));
  return expression;
}

// ---- operators, those that bind least first

ExpressionPtr ExpressionParser::parse_tuple(bool with_condition, TupleEnd end, bool in_brackets) {
  const int line = now().line;
  ListLiteral tuple{{}, true};
  bool is_tuple = in_brackets;
  while (!at_tuple_end(end)) {
    tuple.items.push_back(parse_expression(with_condition));
    if (!take_symbol(",")) {
      is_tuple = tuple.items.size() > 1;
      break;
    }
    is_tuple = true;
  }
  if (is_tuple)
    return make(std::move(tuple), line);
  if (tuple.items.empty())
    fail(concat("an expression expected, found ", shown()));
  return std::move(tuple.items[0]);
}

ExpressionPtr ExpressionParser::parse_expression(bool with_condition) {
  const Depth depth(*this);
  return with_condition ? parse_conditional() : parse_or();
}

ExpressionPtr ExpressionParser::parse_conditional() {
  const int line = now().line;
  const size_t unknown = unknown_.size();
  ExpressionPtr value = parse_or();
  while (take_name("if")) {
    ExpressionPtr condition = parse_or();
    ExpressionPtr otherwise;
    if (take_name("else")) {
      const Depth depth(*this);
      otherwise = parse_conditional();
    }
    value = make(Conditional{std::move(condition), std::move(value), std::move(otherwise)}, line);
    unknown_.erase(unknown_.begin() + static_cast<int64_t>(unknown), unknown_.end());
  }
  return value;
}

ExpressionPtr ExpressionParser::parse_or() {
  ExpressionPtr left = parse_and();
  for (int line = now().line; take_name("or"); line = now().line)
    left = make(Logic{false, std::move(left), parse_and()}, line);
  return left;
}

ExpressionPtr ExpressionParser::parse_and() {
  ExpressionPtr left = parse_not();
  for (int line = now().line; take_name("and"); line = now().line)
    left = make(Logic{true, std::move(left), parse_not()}, line);
  return left;
}

ExpressionPtr ExpressionParser::parse_not() {
  const int line = now().line;
  if (!take_name("not"))
    return parse_comparison();
  const Depth depth(*this);
  return make(Unary{UnaryOperator::negation, parse_not()}, line);
}

std::optional<Comparator> ExpressionParser::take_comparator() {
  constexpr std::array<std::string_view, 6> symbols = {"==", "!=", "<", "<=", ">", ">="};
  for (size_t i = 0; i < symbols.size(); ++i)
    if (take_symbol(symbols[i]))
      return static_cast<Comparator>(i);
  if (take_name("in"))
    return Comparator::in;
  if (!at_name("not") || next().kind != TokenKind::name || next().text != "in")
    return std::nullopt;
  at_ += 2;
  return Comparator::not_in;
}

ExpressionPtr ExpressionParser::parse_comparison() {
  const int line = now().line;
  Comparison comparison{parse_sum(), {}};
  while (const auto symbol = take_comparator())
    comparison.rest.emplace_back(*symbol, parse_sum());
  return comparison.rest.empty() ? std::move(comparison.first) : make(std::move(comparison), line);
}

/// operand (operator operand)*, grouped from the left.
ExpressionPtr ExpressionParser::parse_arithmetic(Rule operand, Operators operators) {
  ExpressionPtr left = (this->*operand)();
  for (;;) {
    const auto it =
        std::ranges::find_if(operators, [&](const auto& o) { return at_symbol(o.first); });
    if (it == operators.end())
      return left;
    const int line = now().line;
    ++at_;
    left = make(Arithmetic{it->second, std::move(left), (this->*operand)()}, line);
  }
}

ExpressionPtr ExpressionParser::parse_sum() {
  return parse_arithmetic(&ExpressionParser::parse_concatenation,
                          {{"+", Operator::add}, {"-", Operator::subtract}});
}

ExpressionPtr ExpressionParser::parse_concatenation() {
  const int line = now().line;
  Concatenation joined;
  do {
    joined.parts.push_back(parse_product());
  } while (take_symbol("~"));
  return joined.parts.size() == 1 ? std::move(joined.parts[0]) : make(std::move(joined), line);
}

ExpressionPtr ExpressionParser::parse_product() {
  return parse_arithmetic(&ExpressionParser::parse_power, {{"*", Operator::multiply},
                                                           {"/", Operator::divide},
                                                           {"//", Operator::divide_down},
                                                           {"%", Operator::remainder}});
}

ExpressionPtr ExpressionParser::parse_power() {
  return parse_arithmetic(&ExpressionParser::parse_unary, {{"**", Operator::power}});
}

/// A filter behind -x applies to all of it, so x itself takes none.
ExpressionPtr ExpressionParser::parse_signed(bool with_filters) {
  const int line = now().line;
  const Depth depth(*this);
  ExpressionPtr value;
  if (at_symbol("-") || at_symbol("+")) {
    const UnaryOperator symbol = take_symbol("-") ? UnaryOperator::minus : UnaryOperator::plus;
    if (symbol == UnaryOperator::plus)
      ++at_;
    value = make(Unary{symbol, parse_signed(false)}, line);
  } else {
    value = parse_primary();
  }
  value = parse_postfix(std::move(value));
  return with_filters ? parse_filters_and_tests(std::move(value)) : std::move(value);
}

// ---- operands

ExpressionPtr ExpressionParser::parse_primary() {
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
  if (take_symbol("(")) {
    ExpressionPtr inner = parse_tuple(true, TupleEnd::usual, true);
    expect_symbol(")");
    return inner;
  }
  if (take_symbol("["))
    return parse_list(token.line);
  if (take_symbol("{"))
    return parse_dict(token.line);
  fail(concat("an expression expected, found ", shown()));
}

Value ExpressionParser::number_of(const Token& token) const {
  if (token.kind == TokenKind::number)
    return *parse_float(token.text);
  try {
    return *parse_integer(token.text, 0);
  } catch (const RenderError& error) {
    throw FormatError::at_line(name_, token.line, error.what());
  }
}

ExpressionPtr ExpressionParser::parse_name(const Token& token) {
  const std::string& name = token.text;
  if (name == "true" || name == "True" || name == "false" || name == "False")
    return make(Literal{Value(name == "true" || name == "True")}, token.line);
  if (name == "none" || name == "None")
    return make(Literal{Value()}, token.line);
  for (MacroDefinition* macro : open_macros_) {
    macro->uses_caller = macro->uses_caller || name == "caller";
    macro->uses_varargs = macro->uses_varargs || name == "varargs";
    macro->uses_kwargs = macro->uses_kwargs || name == "kwargs";
  }
  const int number = intern(name);
  own_names_.load(number);
  return make(Name{number}, token.line);
}

ExpressionPtr ExpressionParser::parse_list(int line) {
  ListLiteral list;
  while (!take_symbol("]")) {
    list.items.push_back(parse_expression());
    if (!at_symbol("]"))
      expect_symbol(",");
  }
  return make(std::move(list), line);
}

ExpressionPtr ExpressionParser::parse_dict(int line) {
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
ExpressionPtr ExpressionParser::parse_postfix(ExpressionPtr object) {
  for (;;) {
    const int line = now().line;
    if (take_symbol("."))
      object = parse_attribute(std::move(object), line);
    else if (take_symbol("["))
      object = parse_subscript(std::move(object), line);
    else if (at_symbol("("))
      object = parse_call(std::move(object));
    else
      return object;
  }
}

ExpressionPtr ExpressionParser::parse_attribute(ExpressionPtr object, int line) {
  if (now().kind != TokenKind::integer)
    return make(Attribute{std::move(object), expect_identifier()}, line);
  ExpressionPtr key = make(Literal{number_of(now())}, line);
  ++at_;
  return make(Subscript{std::move(object), std::move(key)}, line);
}

ExpressionPtr ExpressionParser::parse_subscript(ExpressionPtr object, int line) {
  Slice slice{std::move(object), nullptr, nullptr, nullptr};
  if (!at_symbol(":") && !at_symbol("]"))
    slice.begin = parse_expression();
  if (at_symbol(",") || (at_symbol("]") && slice.begin == nullptr))
    return parse_tuple_key(std::move(slice), line);
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

/// object[] and object[a, b]: the key is a tuple.
ExpressionPtr ExpressionParser::parse_tuple_key(Slice begun, int line) {
  ListLiteral key{{}, true};
  if (begun.begin != nullptr)
    key.items.push_back(std::move(begun.begin));
  while (take_symbol(","))
    key.items.push_back(parse_expression());
  expect_symbol("]");
  return make(Subscript{std::move(begun.object), make(std::move(key), line)}, line);
}

ExpressionPtr ExpressionParser::parse_call(ExpressionPtr function) {
  const int line = now().line;
  return make(CallExpression{std::move(function), parse_arguments()}, line);
}

Arguments ExpressionParser::parse_arguments() {
  Arguments arguments;
  expect_symbol("(");
  while (!take_symbol(")")) {
    const bool unpacked = arguments.list != nullptr || arguments.dict != nullptr;
    if (at_symbol("**") ? arguments.dict != nullptr : at_symbol("*") && unpacked)
      fail("* and ** may stand once each in a call, in this order");
    if (take_symbol("**")) {
      arguments.dict = parse_expression();
    } else if (take_symbol("*")) {
      arguments.list = parse_expression();
    } else if (now().kind == TokenKind::name && next().kind == TokenKind::symbol &&
               next().text == "=") {
      std::string name = expect_identifier();
      ++at_;
      arguments.named.emplace_back(std::move(name), parse_expression());
    } else {
      if (unpacked || !arguments.named.empty())
        fail("an argument without a name stands behind one that has one");
      arguments.positional.push_back(parse_expression());
    }
    if (!at_symbol(")"))
      expect_symbol(",");
  }
  return arguments;
}

// ---- filters and tests

ExpressionPtr ExpressionParser::parse_filters_and_tests(ExpressionPtr object) {
  for (;;) {
    if (take_symbol("|"))
      object = parse_filter(std::move(object));
    else if (take_name("is"))
      object = parse_test(std::move(object));
    else if (at_symbol("("))
      object = parse_call(std::move(object));
    else
      return object;
  }
}

ExpressionPtr ExpressionParser::parse_filters(ExpressionPtr object, bool started) {
  for (; started || take_symbol("|"); started = false)
    object = parse_filter(std::move(object));
  return object;
}

/// Names of filters and tests may hold points.
std::string ExpressionParser::expect_dotted_name() {
  std::string name = expect_identifier();
  while (take_symbol("."))
    name += "." + expect_identifier();
  return name;
}

/// Remembers an error about a name at the token before the present one.
void ExpressionParser::add_unknown(const std::string& what) {
  unknown_.push_back(FormatError::at_line(name_, tokens_[at_ - 1].line, what));
}

ExpressionPtr ExpressionParser::parse_filter(ExpressionPtr object) {
  const int line = now().line;
  std::string name = expect_dotted_name();
  const Builtin* filter = find_filter(name);
  if (filter == nullptr)
    add_unknown(concat("the filter '", name, "' is not supported"));
  Arguments arguments = at_symbol("(") ? parse_arguments() : Arguments{};
  return make(Filter{std::move(object), filter, std::move(name), std::move(arguments)}, line);
}

ExpressionPtr ExpressionParser::parse_test(ExpressionPtr object) {
  const int line = now().line;
  const bool negated = take_name("not");
  std::string name = expect_dotted_name();
  const Builtin* test = find_test(name);
  if (test == nullptr)
    add_unknown(concat("the test 'is ", name, "' is not supported"));
  Arguments arguments;
  if (at_symbol("("))
    arguments = parse_arguments();
  else if (starts_bare_argument())
    arguments.positional.push_back(parse_postfix(parse_primary()));
  ExpressionPtr result =
      make(Test{std::move(object), test, std::move(name), std::move(arguments)}, line);
  return negated ? make(Unary{UnaryOperator::negation, std::move(result)}, line)
                 : std::move(result);
}

/// `x is divisibleby 3`: a test's argument without brackets.
bool ExpressionParser::starts_bare_argument() const {
  if (at_name("is"))
    fail("tests cannot be chained with 'is'");
  const TokenKind kind = now().kind;
  if (kind == TokenKind::name)
    return !at_name("else") && !at_name("or") && !at_name("and");
  return kind == TokenKind::string || kind == TokenKind::integer || kind == TokenKind::number ||
         at_symbol("[") || at_symbol("{");
}

}  // namespace graft::text::jinja
