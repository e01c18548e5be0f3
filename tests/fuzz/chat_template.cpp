// A chat template; what is read renders a conversation with tools.
#include "graft/text/chat_template.h"

#include <nlohmann/json.hpp>

#include "graft/tensor/error.h"
#include "graft/tests/fuzz/fuzz.h"

namespace graft {
namespace {

const io::Json& messages() {
  static const io::Json json = io::parse_json(
      R"([{"role": "system", "content": "Be brief."},
          {"role": "user", "content": "What is 1 + 1?"},
          {"role": "assistant", "content": "", "tool_calls":
             [{"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": 1.0}}}]},
          {"role": "tool", "content": [{"type": "text", "text": "2"}]},
          {"role": "assistant", "content": "2, é😀"}])",
      "messages");
  return json;
}

/// Those of chat templates, and those of the snippets that the corpus begins with.
const io::Json& variables() {
  static const io::Json json = io::parse_json(
      R"({"bos_token": "<s>", "eos_token": "</s>", "enable_thinking": false, "documents": null,
          "tools": [{"type": "function", "function": {"name": "add", "description": "Adds.",
                     "parameters": {"type": "object", "required": ["a"],
                                    "properties": {"a": {"type": "integer"}}}}}],
          "data": {"b": [3, 1, 2], "a": {"x": null, "items": 4}, "C": "ä", "n": 2.5},
          "people": [{"name": "Zoë", "age": 31, "tags": ["x"], "home": {"city": "Köln"}},
                     {"name": "adam", "age": 7, "tags": [], "home": {"city": "Bonn"}}],
          "tree": [{"v": 1, "kids": [{"v": 2, "kids": []}]}],
          "text": "The quick  brown fox\njumps — über\n\nthe lazy dog.",
          "html": "<a href=\"x\">'&'</a>", "nothing": null, "empty": [], "yes": true})",
      "variables");
  return json;
}

}  // namespace
}  // namespace graft

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace graft;
  static const std::tm now{};
  fuzz::accepted<FormatError>([&] {
    const text::ChatTemplate chat_template(fuzz::text_of(data, size), "chat_template.jinja");
    for (const bool add_generation_prompt : {false, true}) {
      fuzz::accepted<FormatError>([&] {
        const text::Rendered rendered =
            chat_template.render(messages(), {.add_generation_prompt = add_generation_prompt,
                                              .variables = &variables(),
                                              .now = &now});
        uint32_t before = 0;
        for (const text::ByteRange range : rendered.generation) {
          fuzz::require(before <= range.begin && range.begin <= range.end &&
                            range.end <= rendered.text.size(),
                        "answers are in order and within the text");
          before = range.end;
        }
      });
    }
  });
  return 0;
}
