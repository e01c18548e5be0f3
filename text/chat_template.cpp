#include "graft/text/chat_template.h"

#include <nlohmann/json.hpp>

#include "graft/text/jinja/interpreter.h"
#include "graft/text/jinja/syntax.h"

namespace graft::text {
namespace {

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return local;
}

}  // namespace

ChatTemplate::ChatTemplate(std::string_view source, std::string_view name)
    : name_(name), template_(std::make_unique<const jinja::Template>(jinja::parse(source, name))) {}

ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&& other) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&& other) noexcept = default;

Rendered ChatTemplate::render(const io::Json& messages, const RenderOptions& options) const {
  std::vector<std::pair<std::string, jinja::Value>> variables;
  try {
    if (options.variables != nullptr) {
      for (const auto& [name, value] : options.variables->items())
        variables.emplace_back(name, jinja::Value::from_json(value));
    }
    variables.emplace_back("messages", jinja::Value::from_json(messages));
  } catch (const jinja::RenderError& error) {
    throw FormatError(name_, -1, error.what());
  }
  variables.emplace_back("add_generation_prompt", options.add_generation_prompt);
  jinja::RunResult output = jinja::run(*template_, name_, std::move(variables),
                                       options.now != nullptr ? *options.now : local_time());
  return {std::move(output.text), std::move(output.generation)};
}

bool ChatTemplate::marks_generation() const {
  return template_->marks_generation;
}

}  // namespace graft::text
