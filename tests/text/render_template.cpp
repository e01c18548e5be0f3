// Renders chat templates for comparisons with other programs: reads one JSON object a line and
// writes one for each.
//
//     {"source": "…", "messages": […], "variables": {…}, "now": 1721952000}
//
// gives {"text": "…", "generation": [[begin, end], …]}, with byte offsets, or {"error": "…"}. `now`
// counts the seconds since 1970, in UTC.
#include <iostream>
#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/text/chat_template.h"

namespace {

using graft::io::Json;

Json answer_to(const Json& request) {
  const std::time_t seconds = request.value("now", std::time_t{0});
  std::tm now{};
  gmtime_r(&seconds, &now);
  try {
    const graft::text::ChatTemplate chat_template(request["source"].get<std::string>(), "template");
    const Json& variables = request["variables"];
    const graft::text::Rendered rendered = chat_template.render(
        request["messages"],
        {.add_generation_prompt = variables.value("add_generation_prompt", false),
         .variables = &variables,
         .now = &now});
    Json ranges = Json::array();
    for (const auto& [begin, end] : rendered.generation)
      ranges.push_back({begin, end});
    return {{"text", rendered.text}, {"generation", ranges}};
  } catch (const graft::FormatError& error) {
    return {{"error", error.what()}};
  }
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const Json request = graft::io::parse_json(line, "request", {.max_bytes = int64_t{64} << 20});
    std::cout << graft::io::to_text(answer_to(request), -1) << std::endl;
  }
}
