// The syntax tree of a chat template.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "graft/text/jinja_value.h"

namespace graft::text::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

/// The arguments of a call, a filter or a test.
struct Arguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
};

struct Literal {
  Value value;
};
struct Name {
  std::string name;
};
struct ListLiteral {
  std::vector<ExpressionPtr> items;
};
struct DictLiteral {
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> items;
};
/// object.name; also object[expression], whose key is an expression.
struct Attribute {
  ExpressionPtr object;
  std::string name;
};
struct Subscript {
  ExpressionPtr object, key;
};
/// object[begin:end:step]; absent parts are null.
struct Slice {
  ExpressionPtr object, begin, end, step;
};
struct Call {
  ExpressionPtr function;
  Arguments arguments;
};
/// object | name(arguments)
struct Filter {
  ExpressionPtr object;
  std::string name;
  Arguments arguments;
};
/// object is [not] name(arguments)
struct Test {
  ExpressionPtr object;
  std::string name;
  Arguments arguments;
  bool negated;
};
struct Unary {
  std::string symbol;  ///< "-", "+" or "not"
  ExpressionPtr operand;
};
/// Arithmetic, "~", "and", "or".
struct Binary {
  std::string symbol;
  ExpressionPtr left, right;
};
/// a < b <= c …: every neighbouring pair must hold.
struct Comparison {
  ExpressionPtr first;
  std::vector<std::pair<std::string, ExpressionPtr>> rest;
};
/// value if condition else otherwise; `otherwise` may be null.
struct Conditional {
  ExpressionPtr condition, value, otherwise;
};

struct Expression {
  std::variant<Literal, Name, ListLiteral, DictLiteral, Attribute, Subscript, Slice, Call, Filter,
               Test, Unary, Binary, Comparison, Conditional>
      node;
  int line;
};

struct Statement;
using Block = std::vector<Statement>;

struct TextStatement {
  std::string text;
};
struct Output {
  ExpressionPtr value;
};
struct If {
  /// Conditions with their blocks, in order; a null condition is `else`.
  std::vector<std::pair<ExpressionPtr, Block>> branches;
};
struct For {
  std::vector<std::string> targets;
  ExpressionPtr iterable, filter;  ///< filter may be null
  Block body, otherwise;
};
/// set a = value, set a, b = value, set ns.a = value, or a block that is rendered into the name.
struct Set {
  std::vector<std::string> targets;
  std::string attribute;  ///< of the namespace targets[0], or empty
  ExpressionPtr value;    ///< null where `body` is rendered
  Block body;
};
struct Generation {
  Block body;
};
struct Break {};
struct Continue {};

struct Statement {
  std::variant<TextStatement, Output, If, For, Set, Generation, Break, Continue> node;
  int line;
};

/// A template that was read.
struct Template {
  Block body;
  bool marks_generation = false;
};

/// Throws FormatError with `name` and the line where the source is wrong or uses a tag, a filter or
/// a test that is not supported.
Template parse(std::string_view source, std::string_view name);

}  // namespace graft::text::jinja
