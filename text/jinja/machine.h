// Machine: one run of a template. It walks the syntax tree; statements write to its output,
// expressions give values.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/text/jinja/builtins.h"
#include "graft/text/jinja/interpreter.h"
#include "graft/text/jinja/loop.h"
#include "graft/text/jinja/syntax.h"

namespace graft::text::jinja {

/// Variables by the numbers of their names. A block that has variables of its own sees those around
/// it and sets its own.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<int, Value>> variables = {};

  const Value* find(int name) const;
  void set(int name, Value value);
};

/// A macro, or the body of a call block, with the variables it sees. It does not keep them: a macro
/// lives as long as the block that defines it.
struct Macro {
  const MacroDefinition* definition;
  std::weak_ptr<Scope> scope;
};

class Machine {
 public:
  Machine(const Template& source, std::string_view name, const std::tm& now)
      : source_(source), name_(name), run_(now) {}

  RunResult run(std::vector<std::pair<std::string, Value>> variables);

 private:
  /// How a block was left.
  enum class Flow { on, break_loop, continue_loop };

  /// What a {% generation %} block wrote, where it stands if nothing was written before it in a
  /// macro or the like.
  struct Generated {
    size_t begin;
    std::string text;
  };

  /// Counts how deep blocks, expressions and calls are inside each other.
  class Depth {
   public:
    explicit Depth(Machine& machine);
    ~Depth() { --machine_.depth_; }

   private:
    Machine& machine_;
  };

  // ---- statements

  void step(int line);
  void write(std::string_view text);
  Flow run_block(const Block& block);
  Flow run_statement(const Statement& statement);
  /// Runs a block with variables of its own.
  Flow run_inside(const Block& block);
  /// The same, with what it writes as a text.
  std::pair<std::string, Flow> captured(const Block& block);
  Flow run_loop(const For& node, const Value& iterable, int64_t depth0);
  std::function<std::optional<Value>()> filtered(const For& node,
                                                 std::function<std::optional<Value>()> items);

  Flow execute(const TextStatement& node);
  Flow execute(const Output& node);
  Flow execute(const If& node);
  Flow execute(const For& node);
  Flow execute(const Set& node);
  Flow execute(const SetBlock& node);
  Flow execute(const MacroStatement& node);
  Flow execute(const CallBlock& node);
  Flow execute(const FilterBlock& node);
  Flow execute(const With& node);
  Flow execute(const Generation& node);
  Flow execute(const Break&) { return Flow::break_loop; }
  Flow execute(const Continue&) { return Flow::continue_loop; }

  void assign(const Target& target, const Value& value);
  Value packed(const Target& target);
  std::vector<ByteRange> generated_ranges() const;

  // ---- expressions

  Value evaluate(const Expression& expression);
  CallArguments evaluate(const Arguments& arguments);
  Value evaluate_or_none(const ExpressionPtr& expression);
  Value look_up(int name);

  Value value_of(const Literal& node) { return node.value; }
  Value value_of(const Name& node) { return look_up(node.name); }
  Value value_of(const ListLiteral& node);
  Value value_of(const DictLiteral& node);
  Value value_of(const Attribute& node);
  Value value_of(const Subscript& node);
  Value value_of(const Slice& node);
  Value value_of(const CallExpression& node);
  Value value_of(const Filter& node);
  Value value_of(const Test& node);
  Value value_of(const Unary& node);
  Value value_of(const Arithmetic& node);
  Value value_of(const Logic& node);
  Value value_of(const Concatenation& node);
  Value value_of(const Comparison& node);
  Value value_of(const Conditional& node);

  // ---- calls

  Value call_value(const Value& function, CallArguments arguments);
  Value call_macro(const Macro& macro, CallArguments arguments);
  void bind_parameters(const MacroDefinition& macro, CallArguments& arguments);
  void bind_rest(const MacroDefinition& macro, CallArguments& arguments);
  Value call_loop(const Loop& loop, const CallArguments& arguments);

  const Template& source_;
  std::string_view name_;
  Run run_;
  std::shared_ptr<Scope> scope_;
  std::string text_;           ///< of the template
  std::string* out_ = &text_;  ///< what is written to: that, or what is captured
  Value filtered_text_;        ///< of the filter block that is being filtered
  std::vector<Generated> generated_;
  int depth_ = 0;
  int line_ = 1;
};

}  // namespace graft::text::jinja
