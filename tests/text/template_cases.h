// The golden file of the chat templates: conversations, small templates, and what published
// templates render.
#pragma once

#include <ctime>
#include <string>
#include <string_view>

#include "graft/io/json.h"
#include "graft/text/chat_template.h"

namespace graft::text {

/// tests/golden/chat_templates.json.
io::Json template_cases();
/// What strftime_now showed when they were rendered.
std::tm time_of(const io::Json& cases);

/// The source of a template by its name in the golden file. Skips the test case where the shared
/// data or the model is missing.
std::string template_source(const std::string& name);

/// [[begin, end], …] of the generation blocks.
io::Json ranges_of(const Rendered& rendered);

/// The 64 bit FNV-1a hash, as hexadecimal digits.
std::string fnv1a(std::string_view bytes);

}  // namespace graft::text
