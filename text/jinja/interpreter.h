// Running a chat template.
#pragma once

#include <ctime>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/text/byte_range.h"
#include "graft/text/jinja/syntax.h"

namespace graft::text::jinja {

struct RunResult {
  std::string text;
  std::vector<ByteRange> generation;  ///< what {% generation %} blocks wrote
};

/// Runs the template at local time `now`; of variables of one name the last counts. Throws
/// FormatError with `name` and the line where it goes wrong or exceeds the limits of steps, depth
/// and output.
RunResult run(const Template& source, std::string_view name,
              std::vector<std::pair<std::string, Value>> variables, const std::tm& now);

}  // namespace graft::text::jinja
