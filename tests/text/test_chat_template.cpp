#include <nlohmann/json.hpp>

#include "graft/tests/support/test.h"
#include "graft/tests/text/template_cases.h"
#include "graft/text/chat_template.h"

namespace graft::text {
namespace {

using io::Json;

/// The variables of a case, with what the template wants in place of null.
Json variables_of(const Json& test_case, const Json& instead_of_null) {
  Json variables = test_case["variables"];
  for (const auto& [name, value] : instead_of_null.items())
    if (variables[name].is_null())
      variables[name] = value;
  return variables;
}

/// Checks what a template renders for every conversation; returns how many texts there were.
int check_renders(const Json& golden, const Json& expected) {
  const std::string name = expected["name"];
  const ChatTemplate chat_template(template_source(name), name);
  const std::tm now = time_of(golden);
  int texts = 0;
  for (size_t i = 0; i < golden["cases"].size(); ++i) {
    CAPTURE(name);
    CAPTURE(i);
    const Json& test_case = golden["cases"][i];
    const Json& wanted = expected["renders"][i];
    const Json variables = variables_of(test_case, expected["instead_of_null"]);
    const auto render = [&] {
      return chat_template.render(test_case["messages"],
                                  {.add_generation_prompt = variables["add_generation_prompt"],
                                   .variables = &variables,
                                   .now = &now});
    };
    if (wanted.contains("error")) {
      test::check_contains(test::message_of<FormatError>(render), wanted["error"]);
      continue;
    }
    const Rendered rendered = render();
    CHECK(rendered.text.size() == wanted["bytes"]);
    CHECK(fnv1a(rendered.text) == wanted["fnv1a"]);
    CHECK(ranges_of(rendered) == wanted["generation"]);
    ++texts;
  }
  return texts;
}

}  // namespace

TEST_CASE("chat template: published templates render byte for byte, or refuse in the same words") {
  const Json golden = template_cases();
  int templates = 0;
  for (const Json& expected : golden["templates"]) {
    if (expected["name"] == "smollm2.gguf")
      continue;
    const int renders = check_renders(golden, expected);
    CHECK(renders >= 10);
    ++templates;
  }
  CHECK(templates == 21);
}

TEST_CASE("chat template: SmolLM2's, out of its GGUF file") {
  const Json golden = template_cases();
  int templates = 0;
  for (const Json& expected : golden["templates"]) {
    if (expected["name"] != "smollm2.gguf")
      continue;
    const int renders = check_renders(golden, expected);
    CHECK(renders >= 10);
    ++templates;
  }
  CHECK(templates == 1);
}

TEST_CASE("chat template: says which bytes generation blocks wrote") {
  const ChatTemplate chat_template(
      "{% for m in messages %}[{{ m.role }}]{% generation %}\n{{ m.content }}.{% endgeneration %}\n"
      "{% endfor %}",
      "t");
  CHECK(chat_template.marks_generation());
  const Json messages =
      Json::array({{{"role", "a"}, {"content", "é"}}, {{"role", "b"}, {"content", ""}}});
  const Rendered rendered = chat_template.render(messages);
  CHECK(rendered.text == "[a]é.[b].");
  REQUIRE(rendered.generation.size() == 2);
  CHECK(rendered.generation[0].of(rendered.text) == "é.");
  CHECK(rendered.generation[1].of(rendered.text) == ".");
  CHECK_FALSE(ChatTemplate("{{ 1 }}", "t").marks_generation());
}

TEST_CASE("chat template: a generation block whose place cannot be known is an error") {
  const auto render = [](const std::string& source) {
    return ChatTemplate(source, "t").render(Json::array());
  };
  const std::string in_macro = "{% macro m() %}{% generation %}x{% endgeneration %}{% endmacro %}";
  const Rendered rendered = render(in_macro + "a{{ m() }}b");
  CHECK(rendered.generation[0].of(rendered.text) == "x");
  test::check_contains(
      test::message_of<FormatError>([&] { render(in_macro + "a{{ 'b' ~ m() }}"); }),
      "its place is not known");
}

TEST_CASE("chat template: every cut of real templates is read or refused") {
  for (const char* name : {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja",
                           "fireworks-ai-llama-3-firefunction-v2.jinja"}) {
    const std::string source =
        template_source(concat("tokenizers/llama.cpp-models/templates/", name));
    const Json messages = Json::array({{{"role", "user"}, {"content", "hi"}}});
    for (size_t size = 0; size < source.size(); size += 3) {
      try {
        ChatTemplate(source.substr(0, size), name).render(messages);
      } catch (const FormatError&) {
      }
    }
  }
}

}  // namespace graft::text
