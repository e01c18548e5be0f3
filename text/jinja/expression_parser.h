// The part of the parser that reads expressions: recursive descent, with the precedences of Jinja2.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "graft/text/jinja/lexer.h"
#include "graft/text/jinja/syntax.h"

namespace graft::text::jinja {

class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, std::string_view name)
      : tokens_(std::move(tokens)), name_(name) {}

 protected:
  /// What may end a list of expressions with commas between them, besides the end of the tag and
  /// a closing bracket.
  enum class TupleEnd { usual, in, recursive };

  /// An expression, or several with commas between them: a tuple.
  ExpressionPtr parse_tuple(bool with_condition = true, TupleEnd end = TupleEnd::usual,
                            bool in_brackets = false);
  ExpressionPtr parse_expression(bool with_condition = true);
  /// `| name(arguments)`, and those that follow, behind `object`. Without one before the first name
  /// where `started`.
  ExpressionPtr parse_filters(ExpressionPtr object, bool started = false);

  // ---- tokens

  const Token& now() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  void skip() { ++at_; }
  [[noreturn]] void fail(const std::string& what) const;
  /// The present token, for messages.
  std::string shown() const;
  bool at_symbol(std::string_view symbol) const;
  bool at_name(std::string_view name) const;
  bool take_symbol(std::string_view symbol) { return at_symbol(symbol) && ++at_; }
  bool take_name(std::string_view name) { return at_name(name) && ++at_; }
  void expect_symbol(std::string_view symbol);
  std::string expect_identifier();
  void expect_end(TokenKind kind);
  bool at_tuple_end(TupleEnd end) const;

  /// The number of a variable's name.
  int intern(const std::string& name);
  std::vector<std::string> take_names() { return std::move(names_); }

  /// Counts how deep the parser is inside expressions and blocks.
  class Depth {
   public:
    explicit Depth(ExpressionParser& parser);
    ~Depth() { --parser_.depth_; }

   private:
    ExpressionParser& parser_;
  };

  /// The variables that the template uses itself, outside of blocks with variables of their own. As
  /// in Jinja2, one that is set before it is read, and not under a condition, is never looked for
  /// among those that the template is given, not even where a block reads it earlier.
  class OwnNames {
   public:
    void load(int name) { use(name, false); }
    void store(int name) { use(name, conditions == 0); }
    std::vector<int> take_unset() { return std::move(unset_); }

    int blocks = 0;      ///< with variables of their own, around the present place
    int conditions = 0;  ///< around it, inside of these

   private:
    void use(int name, bool unset) {
      if (blocks == 0 && known_.insert(name).second && unset)
        unset_.push_back(name);
    }

    std::unordered_set<int> known_;
    std::vector<int> unset_;
  };
  OwnNames own_names_;

  /// Macros and call blocks whose bodies are being read.
  std::vector<MacroDefinition*> open_macros_;
  /// Errors about filters and tests that graft does not have. Behind a condition they are dropped
  /// again: there only running one is an error, as in Jinja2.
  std::vector<FormatError> unknown_;

 private:
  using Rule = ExpressionPtr (ExpressionParser::*)();
  using Operators = std::initializer_list<std::pair<std::string_view, Operator>>;

  /// Throws FormatError where the tree gets too deep.
  template <class Node>
  ExpressionPtr make(Node node, int line);
  ExpressionPtr parse_conditional();
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_comparison();
  ExpressionPtr parse_arithmetic(Rule operand, Operators operators);
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concatenation();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary() { return parse_signed(true); }
  ExpressionPtr parse_signed(bool with_filters);
  ExpressionPtr parse_primary();
  ExpressionPtr parse_name(const Token& token);
  ExpressionPtr parse_list(int line);
  ExpressionPtr parse_dict(int line);
  ExpressionPtr parse_postfix(ExpressionPtr object);
  ExpressionPtr parse_attribute(ExpressionPtr object, int line);
  ExpressionPtr parse_subscript(ExpressionPtr object, int line);
  ExpressionPtr parse_tuple_key(Slice begun, int line);
  ExpressionPtr parse_call(ExpressionPtr function);
  ExpressionPtr parse_filters_and_tests(ExpressionPtr object);
  ExpressionPtr parse_filter(ExpressionPtr object);
  ExpressionPtr parse_test(ExpressionPtr object);
  bool starts_bare_argument() const;
  std::string expect_dotted_name();
  void add_unknown(const std::string& what);
  Arguments parse_arguments();
  std::optional<Comparator> take_comparator();
  Value number_of(const Token& token) const;

  std::vector<Token> tokens_;
  std::string_view name_;
  size_t at_ = 0;
  int depth_ = 0;
  std::vector<std::string> names_;
  std::unordered_map<std::string, int> interned_;
};

}  // namespace graft::text::jinja
