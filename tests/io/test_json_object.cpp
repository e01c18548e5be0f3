#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/tests/support/test.h"

namespace graft::io {
namespace {

using test::check_contains;
using test::message_of;

const Json& sample() {
  static const Json json = parse_json(R"({
    "int": 7, "negative": -7, "float": 2.5, "whole": 3.0, "huge": 18446744073709551615,
    "beyond": 100000000000000000000, "true": true, "text": "abc", "null": null,
    "list": [1, 2, 3], "mixed": [1, "a", 2.5], "texts": ["a", "b"], "numbers": [1, 2.5],
    "object": {"inner": {"deep": "x"}}, "objects": [{"a": 1}, {"a": "b"}],
    "long": "0123456789012345678901234567890123456789012345678901234567890123456789"
  })",
                                      "c.json");
  return json;
}

std::string refusal(const std::function<void(const JsonObject&)>& read) {
  return message_of<FormatError>([&] { read(JsonObject(sample(), "c.json")); });
}

}  // namespace

TEST_CASE("JsonObject: members come out as what they are") {
  const JsonObject object(sample(), "c.json");
  CHECK(object.integer("int") == 7);
  CHECK(object.integer("negative") == -7);
  CHECK(object.number("float") == 2.5);
  CHECK(object.number("int") == 7);
  CHECK(object.number("whole") == 3);
  CHECK(object.boolean("true"));
  CHECK(object.text("text") == "abc");
  CHECK(object.integers("list") == std::vector<int64_t>{1, 2, 3});
  CHECK(object.numbers("numbers") == std::vector<double>{1, 2.5});
  CHECK(object.texts("texts") == std::vector<std::string>{"a", "b"});
  CHECK(object.object("object").object("inner").text("deep") == "x");
  CHECK(object.objects("objects")[0].integer("a") == 1);
  CHECK(object.value("mixed").size() == 3);
  CHECK(object.file() == "c.json");
}

TEST_CASE("JsonObject: fallbacks stand in for missing and null members only") {
  const JsonObject object(sample(), "c.json");
  CHECK(object.integer_or("missing", 4) == 4);
  CHECK(object.integer_or("null", 4) == 4);
  CHECK(object.integer_or("int", 4) == 7);
  CHECK(object.number_or("missing", 0.5) == 0.5);
  CHECK(object.number_or("float", 0.5) == 2.5);
  CHECK(object.boolean_or("null", true));
  CHECK(object.boolean_or("true", false));
  CHECK(object.text_or("missing", "y") == "y");
  CHECK(object.text_or("text", "y") == "abc");
  CHECK_THROWS_AS(object.integer_or("text", 4), FormatError);
  CHECK_THROWS_AS(object.number_or("text", 4), FormatError);
  CHECK_THROWS_AS(object.boolean_or("int", true), FormatError);
  CHECK_THROWS_AS(object.text_or("int", "y"), FormatError);
}

TEST_CASE("JsonObject: kinds") {
  const JsonObject object(sample(), "c.json");
  CHECK(object.kind("int") == JsonKind::integer);
  CHECK(object.kind("negative") == JsonKind::integer);
  CHECK(object.kind("whole") == JsonKind::number);
  CHECK(object.kind("beyond") == JsonKind::number);
  CHECK(object.kind("true") == JsonKind::boolean);
  CHECK(object.kind("text") == JsonKind::text);
  CHECK(object.kind("null") == JsonKind::null);
  CHECK(object.kind("list") == JsonKind::array);
  CHECK(object.kind("object") == JsonKind::object);
  CHECK(object.kind("missing") == JsonKind::absent);
  CHECK(object.has("int"));
  CHECK(!object.has("null"));
  CHECK(!object.has("missing"));
}

TEST_CASE("JsonObject: nothing wraps and nothing converts silently") {
  check_contains(refusal([](const JsonObject& o) { o.integer("huge"); }),
                 "c.json: huge is 18446744073709551615, expected an integer");
  check_contains(refusal([](const JsonObject& o) { o.integer("beyond"); }), "beyond is 1e+20");
  check_contains(refusal([](const JsonObject& o) { o.integer("float"); }), "float is 2.5");
  check_contains(refusal([](const JsonObject& o) { o.integer("whole"); }), "whole is 3.0");
  check_contains(refusal([](const JsonObject& o) { o.integer("true"); }), "true is true");
  check_contains(refusal([](const JsonObject& o) { o.integer("negative", {.min = 0}); }),
                 "negative is -7, expected an integer of at least 0");
  check_contains(refusal([](const JsonObject& o) { o.integer("int", {.min = 0, .max = 6}); }),
                 "int is 7, expected an integer from 0 to 6");
  check_contains(refusal([](const JsonObject& o) { o.number("text"); }),
                 "text is \"abc\", expected a number");
  check_contains(refusal([](const JsonObject& o) { o.boolean("int"); }),
                 "int is 7, expected true or false");
  check_contains(refusal([](const JsonObject& o) { o.text("list"); }),
                 "list is a list of 3, expected a text");
}

TEST_CASE("JsonObject: errors name the path of the member") {
  check_contains(refusal([](const JsonObject& o) { o.integer("missing"); }),
                 "c.json: missing is missing, expected an integer");
  check_contains(
      refusal([](const JsonObject& o) { o.object("object").object("inner").number("deep"); }),
      "object.inner.deep is \"x\", expected a number");
  check_contains(refusal([](const JsonObject& o) { o.objects("objects")[1].integer("a"); }),
                 "objects[1].a is \"b\", expected an integer");
  check_contains(refusal([](const JsonObject& o) { o.integers("mixed"); }),
                 "mixed[1] is \"a\", expected an integer");
  check_contains(refusal([](const JsonObject& o) { o.texts("mixed"); }), "mixed[0] is 1");
  check_contains(refusal([](const JsonObject& o) { o.numbers("mixed"); }), "mixed[1] is \"a\"");
  check_contains(refusal([](const JsonObject& o) { o.objects("list"); }),
                 "list[0] is 1, expected an object");
  check_contains(refusal([](const JsonObject& o) { o.object("int"); }),
                 "int is 7, expected an object");
  check_contains(refusal([](const JsonObject& o) { o.integers("int"); }), "expected a list");
  check_contains(refusal([](const JsonObject& o) { o.value("missing"); }), "expected a value");
  check_contains(refusal([](const JsonObject& o) { throw o.wrong("int", "better"); }),
                 "int is 7, expected better");
}

TEST_CASE("JsonObject: long values are cut in messages") {
  CHECK(refusal([](const JsonObject& o) { o.integer("long"); }).size() < 130);
}

TEST_CASE("JsonObject: a file that is no object is refused") {
  const Json list = Json::array({1, 2});
  check_contains(message_of<FormatError>([&] { JsonObject(list, "c.json"); }),
                 "c.json: the file is a list of 2, expected an object");
}

TEST_CASE("JsonObject: tells which keys nobody asked for") {
  const Json json = parse_json(R"({"a": 1, "b": 2, "c": 3, "d": null})", "c.json");
  const JsonObject object(json, "c.json");
  CHECK(object.keys() == std::vector<std::string>{"a", "b", "c", "d"});
  CHECK(object.unasked() == object.keys());
  object.integer("b");
  object.integer_or("d", 1);
  object.integer_or("e", 1);
  CHECK(object.unasked() == std::vector<std::string>{"a", "c"});
}

}  // namespace graft::io
