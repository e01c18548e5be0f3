// ChatTemplate: renders a conversation the way a model was trained to read it.
//
// Interprets Jinja2 with the settings transformers gives it (trim_blocks, lstrip_blocks, loop
// controls, the sandbox, `{% generation %}`, raise_exception, strftime_now). What is not supported,
// above all other templates ({% include %}, {% import %}, {% extends %}), is refused by name, never
// rendered differently. Templates come out of files: steps, depth and output are limited.
// Immutable, safe to use from several threads.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graft/io/json.h"
#include "graft/text/byte_range.h"

namespace graft::text {

namespace jinja {
struct Template;
}

struct RenderOptions {
  /// End with what introduces the assistant's answer.
  bool add_generation_prompt = false;
  /// An object with more variables of the template, such as bos_token or tools; nullptr for none.
  /// It outlives the call. `messages` and `add_generation_prompt` are not replaced by it.
  const io::Json* variables = nullptr;
  /// The local time of strftime_now; nullptr for the present one. It outlives the call.
  const std::tm* now = nullptr;
};

/// A rendered conversation.
struct Rendered {
  std::string text;
  /// Bytes that `{% generation %}` blocks wrote, in order.
  std::vector<ByteRange> generation;
};

class ChatTemplate {
 public:
  /// Throws FormatError with `name` and the line where the source is not a template or uses what is
  /// not supported.
  ChatTemplate(std::string_view source, std::string_view name);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&& other) noexcept;
  ChatTemplate& operator=(ChatTemplate&& other) noexcept;

  /// `messages` is a list of objects with `role` and `content`. Throws FormatError with the line:
  /// for a fault of the template, for what it refuses by raise_exception, and beyond the limits.
  Rendered render(const io::Json& messages, const RenderOptions& options = {}) const;
  /// True where the template says itself which bytes the assistant wrote.
  bool marks_generation() const;

 private:
  std::string name_;
  std::unique_ptr<const jinja::Template> template_;
};

}  // namespace graft::text
