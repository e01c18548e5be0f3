// The parser of chat templates: tags and blocks.
#include <algorithm>

#include "graft/text/jinja/expression_parser.h"

namespace graft::text::jinja {
namespace {

using Tags = std::vector<std::string_view>;

class Parser : public ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Template run() {
    Template result;
    result.loop = intern("loop");
    result.caller = intern("caller");
    result.varargs = intern("varargs");
    result.kwargs = intern("kwargs");
    result.body = parse_block({});
    if (!unknown_.empty())
      throw unknown_.front();
    result.names = take_names();
    result.unset = own_names_.take_unset();
    result.marks_generation = marks_generation_;
    return result;
  }

 private:
  /// Statements up to a tag named in `ends`, whose name is left to be read; up to the end of the
  /// template where there is none.
  Block parse_block(const Tags& ends) {
    const Depth depth(*this);
    Block block;
    while (now().kind != TokenKind::end) {
      const int line = now().line;
      if (now().kind == TokenKind::text) {
        block.push_back({TextStatement{now().text}, line});
        skip();
      } else if (now().kind == TokenKind::output_begin) {
        skip();
        block.push_back({Output{parse_tuple()}, line});
        expect_end(TokenKind::output_end);
      } else {
        skip();
        if (now().kind == TokenKind::name && std::ranges::find(ends, now().text) != ends.end())
          return block;
        parse_statement(block, line);
      }
    }
    if (!ends.empty())
      fail(concat("{% ", ends.back(), " %} is missing"));
    return block;
  }

  /// The body of a tag of which all but its end was read, up to `{% name %}`.
  Block parse_body(std::string_view end) {
    begin_body();
    Block block = parse_block({end});
    skip();
    expect_end(TokenKind::statement_end);
    return block;
  }

  void begin_body() {
    take_symbol(":");
    expect_end(TokenKind::statement_end);
  }

  void parse_statement(Block& block, int line) {
    const std::string tag = now().kind == TokenKind::name ? now().text : "";
    if (tag == "print")
      return parse_print(block, line);
    block.push_back({TextStatement{}, line});
    auto& node = block.back().node;
    const auto take = [&](auto parse) {
      skip();
      node = parse();
    };
    if (tag == "if")
      take([&] { return parse_if(); });
    else if (tag == "for")
      take([&] { return parse_for(); });
    else if (tag == "set")
      take([&] { return parse_set(); });
    else if (tag == "macro")
      take([&] { return parse_macro(); });
    else if (tag == "call")
      take([&] { return parse_call_block(); });
    else if (tag == "filter")
      take([&] { return parse_filter_block(); });
    else if (tag == "with")
      take([&] { return parse_with(); });
    else if (tag == "generation")
      take([&] { return parse_generation(); });
    else if (tag == "break" || tag == "continue")
      node = parse_jump();
    else
      fail(tag.empty() ? concat("the name of a tag expected, found ", shown())
                       : concat("the tag {% ", tag, " %} is not supported here"));
  }

  using Node = decltype(Statement::node);

  void parse_print(Block& block, int line) {
    skip();
    if (now().kind != TokenKind::statement_end) {
      do {
        block.push_back({Output{parse_expression()}, line});
      } while (take_symbol(","));
    }
    expect_end(TokenKind::statement_end);
  }

  Node parse_jump() {
    const bool is_break = at_name("break");
    if (loops_ == 0)
      fail(concat("{% ", now().text, " %} outside of a loop"));
    skip();
    expect_end(TokenKind::statement_end);
    if (is_break)
      return Break{};
    return Continue{};
  }

  Node parse_if() {
    If result;
    const size_t unknown = unknown_.size();
    for (bool has_condition = true;;) {
      ExpressionPtr condition = has_condition ? parse_tuple(false) : nullptr;
      begin_body();
      ++own_names_.conditions;
      Block block = has_condition ? parse_block({"elif", "else", "endif"}) : parse_block({"endif"});
      --own_names_.conditions;
      result.branches.emplace_back(std::move(condition), std::move(block));
      if (take_name("endif"))
        break;
      has_condition = take_name("elif");
      if (!has_condition)
        skip();  // else
    }
    expect_end(TokenKind::statement_end);
    unknown_.erase(unknown_.begin() + static_cast<int64_t>(unknown), unknown_.end());
    return result;
  }

  /// Marks what follows as a block with variables of its own.
  class InnerBlock {
   public:
    explicit InnerBlock(OwnNames& names) : names_(names) { ++names_.blocks; }
    ~InnerBlock() { --names_.blocks; }

   private:
    OwnNames& names_;
  };

  void store(const Target& target) {
    if (target.parts.empty() && target.member.empty())
      own_names_.store(target.name);
    else if (target.parts.empty())
      own_names_.load(target.name);
    for (const Target& part : target.parts)
      store(part);
  }

  // ---- targets

  Target parse_target(TupleEnd end, bool with_members) {
    const Depth depth(*this);
    Target tuple;
    bool is_tuple = false;
    while (!at_tuple_end(end) && !at_symbol("=")) {
      tuple.parts.push_back(parse_one_target(with_members));
      if (!take_symbol(",")) {
        is_tuple = tuple.parts.size() > 1;
        break;
      }
      is_tuple = true;
    }
    if (tuple.parts.empty())
      fail(concat("a name expected, found ", shown()));
    return is_tuple ? tuple : tuple.parts[0];
  }

  Target parse_one_target(bool with_members) {
    if (take_symbol("(")) {
      Target inner = parse_target(TupleEnd::usual, false);
      expect_symbol(")");
      return inner;
    }
    Target target;
    const std::string name = expect_assignable();
    target.name = intern(name);
    if (with_members && take_symbol("."))
      target.member = expect_identifier();
    else if (loops_ > 0 && name == "loop")
      fail("the special variable 'loop' of a loop cannot be assigned to");
    return target;
  }

  std::string expect_assignable() {
    constexpr std::string_view constants[] = {"true", "True", "false", "False", "none", "None"};
    if (std::ranges::find(constants, now().text) != std::end(constants))
      fail(concat("'", now().text, "' cannot be assigned to"));
    return expect_identifier();
  }

  // ---- blocks

  Node parse_for() {
    For result;
    result.target = parse_target(TupleEnd::in, false);
    if (!take_name("in"))
      fail(concat("'in' expected, found ", shown()));
    result.iterable = parse_tuple(false, TupleEnd::recursive);  // an `if` behind it filters
    const InnerBlock inner(own_names_);
    if (take_name("if"))
      result.filter = parse_expression();
    result.recursive = take_name("recursive");
    begin_body();
    ++loops_;
    check_loop_target(result.target);
    result.body = parse_block({"else", "endfor"});
    --loops_;
    if (take_name("else")) {
      begin_body();
      result.otherwise = parse_block({"endfor"});
    }
    skip();  // endfor
    expect_end(TokenKind::statement_end);
    return result;
  }

  void check_loop_target(const Target& target) {
    if (target.name == intern("loop"))
      fail("the special variable 'loop' of a loop cannot be assigned to");
    for (const Target& part : target.parts)
      check_loop_target(part);
  }

  Node parse_set() {
    Target target = parse_target(TupleEnd::usual, true);
    if (take_symbol("=")) {
      ExpressionPtr value = parse_tuple();
      expect_end(TokenKind::statement_end);
      store(target);
      return Set{std::move(target), std::move(value)};
    }
    store(target);
    const InnerBlock inner(own_names_);
    ExpressionPtr filter = at_symbol("|") ? parse_filters(nullptr) : nullptr;
    return SetBlock{std::move(target), std::move(filter), parse_body("endset")};
  }

  /// A body that is a function of its own: no loop around it can be left from inside.
  Block parse_function_body(std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    Block body = parse_body(end);
    loops_ = loops;
    return body;
  }

  void parse_parameters(MacroDefinition& macro) {
    expect_symbol("(");
    while (!take_symbol(")")) {
      macro.parameter_names.push_back(expect_assignable());
      macro.parameters.push_back(intern(macro.parameter_names.back()));
      if (take_symbol("="))
        macro.defaults.push_back(parse_expression());
      else if (!macro.defaults.empty())
        fail("a parameter without a default stands behind one that has one");
      if (!at_symbol(")"))
        expect_symbol(",");
    }
  }

  void parse_macro_body(MacroDefinition& macro, std::string_view end) {
    open_macros_.push_back(&macro);
    macro.body = parse_function_body(end);
    open_macros_.pop_back();
  }

  Node parse_macro() {
    MacroStatement result;
    MacroDefinition& macro = result.definition;
    macro.name = expect_assignable();
    macro.name_index = intern(macro.name);
    own_names_.store(macro.name_index);
    const InnerBlock inner(own_names_);
    parse_parameters(macro);
    parse_macro_body(macro, "endmacro");
    return result;
  }

  Node parse_call_block() {
    CallBlock result;
    result.body.name = "caller";
    if (at_symbol("("))
      parse_parameters(result.body);
    result.call = parse_expression();
    if (!std::holds_alternative<CallExpression>(result.call->node))
      fail("{% call %}: a call expected");
    const InnerBlock inner(own_names_);
    parse_macro_body(result.body, "endcall");
    return result;
  }

  Node parse_filter_block() {
    ExpressionPtr filter = parse_filters(nullptr, true);
    const InnerBlock inner(own_names_);
    return FilterBlock{std::move(filter), parse_body("endfilter")};
  }

  Node parse_with() {
    With result;
    while (now().kind != TokenKind::statement_end && !at_symbol(":")) {
      if (!result.values.empty())
        expect_symbol(",");
      Target target = parse_one_target(false);
      expect_symbol("=");
      result.values.emplace_back(std::move(target), parse_expression());
    }
    const InnerBlock inner(own_names_);
    result.body = parse_body("endwith");
    return result;
  }

  Node parse_generation() {
    marks_generation_ = true;
    const InnerBlock inner(own_names_);
    return Generation{parse_function_body("endgeneration")};
  }

  int loops_ = 0;
  bool marks_generation_ = false;
};

}  // namespace

Template parse(std::string_view source, std::string_view name) {
  return Parser(lex(source, name), name).run();
}

}  // namespace graft::text::jinja
