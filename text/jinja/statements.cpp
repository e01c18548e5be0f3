#include <algorithm>

#include "graft/text/jinja/machine.h"
#include "graft/text/jinja/print.h"

namespace graft::text::jinja {
namespace {

/// Blocks, expressions and calls inside each other while a template runs. A level takes about a
/// kilobyte of the stack.
constexpr int max_depth = 1000;

/// A loop that is over holds on to nothing that could hold on to it.
class LoopEnd {
 public:
  explicit LoopEnd(Loop& loop) : loop_(loop) {}
  ~LoopEnd() {
    loop_.watched.clear();
    loop_.scope.reset();
  }

 private:
  Loop& loop_;
};

}  // namespace

const Value* Scope::find(int name) const {
  const auto it = std::ranges::find_if(variables, [&](const auto& v) { return v.first == name; });
  return it != variables.end() ? &it->second : nullptr;
}

void Scope::set(int name, Value value) {
  const auto it = std::ranges::find_if(variables, [&](const auto& v) { return v.first == name; });
  if (it != variables.end())
    it->second = std::move(value);
  else
    variables.emplace_back(name, std::move(value));
}

Machine::Depth::Depth(Machine& machine) : machine_(machine) {
  // The message names no count: what one macro takes depends on what is in it.
  if (++machine_.depth_ > max_depth) {
    --machine_.depth_;
    throw RenderError("macros or loops call each other too deep");
  }
}

RunResult Machine::run(std::vector<std::pair<std::string, Value>> variables) {
  scope_ = std::make_shared<Scope>();
  for (auto& [name, value] : variables) {
    const auto known = std::ranges::find(source_.names, name);
    if (known != source_.names.end())
      scope_->set(static_cast<int>(known - source_.names.begin()), std::move(value));
  }
  for (const int name : source_.unset)
    scope_->set(name, Value::undefined_name(source_.names[static_cast<size_t>(name)]));
  run_block(source_.body);
  std::vector<ByteRange> ranges = generated_ranges();
  return {std::move(text_), std::move(ranges)};
}

/// A block inside a macro is counted from where the text of the whole stood when it ran, as
/// transformers does it. Where that is not its place, the ranges would be wrong.
std::vector<ByteRange> Machine::generated_ranges() const {
  std::vector<ByteRange> ranges;
  for (const auto& [begin, text] : generated_) {
    if (std::string_view(text_).substr(std::min(begin, text_.size())).substr(0, text.size()) !=
        text)
      throw FormatError(name_, -1,
                        "a {% generation %} block stands behind other text in a macro, a block "
                        "that is set or filtered, or another such block, so that its place is not "
                        "known; write it into the template itself");
    ranges.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(begin + text.size())});
  }
  return ranges;
}

void Machine::step(int line) {
  line_ = line;
  run_.charge(1);
}

void Machine::write(std::string_view text) {
  run_.charge(static_cast<int64_t>(text.size() / 32));
  check_text_size(out_->size() + text.size());
  *out_ += text;
}

Machine::Flow Machine::run_block(const Block& block) {
  for (const Statement& statement : block) {
    const Flow flow = run_statement(statement);
    if (flow != Flow::on)
      return flow;
  }
  return Flow::on;
}

Machine::Flow Machine::run_statement(const Statement& statement) {
  try {
    const Depth depth(*this);
    step(statement.line);
    return std::visit([this](const auto& node) { return execute(node); }, statement.node);
  } catch (const RenderError& error) {
    throw FormatError::at_line(name_, line_, error.what());
  }
}

Machine::Flow Machine::run_inside(const Block& block) {
  scope_ = std::make_shared<Scope>(Scope{scope_});
  const Flow flow = run_block(block);
  scope_ = scope_->parent;
  return flow;
}

std::pair<std::string, Machine::Flow> Machine::captured(const Block& block) {
  std::string text;
  std::string* outer = std::exchange(out_, &text);
  const Flow flow = run_inside(block);
  out_ = outer;
  return {std::move(text), flow};
}

Machine::Flow Machine::execute(const TextStatement& node) {
  write(node.text);
  return Flow::on;
}

Machine::Flow Machine::execute(const Output& node) {
  const Value value = evaluate(*node.value);
  charge(run_, Cost::deep, value);
  write(to_text(value));
  return Flow::on;
}

Machine::Flow Machine::execute(const If& node) {
  for (const auto& [condition, block] : node.branches) {
    if (condition == nullptr || evaluate(*condition).truthy())
      return run_block(block);
  }
  return Flow::on;
}

Machine::Flow Machine::execute(const For& node) {
  return run_loop(node, evaluate(*node.iterable), 0);
}

Machine::Flow Machine::run_loop(const For& node, const Value& iterable, int64_t depth0) {
  const auto loop = std::make_shared<Loop>();
  const LoopEnd end(*loop);
  loop->depth0 = depth0;
  loop->next = iterate(iterable);
  if (node.filter != nullptr)
    loop->next = filtered(node, std::move(loop->next));
  else if (iterable.sequence() != nullptr || iterable.dict() != nullptr)
    loop->length = length_of(iterable);
  if (node.recursive) {
    loop->statement = &node;
    loop->scope = scope_;
  }
  // As in Jinja2, `else` is for loops of which no round came to its end, not only for empty ones.
  bool completed = false;
  const std::shared_ptr<Scope> outer = scope_;
  while (loop->advance()) {
    run_.charge(1);
    scope_ = std::make_shared<Scope>(Scope{outer});
    scope_->set(source_.loop, Value(Value::Storage(loop)));
    assign(node.target, *loop->current);
    const Flow flow = run_block(node.body);
    scope_ = outer;
    completed = completed || flow == Flow::on;
    if (flow == Flow::break_loop)
      break;
  }
  return completed ? Flow::on : run_inside(node.otherwise);
}

/// The items that the condition of the loop holds for. It is evaluated when the next item is
/// asked for, and sees what is around the loop.
std::function<std::optional<Value>()> Machine::filtered(
    const For& node, std::function<std::optional<Value>()> items) {
  return [this, &node, items = std::move(items), outer = scope_]() -> std::optional<Value> {
    const std::shared_ptr<Scope> present = scope_;
    std::optional<Value> found;
    while (!found && (found = items())) {
      scope_ = std::make_shared<Scope>(Scope{outer});
      assign(node.target, *found);
      const bool passes = evaluate(*node.filter).truthy();
      found = passes ? std::optional(packed(node.target)) : std::nullopt;
    }
    scope_ = present;
    return found;
  };
}

/// What was assigned to a target: of several names, a tuple.
Value Machine::packed(const Target& target) {
  if (target.parts.empty())
    return look_up(target.name);
  std::vector<Value> parts;
  for (const Target& part : target.parts)
    parts.push_back(packed(part));
  return Value::tuple(std::move(parts));
}

Machine::Flow Machine::execute(const Set& node) {
  assign(node.target, evaluate(*node.value));
  return Flow::on;
}

Machine::Flow Machine::execute(const SetBlock& node) {
  auto [text, flow] = captured(node.body);
  if (flow != Flow::on)
    return flow;
  Value value(std::move(text));
  if (node.filter != nullptr) {
    filtered_text_ = std::move(value);
    value = evaluate(*node.filter);
  }
  assign(node.target, value);
  return Flow::on;
}

Machine::Flow Machine::execute(const MacroStatement& node) {
  const auto macro = std::make_shared<const Macro>(Macro{&node.definition, scope_});
  scope_->set(node.definition.name_index, Value(Value::Storage(macro)));
  return Flow::on;
}

Machine::Flow Machine::execute(const CallBlock& node) {
  const auto& call = std::get<CallExpression>(node.call->node);
  const Value function = evaluate(*call.function);
  CallArguments arguments = evaluate(call.arguments);
  const auto caller = std::make_shared<const Macro>(Macro{&node.body, scope_});
  arguments.named.emplace_back("caller", Value(Value::Storage(caller)));
  write(to_text(call_value(function, std::move(arguments))));
  return Flow::on;
}

Machine::Flow Machine::execute(const FilterBlock& node) {
  auto [text, flow] = captured(node.body);
  if (flow != Flow::on)
    return flow;
  filtered_text_ = Value(std::move(text));
  const Value value = evaluate(*node.filter);
  GRAFT_CHECK(value.text() != nullptr, RenderError, "sequence item 0: expected str instance, ",
              value.type(), " found");
  write(*value.text());
  return Flow::on;
}

Machine::Flow Machine::execute(const With& node) {
  const std::shared_ptr<Scope> outer = scope_;
  const auto inner = std::make_shared<Scope>(Scope{outer});
  for (const auto& [target, expression] : node.values) {
    const Value value = evaluate(*expression);
    scope_ = inner;
    assign(target, value);
    scope_ = outer;
  }
  scope_ = inner;
  const Flow flow = run_block(node.body);
  scope_ = outer;
  return flow;
}

Machine::Flow Machine::execute(const Generation& node) {
  const size_t begin = text_.size();
  std::string text = captured(node.body).first;
  write(text);
  generated_.push_back({begin, std::move(text)});
  return Flow::on;
}

void Machine::assign(const Target& target, const Value& value) {
  if (target.parts.empty() && target.member.empty()) {
    run_.charge(static_cast<int64_t>(scope_->variables.size() / 32));
    scope_->set(target.name, value);
    return;
  }
  if (target.parts.empty()) {
    Namespace* space = look_up(target.name).name_space();
    GRAFT_CHECK(space != nullptr, RenderError, "cannot assign attribute on non-namespace object '",
                source_.names[static_cast<size_t>(target.name)], "'");
    check_namespace_member(target.member);
    run_.charge(static_cast<int64_t>(space->members.size() / 32));
    space->set(target.member, value);
    return;
  }
  const auto next = iterate(value);
  for (size_t i = 0; i < target.parts.size(); ++i) {
    const auto part = next();
    GRAFT_CHECK(part, RenderError, "not enough values to unpack (expected ", target.parts.size(),
                ", got ", i, ")");
    assign(target.parts[i], *part);
  }
  GRAFT_CHECK(!next(), RenderError, "too many values to unpack (expected ", target.parts.size(),
              ")");
}

RunResult run(const Template& source, std::string_view name,
              std::vector<std::pair<std::string, Value>> variables, const std::tm& now) {
  return Machine(source, name, now).run(std::move(variables));
}

}  // namespace graft::text::jinja
