#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/tests/support/test.h"
#include "graft/text/answer_match.h"

namespace graft::text {

TEST_CASE("answer match: what is compared is what lm-eval's convention says") {
  std::ifstream file(test::golden("evaluation.json"));
  const auto golden = nlohmann::json::parse(file);
  CHECK(golden["matches"].size() > 10);
  for (const auto& one : golden["matches"]) {
    INFO(one.dump());
    const auto& options = one["options"];
    const AnswerMatch match(
        {.answer_pattern = options.value("answer_pattern", ""),
         .ignored_patterns = options.value("ignored_patterns", std::vector<std::string>{}),
         .ignore_case = options.value("ignore_case", false),
         .ignore_punctuation = options.value("ignore_punctuation", false)});
    const std::vector<std::string> texts = {one["prediction"], one["reference"]};
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto compared = match.compared(texts[i]);
      CHECK((compared ? nlohmann::json(*compared) : nlohmann::json()) == one["compared"][i]);
    }
  }
}

TEST_CASE("answer match: a group that takes no part has found nothing") {
  const AnswerMatch match({.answer_pattern = "a|b(c)"});
  CHECK_FALSE(match.compared("a"));
  CHECK(match.compared("bc") == "c");
}

TEST_CASE("answer match: patterns that are none, or take too long, are refused") {
  test::check_contains(test::message_of<ConfigError>([] { AnswerMatch({.answer_pattern = "(a"}); }),
                       "(a");
  test::check_contains(
      test::message_of<ConfigError>([] { AnswerMatch({.ignored_patterns = {"[a"}}); }), "[a");
  const AnswerMatch slow({.answer_pattern = "(a+)+$"});
  CHECK_THROWS_AS(slow.compared(std::string(200, 'a') + "b"), ConfigError);
}

}  // namespace graft::text
