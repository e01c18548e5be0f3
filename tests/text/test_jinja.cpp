#include <nlohmann/json.hpp>

#include "graft/tests/support/test.h"
#include "graft/tests/text/template_cases.h"
#include "graft/text/chat_template.h"

namespace graft::text {
namespace {

using io::Json;
using test::check_contains;

std::string render(const std::string& source) {
  return ChatTemplate(source, "t").render(Json::array()).text;
}

std::string error_of(const std::string& source) {
  return test::message_of<FormatError>([&] { render(source); });
}

std::string repeated(std::string_view text, int count) {
  std::string result;
  for (int i = 0; i < count; ++i)
    result += text;
  return result;
}

/// Errors whose words are the template's or Jinja2's, so that they can be looked up.
bool has_known_words(const Json& snippet) {
  const std::string kind = snippet["kind"];
  return kind == "TemplateError" || kind == "UndefinedError" || kind == "SecurityError";
}

}  // namespace

TEST_CASE("jinja: the language renders as Jinja2 has it, and fails where it does") {
  const Json golden = template_cases();
  const std::tm now = time_of(golden);
  for (const Json& snippet : golden["snippets"]) {
    const std::string source = snippet["source"];
    CAPTURE(source);
    const auto run = [&] {
      return ChatTemplate(source, "snippet")
          .render(golden["conversation"], {.variables = &golden["variables"], .now = &now});
    };
    if (snippet.contains("error")) {
      const std::string message = test::message_of<FormatError>(run);
      check_contains(message, "snippet:");
      if (has_known_words(snippet))
        check_contains(message, snippet["error"].get<std::string>());
      continue;
    }
    const Rendered rendered = run();
    CHECK(rendered.text == snippet["text"]);
    CHECK(ranges_of(rendered) == snippet["generation"]);
  }
}

TEST_CASE("jinja: faults of the source are told with their line") {
  check_contains(error_of("a\n{{ x"), "t:2: a tag {{ is not closed");
  check_contains(error_of("{% if 1 %}\n"), "{% endif %} is missing");
  check_contains(error_of("{% if 1 %}{% endfor %}"), "the tag {% endfor %} is not supported here");
  check_contains(error_of("{{ 'a }}"), "a string is not closed");
  check_contains(error_of("{{ a ? b }}"), "unexpected character '?'");
  check_contains(error_of("{{ \u201cx\u201d }}"), "unexpected character '\u201c'");
  check_contains(error_of("{{ (1] }}"), "unexpected ']', expected ')'");
  check_contains(error_of("{{ 'a\\ud83d' }}"), "is no character");
  check_contains(error_of("{{ '\\N{DASH}' }}"), "the escape \\N is not supported");
  check_contains(error_of("{{ 99999999999999999999 }}"), "exceeds 64 bits");
  check_contains(error_of("{% break %}"), "{% break %} outside of a loop");
  check_contains(error_of("\n{% macro m(a=1, b) %}{% endmacro %}"),
                 "t:2: a parameter without a default stands behind one that has one");
  check_contains(error_of("{% for loop in [1] %}{% endfor %}"), "cannot be assigned to");
  check_contains(error_of("a\xff"), "not UTF-8");
}

TEST_CASE("jinja: what is not supported is refused by name") {
  for (const char* tag :
       {"include", "import", "from", "extends", "block", "autoescape", "do", "trans", "debug"}) {
    CAPTURE(tag);
    check_contains(error_of(concat("\n{% ", tag, " 'x' %}")),
                   concat("t:2: the tag {% ", tag, " %} is not supported"));
  }
  for (const char* filter : {"attr", "filesizeformat", "pprint", "random", "striptags", "urlencode",
                             "urlize", "wordwrap", "xmlattr", "from_json"}) {
    CAPTURE(filter);
    check_contains(error_of(concat("\n{{ 1 | ", filter, " }}")),
                   concat("t:2: the filter '", filter, "' is not supported"));
  }
  check_contains(error_of("{{ 1 is wrapped }}"), "the test 'is wrapped' is not supported");
  check_contains(error_of("{{ [1] | map('wrap') | list }}"), "the filter 'wrap' is not supported");
  for (const char* function : {"cycler", "joiner", "lipsum"})
    check_contains(error_of(concat("{{ ", function, "() }}")),
                   concat("the function '", function, "' is not supported"));
  check_contains(error_of("{{ 'a'.encode() }}"), "the method 'encode' of str is not supported");
  check_contains(error_of("{{ 5 .to_bytes() }}"), "the method 'to_bytes' of int is not supported");
  check_contains(error_of("{{ strftime_now('%f') }}"), "the format '%f' is not supported");
  check_contains(error_of("{{ '{!a}'.format(1) }}"), "the conversion '!a' is not supported");
  check_contains(error_of("{{ ''.join }}"), "a builtin_function_or_method is printed; call it");
}

TEST_CASE("jinja: an unknown filter is no fault where no condition lets it run") {
  CHECK(render("{% if false %}{{ 1 | wrap }}{{ 1 is wrapped }}{% endif %}a") == "a");
  CHECK(render("{{ 'a' if true else 1 | wrap }}") == "a");
  check_contains(error_of("{% if true %}\n{{ 1 | wrap }}{% endif %}"), "t:2: the filter 'wrap'");
}

TEST_CASE("jinja: errors of a run carry the line where they happen") {
  check_contains(error_of("\n\n{{ raise_exception('no system role') }}"),
                 "t:3: the template refuses: no system role");
  check_contains(error_of("\n{% macro m(x) %}\n{{ x.y.z }}{% endmacro %}\n{{ m({}) }}"),
                 "t:3: 'dict object' has no attribute 'y'");
  check_contains(error_of("{{ 1 +\n'a' }}"), "unsupported operand type(s) for +: 'int' and 'str'");
  check_contains(error_of("{{ 9223372036854775807 + 1 }}"), "'+' exceeds 64 bits");
  check_contains(error_of("{{ 2 ** 64 }}"), "exceeds 64 bits");
  check_contains(error_of("{{ '9' * 30 | int }}{{ ('9' * 30) | int }}"), "exceeds 64 bits");
}

TEST_CASE("jinja: deeply nested sources end in an error") {
  for (const auto& [open, close] :
       {std::pair{"(", ")"}, std::pair{"[", "]"}, std::pair{"-", ""}, std::pair{"not ", ""},
        std::pair{"{1:", "}"}, std::pair{"1 if ", " else 2"}}) {
    CAPTURE(open);
    const std::string source =
        "{{ " + repeated(open, 100'000) + "1" + repeated(close, 100'000) + " }}";
    check_contains(error_of(source), "inside each other");
  }
  for (const char* more : {"+1", "|trim", ".a", "[0]", "()", " and 1", "**2", " if 1"}) {
    CAPTURE(more);
    check_contains(error_of("{{ 1" + repeated(more, 100'000) + " }}"), "inside each other");
  }
  for (const char* block :
       {"{% if 1 %}", "{% for a in b %}", "{% macro m() %}", "{% set x %}", "{% filter trim %}",
        "{% with %}", "{% generation %}", "{% call m() %}"}) {
    CAPTURE(block);
    check_contains(error_of(repeated(block, 1000)), "inside each other");
  }
  check_contains(error_of("{% set " + repeated("(", 1000) + "a" + repeated(")", 1000) + " = 1 %}"),
                 "inside each other");
  CHECK(render("{{ 1" + repeated(" ~ 1", 10'000) + " }}").size() == 10'001);
}

TEST_CASE("jinja: hostile templates run out of steps, text or depth, not of time") {
  check_contains(
      error_of("{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}"
               "{% endfor %}"),
      "t:1: more than 10000000 steps");
  check_contains(error_of("{% for i in range(1000000000) %}{% endfor %}"), "Range too big");
  check_contains(error_of("{{ 'a' * 1000000000 }}"), "a text of more than");
  check_contains(error_of("{{ 'x'.ljust(10 ** 15) }}"), "a text of more than");
  check_contains(error_of("{{ 'x' | indent(10 ** 15) }}"), "a text of more than");
  check_contains(error_of("{{ '{:999999999}'.format(1) }}"), "a width of more than");
  check_contains(error_of("{{ '%999999999d' % 1 }}"), "a width of more than");
  check_contains(error_of("{{ [0] * 1000000000 }}"), "a list of more than");
  check_contains(error_of("{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}"
                          "{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}"),
                 "a text of more than");
  check_contains(error_of("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), "too deep");
  check_contains(error_of("{% macro m(x) %}{{ m(x ~ x) }}{% endmacro %}{{ m('aaaaaaaa') }}"),
                 "a text of more than");
  check_contains(error_of("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"), "too deep");
  // Searching and comparing long texts over and over.
  const std::string long_text =
      "{% set s = 'a' * 10000000 %}{% set t = s ~ '' %}{% for i in range(99999) %}";
  for (const char* use : {"s == t", "[s] == [t]", "s < t", "s in [t]", "s + 'b' == s + 'c'",
                          "'b' in s", "s.find('b')", "s[5]", "s | length", "s.strip('a')",
                          "s.count('b')", "s | upper", "[s] == [s ~ '']", "s is eq (s ~ '')",
                          "s.endswith(s)", "s ~ 'b'", "'%s' % s", "s is lower"}) {
    CAPTURE(use);
    check_contains(error_of(long_text + "{% set x = " + use + " %}{% endfor %}"), "steps");
  }
}

TEST_CASE("jinja: containers that grow into each other are limited where they are made") {
  check_contains(error_of("{% set ns = namespace(x=[]) %}{% for i in range(1000) %}"
                          "{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}"),
                 "lists, dicts or generators inside each other");
  check_contains(error_of("{% set ns = namespace(x=[]) %}{% for i in range(1000) %}"
                          "{% set ns.x = ns.x | map('upper') %}{% endfor %}{{ ns.x | list }}"),
                 "lists, dicts or generators inside each other");
  check_contains(error_of("{% set ns = namespace(x=[1]) %}{% for i in range(90) %}"
                          "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}"),
                 "a list or dict with more than");
  check_contains(error_of("{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns }}"),
                 "a namespace that holds itself");
  // Texts that only differ at their ends, many times in one list.
  check_contains(error_of("{% set a = ['a' * 1000000 ~ 'x'] * 1000 %}"
                          "{% set b = ['a' * 1000000 ~ 'x'] * 1000 %}{{ a == b }}"),
                 "a list or dict with more than");
}

TEST_CASE("jinja: a macro and a loop hold on to nothing behind their block") {
  check_contains(error_of("{% set ns = namespace() %}{% for i in [1] %}{% macro m() %}{{ i }}"
                          "{% endmacro %}{% set ns.m = m %}{% endfor %}{{ ns.m() }}"),
                 "the macro 'm' is called after the block that defines it has ended");
  // Leak checkers see loops that hold themselves.
  CHECK(render("{% for i in [1, 2] %}{{ loop.changed(loop) }}{% endfor %}") == "TrueFalse");
  CHECK(render("{% set ns = namespace() %}{% for i in [1, 2] %}{% set ns.l = loop %}{% endfor %}"
               "{{ ns.l.index }}{{ ns.l.last }}") == "2True");
}

}  // namespace graft::text
