// Running a chat template.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/text/byte_range.h"
#include "graft/text/jinja_ast.h"

namespace graft::text::jinja {

struct RunResult {
  std::string text;
  std::vector<ByteRange> generation;  ///< what {% generation %} blocks wrote
};

/// Runs the template; of variables of one name the last counts. Throws FormatError with `name` and
/// the line where it goes wrong or exceeds the limits of steps and output.
RunResult run(const Template& source, std::string_view name,
              std::vector<std::pair<std::string, Value>> variables);

}  // namespace graft::text::jinja
