#include "graft/peft/targets.h"

#include <algorithm>
#include <utility>

namespace graft::peft {

Targets::Targets(std::initializer_list<std::string> names)
    : Targets(std::vector<std::string>(names)) {}

Targets::Targets(std::vector<std::string> names) : kind_(Kind::list) {
  for (std::string& name : names) {
    if (std::ranges::find(names_, name) == names_.end())
      names_.push_back(std::move(name));
  }
}

Targets Targets::regex(std::string pattern) {
  Targets targets;
  targets.kind_ = Kind::regex;
  targets.pattern_ = std::move(pattern);
  return targets;
}

Targets Targets::all_linear() {
  Targets targets;
  targets.kind_ = Kind::all_linear;
  return targets;
}

std::ostream& operator<<(std::ostream& out, const Targets& targets) {
  switch (targets.kind()) {
    case Targets::Kind::unset:
      return out << "(not given)";
    case Targets::Kind::regex:
      return out << "regex " << targets.pattern();
    case Targets::Kind::all_linear:
      return out << "all-linear";
    case Targets::Kind::list:
      break;
  }
  const char* separator = "";
  for (const std::string& name : targets.names()) {
    out << separator << name;
    separator = ", ";
  }
  return out;
}

}  // namespace graft::peft
