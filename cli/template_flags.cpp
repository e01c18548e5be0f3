#include "graft/cli/template_flags.h"

#include <nlohmann/json.hpp>

#include "graft/tensor/error.h"

namespace graft::cli {

void add_template_flags(Flags& flags, TemplateFlags& values, bool has_raw) {
  flags.add("chat-template", values.chat_template, "NAME|FILE",
            "one of the model's chat templates, or a file with one; default: its usual one");
  flags.add("chat-template-kwargs", values.variables, "JSON",
            "what the chat template is given besides, such as '{\"enable_thinking\": false}'");
  if (!has_raw)
    return;
  flags.rivals("raw", "chat-template");
  flags.rivals("raw", "chat-template-kwargs");
}

void choose_template(const TemplateFlags& values, text::Tokenizer& tokenizer) {
  if (!values.chat_template.empty())
    tokenizer.choose_chat_template(values.chat_template);
}

std::shared_ptr<const io::Json> template_variables(const TemplateFlags& values) {
  if (values.variables.empty())
    return std::make_shared<const io::Json>(io::Json::object());
  try {
    auto json = io::parse_json(values.variables, "--chat-template-kwargs");
    GRAFT_CHECK(json.is_object(), ConfigError, "--chat-template-kwargs is ", values.variables,
                ", expected a JSON object such as {\"enable_thinking\": false}");
    return std::make_shared<const io::Json>(std::move(json));
  } catch (const FormatError& error) {
    throw ConfigError(error.what());
  }
}

}  // namespace graft::cli
