// Targets: which modules a user means, as PEFT's target_modules and exclude_modules say it.
#pragma once

#include <initializer_list>
#include <ostream>
#include <string>
#include <vector>

namespace graft::peft {

/// Nothing, a list of module names, a regular expression, or all linear layers:
///
///   .target_modules = {"q_proj", "v_proj"}
///   .target_modules = Targets::all_linear()
///   .target_modules = Targets::regex(R"(.*\.(up|down)_proj)")
///
/// A name stands for every module whose path is it or ends in "." and it; a regular expression for
/// every module whose whole path it matches.
class Targets {
 public:
  enum class Kind { unset, list, regex, all_linear };

  Targets() = default;
  Targets(std::initializer_list<std::string> names);
  /// Names that are given twice count once.
  Targets(std::vector<std::string> names);
  static Targets regex(std::string pattern);
  /// Every linear layer but the head of the language model.
  static Targets all_linear();

  Kind kind() const { return kind_; }
  bool is_set() const { return kind_ != Kind::unset; }
  /// The names of a list, in the order given.
  const std::vector<std::string>& names() const { return names_; }
  /// The regular expression, where it is one.
  const std::string& pattern() const { return pattern_; }

  friend bool operator==(const Targets&, const Targets&) = default;
  /// For messages: "q_proj, v_proj", "regex ...", "all-linear".
  friend std::ostream& operator<<(std::ostream& out, const Targets& targets);

 private:
  Kind kind_ = Kind::unset;
  std::vector<std::string> names_;
  std::string pattern_;
};

}  // namespace graft::peft
