#include "graft/nn/module.h"

#include <algorithm>
#include <unordered_set>

#include "graft/autograd/pointwise.h"

namespace graft::nn {
namespace {

void walk(Module& module, const std::string& prefix,
          const std::function<void(const std::string&, Member&)>& visit) {
  for (Member* member : module.members()) {
    const bool nameless = member->name().empty();
    const std::string path = nameless         ? prefix
                             : prefix.empty() ? member->name()
                                              : prefix + "." + member->name();
    visit(path, *member);
    if (Module* child = member->module())
      walk(*child, path, visit);
  }
}

}  // namespace

Member::Member(Module& owner, std::string_view name) : owner_(owner), name_(name) {
  owner.members_.push_back(this);
}

Member::~Member() {
  // Most leave in the reverse order of their coming.
  std::vector<Member*>& members = owner_.members_;
  members.erase(std::find(members.rbegin(), members.rend(), this).base() - 1);
}

void Member::load(Tensor) {
  throw Error(concat("load: ", name_, " holds no numbers"));
}

void Parameter::load(Tensor value) {
  GRAFT_CHECK(value.shape() == shape_, ShapeError, "load: ", name(), " has shape ", shape_, ", ",
              value.shape(), " given");
  variable_.set_value(std::move(value));
}

Variable Parameter::under(const Context& context) const {
  const ChosenOverrides chosen = overrides_under(context);
  if (chosen.empty())
    return variable_;
  const Override* whole = whole_override(chosen);
  GRAFT_CHECK(whole != nullptr, Error, "forward: single rows of ", name(), " are overridden");
  return to(whole->value, variable_.dtype());
}

void for_each_member(Module& root,
                     const std::function<void(const std::string& path, Member& member)>& visit) {
  walk(root, "", visit);
}

std::vector<NamedMember> named_parameters(Module& root) {
  std::vector<NamedMember> found;
  std::unordered_set<const void*> seen;
  for_each_member(root, [&](const std::string& path, Member& member) {
    if (member.is_parameter() && seen.insert(member.identity()).second)
      found.push_back({path, &member});
  });
  return found;
}

void pack(Module& root) {
  for_each_member(root, [](const std::string&, Member& member) {
    if (Module* module = member.module())
      module->pack();
  });
}

void set_requires_grad(Module& root, bool required) {
  for (const NamedMember& parameter : named_parameters(root)) {
    if (Variable* variable = parameter.member->variable())
      variable->set_requires_grad(required);
  }
}

std::vector<NamedVariable> trainable_parameters(Module& root) {
  std::vector<NamedVariable> found;
  for (const NamedMember& parameter : named_parameters(root)) {
    const Variable* variable = parameter.member->variable();
    if (variable && variable->requires_grad())
      found.push_back({parameter.path, *variable});
  }
  return found;
}

int64_t count_parameters(Module& root) {
  int64_t count = 0;
  for (const NamedMember& parameter : named_parameters(root))
    count += parameter.member->shape().numel();
  return count;
}

}  // namespace graft::nn
