// Python's two ways of formatting: "%s" % value and "{}".format(value).
#pragma once

#include <string>
#include <string_view>

#include "graft/text/jinja/builtins.h"
#include "graft/text/jinja/value.h"

namespace graft::text::jinja {

/// text % values: a tuple of values, a dict for %(name)s, or one value. Throws RenderError.
Value formatted_by_percent(Run& run, const Value& text, const Value& values);

/// text.format(arguments), with fields such as {}, {0}, {name.key[1]!r:>8.2f}. Throws RenderError.
std::string formatted_by_braces(Run& run, std::string_view text, const CallArguments& arguments);

}  // namespace graft::text::jinja
