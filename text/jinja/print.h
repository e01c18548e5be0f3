// How values become text: Python's str, repr and json.dumps.
#pragma once

#include <string>
#include <string_view>

#include "graft/text/jinja/value.h"

namespace graft::text::jinja {

/// str(): what {{ }} prints; undefined gives nothing. Throws RenderError where the text would be
/// too long, or would show an address in memory.
std::string to_text(const Value& value);
/// repr(). Throws as to_text does.
std::string to_repr(const Value& value);
/// The same of a string and of a floating-point number.
std::string repr_of(std::string_view text);
std::string float_text(double value);

struct JsonStyle {
  bool ensure_ascii = false;
  /// What a level is indented by, where lines are broken.
  std::string indent = {};
  bool breaks_lines = false;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
/// json.dumps(). Throws RenderError where JSON has no such thing.
std::string to_json_text(const Value& value, const JsonStyle& style);

}  // namespace graft::text::jinja
