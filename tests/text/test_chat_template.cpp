#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "graft/io/gguf.h"
#include "graft/tests/support/test.h"
#include "graft/text/chat_template.h"

namespace graft::text {
namespace {

using io::Json;

Json golden_templates() {
  return io::read_json_file(test::golden("chat_templates.json"), {.max_bytes = 4 << 20});
}

RenderOptions options_for(const Json& golden, bool add_generation_prompt) {
  return {.add_generation_prompt = add_generation_prompt, .variables = &golden["variables"]};
}

/// The template's source, from the shared data.
std::string source_of(const std::string& name) {
  if (name == "smollm2.gguf") {
    const char* file = std::getenv("GRAFT_SMOLLM2_GGUF");
    if (file == nullptr)
      test::skip("GRAFT_SMOLLM2_GGUF is not set");
    return io::GgufFile(file).text("tokenizer.chat_template");
  }
  const auto path = test::data(name);
  if (path.extension() == ".json")
    return io::read_json_file(path)["chat_template"];
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

Json user(const std::string& content) {
  return Json::array({{{"role", "user"}, {"content", content}}});
}

std::string render(const std::string& source, const std::string& content = "hi") {
  return ChatTemplate(source, "t").render(user(content)).text;
}

std::string error_of(const std::string& source) {
  return test::message_of<FormatError>([&] { render(source); });
}

}  // namespace

TEST_CASE("chat template: expressions, loops and white space as Jinja2 has them") {
  const Json golden = golden_templates();
  for (const Json& snippet : golden["snippets"]) {
    CAPTURE(snippet["source"].get<std::string>());
    const ChatTemplate chat_template(snippet["source"].get<std::string>(), "snippet");
    CHECK(chat_template.render(golden["conversations"][3]).text == snippet["text"]);
  }
}

TEST_CASE("chat template: published templates render byte for byte, or are refused by name") {
  // What the templates use that graft does not support yet.
  const std::string folder = "tokenizers/llama.cpp-models/templates/";
  const std::map<std::string, std::string> refused = {
      {folder + "CohereForAI-c4ai-command-r-plus-tool_use.jinja", "{% macro %}"},
      {folder + "CohereForAI-c4ai-command-r7b-12-2024-tool_use.jinja", "{% macro %}"},
      {folder + "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja", "{% macro %}"},
      {folder + "NousResearch-Hermes-3-Llama-3.1-8B-tool_use.jinja", "{% macro %}"},
      {folder + "fireworks-ai-llama-3-firefunction-v2.jinja", "{% filter %}"},
      {folder + "llama-cpp-deepseek-r1.jinja", "{% macro %}"},
      {folder + "meetkai-functionary-medium-v3.2.jinja", "{% macro %}"},
  };
  const Json golden = golden_templates();
  size_t rendered = 0;
  for (const Json& expected : golden["templates"]) {
    const std::string name = expected["name"];
    CAPTURE(name);
    if (name == "smollm2.gguf")
      continue;
    const std::string source = source_of(name);
    if (refused.contains(name)) {
      test::check_contains(test::message_of<FormatError>([&] { ChatTemplate(source, name); }),
                           refused.at(name));
      continue;
    }
    const ChatTemplate chat_template(source, name);
    for (const Json& wanted : expected["renders"]) {
      const Json& messages = golden["conversations"][wanted["conversation"].get<size_t>()];
      const RenderOptions options = options_for(golden, wanted["add_generation_prompt"]);
      if (wanted.contains("error")) {
        CHECK_THROWS_AS(chat_template.render(messages, options), FormatError);
        continue;
      }
      CHECK(chat_template.render(messages, options).text == wanted["text"]);
      ++rendered;
    }
  }
  CHECK(rendered >= 100);
}

TEST_CASE("chat template: SmolLM2's, out of its GGUF file") {
  const Json golden = golden_templates();
  const std::string source = source_of("smollm2.gguf");
  for (const Json& expected : golden["templates"]) {
    if (expected["name"] != "smollm2.gguf")
      continue;
    for (const Json& wanted : expected["renders"]) {
      const Json& messages = golden["conversations"][wanted["conversation"].get<size_t>()];
      CHECK(ChatTemplate(source, "smollm2")
                .render(messages, options_for(golden, wanted["add_generation_prompt"]))
                .text == wanted["text"]);
    }
  }
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

TEST_CASE("chat template: faults are told with their line") {
  using test::check_contains;
  check_contains(error_of("a\n{{ x"), "t:2: a tag {{ is not closed");
  check_contains(error_of("{% if 1 %}\n"), "{% endif %} is missing");
  check_contains(error_of("{% if 1 %}{% endfor %}"), "the tag {% endfor %} is not supported here");
  check_contains(error_of("{{ 'a }}"), "a string is not closed");
  check_contains(error_of("\n{{ 1 | wrap }}"), "t:2: the filter 'wrap' is not supported");
  check_contains(error_of("{{ 1 is wrapped }}"), "the test 'is wrapped' is not supported");
  check_contains(error_of("{% macro a() %}{% endmacro %}"), "the tag {% macro %} is not supported");
  check_contains(error_of("{{ cycler(1) }}"), "the function 'cycler' is not supported");
  check_contains(error_of("{{ a.b.c }}"), "'a' is undefined, its b was asked for");
  check_contains(error_of("{{ 1 + 'a' }}"), "'+' with a string");
  check_contains(error_of("{{ 1 // 0 }}"), "'//' by zero");
  check_contains(error_of("{{ 9223372036854775807 + 1 }}"), "exceeds 64 bits");
  check_contains(error_of("{{ 99999999999999999999 }}"), "too large");
  check_contains(error_of("\n\n{{ raise_exception('no system role') }}"),
                 "t:3: the template refuses: no system role");
  check_contains(error_of("{% break %}"), "outside of a loop");
  check_contains(error_of("{% set x.y = 1 %}"), "a namespace expected");
}

TEST_CASE("chat template: hostile ones end in an error, not in a hang or a crash") {
  using test::check_contains;
  check_contains(
      error_of("{{ " + std::string(100000, '(') + "1" + std::string(100000, ')') + " }}"),
      "inside each other");
  check_contains(error_of("{{ " + std::string(100000, '-') + "1 }}"), "inside each other");
  std::string blocks;
  for (int i = 0; i < 1000; ++i)
    blocks += "{% if 1 %}";
  check_contains(error_of(blocks), "inside each other");
  check_contains(
      error_of("{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}"
               "{% endfor %}"),
      "steps");
  check_contains(error_of("{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}"
                          "{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}"),
                 "bytes");
}

TEST_CASE("chat template: every cut of a real template is read or refused") {
  const std::string source = source_of(
      "tokenizers/llama.cpp-models/templates/NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja");
  for (size_t size = 0; size < source.size(); size += 3) {
    try {
      render(source.substr(0, size));
    } catch (const FormatError&) {
    }
  }
}

}  // namespace graft::text
