// The syntax tree of a chat template.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "graft/text/jinja/operators.h"
#include "graft/text/jinja/value.h"

namespace graft::text::jinja {

struct Builtin;
struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

/// The arguments of a call, a filter or a test.
struct Arguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr list, dict;  ///< *list and **dict, or null
};

struct Literal {
  Value value;
};
/// A variable, by its place in Template::names.
struct Name {
  int name;
};
struct ListLiteral {
  std::vector<ExpressionPtr> items;
  bool is_tuple = false;
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
struct CallExpression {
  ExpressionPtr function;
  Arguments arguments;
};
/// object | name(arguments). A filter that graft does not have is null, and an error where it runs.
struct Filter {
  ExpressionPtr object;
  const Builtin* filter;
  std::string name;
  Arguments arguments;
};
/// object is name(arguments), with a test that may be null likewise.
struct Test {
  ExpressionPtr object;
  const Builtin* test;
  std::string name;
  Arguments arguments;
};
enum class UnaryOperator { plus, minus, negation };
struct Unary {
  UnaryOperator symbol;
  ExpressionPtr operand;
};
struct Arithmetic {
  Operator symbol;
  ExpressionPtr left, right;
};
/// left and right, left or right.
struct Logic {
  bool is_and;
  ExpressionPtr left, right;
};
/// a ~ b ~ c …
struct Concatenation {
  std::vector<ExpressionPtr> parts;
};
/// a < b <= c …: every neighbouring pair must hold.
struct Comparison {
  ExpressionPtr first;
  std::vector<std::pair<Comparator, ExpressionPtr>> rest;
};
/// value if condition else otherwise; `otherwise` may be null.
struct Conditional {
  ExpressionPtr condition, value, otherwise;
};

struct Expression {
  std::variant<Literal, Name, ListLiteral, DictLiteral, Attribute, Subscript, Slice, CallExpression,
               Filter, Test, Unary, Arithmetic, Logic, Concatenation, Comparison, Conditional>
      node;
  int line;
  int depth;  ///< of the tree below, itself included
};

/// Depth of the deepest expression that this one holds, or 0.
int depth_below(const Expression& expression);

/// What a value is assigned to: a name, a namespace's member, or targets it is unpacked into.
struct Target {
  int name = -1;
  std::string member = {};
  std::vector<Target> parts = {};
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
  Target target;
  ExpressionPtr iterable, filter;  ///< filter may be null
  bool recursive = false;
  Block body, otherwise;
};
struct Set {
  Target target;
  ExpressionPtr value;
};
/// The rendered body becomes the value, filtered where `filter` is not null.
struct SetBlock {
  Target target;
  ExpressionPtr filter;
  Block body;
};
/// A macro, or the body of a call block.
struct MacroDefinition {
  std::string name;
  int name_index = -1;
  std::vector<std::string> parameter_names;
  std::vector<int> parameters;
  std::vector<ExpressionPtr> defaults;  ///< of the last parameters
  Block body;
  /// The special variables that the body uses.
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
};
struct MacroStatement {
  MacroDefinition definition;
};
/// The call, whose macro may call the body as caller().
struct CallBlock {
  ExpressionPtr call;
  MacroDefinition body;
};
struct FilterBlock {
  ExpressionPtr filter;
  Block body;
};
struct With {
  std::vector<std::pair<Target, ExpressionPtr>> values;
  Block body;
};
struct Generation {
  Block body;
};
struct Break {};
struct Continue {};
struct Statement {
  std::variant<TextStatement, Output, If, For, Set, SetBlock, MacroStatement, CallBlock,
               FilterBlock, With, Generation, Break, Continue>
      node;
  int line;
};

/// A template that was read.
struct Template {
  Block body;
  std::vector<std::string> names;  ///< of all variables
  /// Variables that are undefined until the template sets them, whatever it is given.
  std::vector<int> unset;
  int loop = -1, caller = -1, varargs = -1, kwargs = -1;
  bool marks_generation = false;
};

/// Throws FormatError with `name` and the line where the source is wrong or uses a tag that is not
/// supported, or a filter or test outside of any condition.
Template parse(std::string_view source, std::string_view name);

}  // namespace graft::text::jinja
