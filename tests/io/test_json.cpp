#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/io/json_events.h"
#include "graft/tests/io/bytes.h"
#include "graft/tests/support/test.h"

namespace graft::io {
namespace {

using test::check_contains;
using test::message_of;

/// The message that parsing `text` as the file "t.json" ends in.
std::string refusal(std::string_view text, const JsonLimits& limits = {}) {
  return message_of<FormatError>([&] { parse_json(text, "t.json", limits); });
}

std::string nested(int depth) {
  const auto count = static_cast<size_t>(depth);
  return std::string(count, '[') + std::string(count, ']');
}

}  // namespace

TEST_CASE("parse_json: values come back as they are written, keys in their order") {
  const std::string text =
      R"({"z":1,"a":[true,false,null,-5,2.5,"é\n😀"],"m":{"empty":{},"list":[]},"big":18446744073709551615})";
  const Json json = parse_json(text, "t.json");
  CHECK(to_text(json, -1) ==
        "{\"z\":1,\"a\":[true,false,null,-5,2.5,\"é\\n😀\"],\"m\":{\"empty\":{},\"list\":[]},"
        "\"big\":18446744073709551615}");
  CHECK(parse_json(" 7 ", "t.json") == 7);
  CHECK(parse_json("\"x\"", "t.json") == "x");
}

TEST_CASE("parse_json: agrees with nlohmann's own tree") {
  for (const char* text :
       {"[[],{},[[1,2],3],{\"a\":{\"b\":[{}]}}]", "-0", "1e3", "123456789012345678901",
        "[-9223372036854775808, 1.5e-300]", "{\"\":\"\"}", "\"\\ud83d\\ude00\""})
    CHECK(to_text(parse_json(text, "t.json")) == to_text(Json::parse(text)));
}

TEST_CASE("parse_json: what is not JSON is refused with the byte where it goes wrong") {
  struct Case {
    std::string text;
    int64_t offset;
  };
  for (const auto& [text, offset] : std::initializer_list<Case>{{"", 0},
                                                                {"{\"a\":1", 6},
                                                                {"[1,]", 3},
                                                                {"[01]", 2},
                                                                {"[1] x", 4},
                                                                {"[NaN]", 1},
                                                                {"{\"a\" 1}", 5},
                                                                {"[\"a\x01\"]", 3},
                                                                {"['a']", 1},
                                                                {"[1e400]", 5},
                                                                {"[\"\xff\"]", 2},
                                                                {"[\"\xc0\x80\"]", 2},
                                                                {"[\"\xed\xa0\x80\"]", 3},
                                                                {"[\"\\ud800\"]", 8},
                                                                {"[//]", 1},
                                                                {std::string("[\0]", 3), 1},
                                                                {std::string("{}\0", 3), 2},
                                                                {std::string("7\0 x", 4), 1}}) {
    CAPTURE(text);
    const std::string message = refusal(text);
    check_contains(message, "t.json: at byte ");
    check_contains(message, "not valid JSON");
    CHECK(test::offset_in(message) == offset);
  }
}

TEST_CASE("parse_json: messages show no control characters of the file and stay short") {
  const std::string message = refusal("[\"" + std::string(5000, 'a') + "\x1b[31m");
  CHECK(message.find('\x1b') == std::string::npos);
  CHECK(message.size() < 400);
}

TEST_CASE("parse_json: a key that is there twice is refused at any level") {
  const std::string message = refusal(R"({"a":1,"b":{"c":1,"d":2,"c":3}})");
  check_contains(message, "key 'c' is there twice");
  CHECK(test::offset_in(message) == 27);
  CHECK(refusal(R"({"a":1,"\u0061":2})").find("'a' is there twice") != std::string::npos);
  CHECK_NOTHROW(parse_json(R"([{"a":1},{"a":1},{"b":{"a":1},"a":2}])", "t.json"));
}

TEST_CASE("parse_json: nesting is limited, whatever the stack could bear") {
  CHECK_NOTHROW(parse_json(nested(64), "t.json"));
  const std::string message = refusal(nested(65));
  check_contains(message, "more than 64 levels");
  CHECK(test::offset_in(message) == 65);
  check_contains(refusal(nested(1'000'000), {.max_bytes = 4'000'000}), "more than 64 levels");
  check_contains(refusal(R"({"a":{"b":[1]}})", {.max_depth = 2}), "more than 2 levels");
}

TEST_CASE("parse_json: a text beyond the limit is refused before it is parsed") {
  const std::string message = refusal(std::string(100, '?'), {.max_bytes = 99});
  check_contains(message, "JSON of 100 bytes, at most 99 are read");
}

TEST_CASE("parse_json: an object of many keys takes no quadratic time") {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i)  // squared this would be minutes
    text += concat(i == 0 ? "" : ",", "\"", i, "\":", i);
  const Json json = parse_json(text + "}", "t.json", {.max_bytes = 10'000'000});
  CHECK(json.size() == 200'000);
}

TEST_CASE("read_json_file: names the file, and refuses one that is too large unread") {
  const test::TemporaryFolder folder;
  test::put_bytes(folder / "a.json", "{\"a\": 1}");
  CHECK(read_json_file(folder / "a.json")["a"] == 1);
  const std::string path = (folder / "a.json").string();
  check_contains(message_of<FormatError>([&] { read_json_file(path, {.max_bytes = 7}); }),
                 path + ": has 8 bytes, at most 7 are read");
  check_contains(message_of<IoError>([&] { read_json_file(folder / "b.json"); }),
                 "b.json: No such");
}

TEST_CASE("to_text: bytes that are no UTF-8 do not stop it") {
  CHECK(to_text(Json("a\xff"), -1) == "\"a\xef\xbf\xbd\"");
  CHECK(to_text(Json{{"a", 1}}) == "{\n  \"a\": 1\n}");
}

TEST_CASE("parse_json_events: tells each piece in order, with its offset in the file") {
  struct Log final : JsonHandler {
    std::string text_;
    void add(const std::string& piece) { text_ += concat(piece, "@", offset(), " "); }
    void null() override { add("null"); }
    void boolean(bool value) override { add(value ? "true" : "false"); }
    void negative(int64_t value) override { add(concat(value)); }
    void integer(uint64_t value) override { add(concat(value)); }
    void number(double value) override { add(concat(value)); }
    void text(std::string& value) override { add("'" + value + "'"); }
    void begin_object() override { add("{"); }
    void key(std::string& name) override { add(name + ":"); }
    void end_object() override { add("}"); }
    void begin_array() override { add("["); }
    void end_array() override { add("]"); }
  } log;
  parse_json_events(R"({"a":[null,true,"x"],"b":{}})", "t.json", {}, log, 100);
  CHECK(log.text_ ==
        "{@101 a:@104 [@106 null@110 true@115 'x'@119 ]@120 b:@124 {@126 }@127 }@128 ");
  log.text_.clear();
  parse_json_events("[-3, 4, 0.5]", "t.json", {}, log);
  check_contains(log.text_, "-3@");
  check_contains(log.text_, "0.5@");
}

}  // namespace graft::io
