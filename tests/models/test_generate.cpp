#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/models/generate.h"
#include "graft/tests/models/models.h"

namespace graft {
namespace {

using models::Continuation, models::generate, models::StopReason, models::Verdict;
using Prompts = std::vector<std::vector<int64_t>>;

const Prompts prompts{{1, 5, 9, 33, 2}, {1}, {4, 4, 4, 80, 81, 82, 83, 84, 85, 86, 87}};

/// The likeliest next tokens, found without a cache.
std::vector<int64_t> continue_uncached(const nn::CausalLM& model, std::vector<int64_t> ids,
                                       int64_t count) {
  std::vector<int64_t> made;
  for (int64_t step = 0; step < count; ++step) {
    const Tensor logits = test::row_of(test::logits_of(model, test::ids_of(ids)), 0);
    const auto last = logits.span<float>().last(static_cast<size_t>(logits.dim(1)));
    made.push_back(std::ranges::max_element(last) - last.begin());
    ids.push_back(made.back());
  }
  return made;
}

}  // namespace

TEST_CASE("generate: greedy tokens are those found without a cache, for ragged prompts") {
  for (const std::string name : {"gqa", "odd", "untied"}) {
    const auto model = test::golden_model(name);
    const auto rows = generate(*model, prompts, {.max_new_tokens = 20});
    for (size_t row = 0; row < prompts.size(); ++row) {
      CHECK(rows[row].ids == continue_uncached(*model, prompts[row], 20));
      CHECK(rows[row].reason == StopReason::length);
    }
  }
}

TEST_CASE("generate: greedy tokens of real models are those of transformers") {
  const io::Json records = io::read_json_file(test::golden("models.json"));
  for (const io::Json& record : records["real_models"]) {
    CAPTURE(record["name"].get<std::string>());
    const auto model = models::load(test::data(record["folder"]));
    const std::vector<int64_t> expected = record["greedy_ids"];
    const auto rows = generate(*model, {record["input_ids"]},
                               {.max_new_tokens = static_cast<int64_t>(expected.size())});
    CHECK(rows[0].ids == expected);
  }
}

TEST_CASE("generate: sampled tokens do not depend on the other rows of the batch") {
  const auto model = test::golden_model("gqa");
  models::GenerateOptions options{
      .max_new_tokens = 24, .temperature = 1.3, .top_k = 40, .top_p = 0.95, .seed = 7};
  const auto together = generate(*model, prompts, options);
  for (size_t row = 0; row < prompts.size(); ++row) {
    options.first_row = static_cast<int64_t>(row);
    CHECK(generate(*model, {prompts[row]}, options)[0].ids == together[row].ids);
  }
  CHECK(generate(*model, prompts, options)[0].ids != together[0].ids);  // first_row is 2 here
  options.first_row = 0;
  CHECK(generate(*model, prompts, options)[1].ids == together[1].ids);
  options.seed = 8;
  CHECK(generate(*model, prompts, options)[1].ids != together[1].ids);
}

TEST_CASE("generate: rows end one by one, each with its reason, and the others go on") {
  const auto model = test::golden_model("gqa");
  const auto all = generate(*model, prompts, {.max_new_tokens = 12});
  // A token that row 0 makes, and maybe others.
  const int64_t stop = all[0].ids[4];
  std::map<int64_t, std::vector<int64_t>> shown;
  const auto rows = generate(
      *model, prompts,
      {.max_new_tokens = 12, .stop_ids = {stop}, .on_token = [&](int64_t row, int64_t token) {
         shown[row].push_back(token);
         return row == 1 && shown[1].size() == 3 ? Verdict::end_row : Verdict::go_on;
       }});
  for (size_t row = 0; row < prompts.size(); ++row) {
    CAPTURE(row);
    std::vector<int64_t> expected = all[row].ids;
    expected.erase(std::ranges::find(expected, stop), expected.end());
    StopReason reason = expected.size() < 12 ? StopReason::stop_id : StopReason::length;
    if (row == 1 && expected.size() >= 3) {
      expected.resize(3);
      reason = StopReason::caller;
    }
    CHECK(rows[row].ids == expected);
    CHECK(rows[row].reason == reason);
    CHECK(shown[static_cast<int64_t>(row)] == expected);
  }
  CHECK(rows[0].reason == StopReason::stop_id);
}

TEST_CASE("generate: cancelling ends all rows at once and keeps what they have") {
  const auto model = test::golden_model("gqa");
  const auto all = generate(*model, prompts, {.max_new_tokens = 12});
  int64_t shown = 0;
  const auto rows =
      generate(*model, prompts, {.max_new_tokens = 12, .on_token = [&](int64_t, int64_t) {
                                   return ++shown == 5 ? Verdict::cancel : Verdict::go_on;
                                 }});
  CHECK(shown == 5);
  const size_t kept[] = {2, 2, 1};
  for (size_t row = 0; row < 3; ++row) {
    CHECK(rows[row].reason == StopReason::cancelled);
    CHECK(std::ranges::equal(rows[row].ids, std::span(all[row].ids).first(kept[row])));
  }
}

TEST_CASE("generate: a row ends where the model's positions end") {
  const auto model = test::golden_model("gqa");  // 64 positions
  const std::vector<int64_t> longest(64, 3);
  const std::vector<int64_t> shorter(60, 3);
  const auto rows = generate(*model, {longest, shorter, {1}}, {.max_new_tokens = 1000});
  CHECK(rows[0].ids.empty());
  CHECK(rows[1].ids.size() == 4);
  CHECK(rows[2].ids.size() == 63);
  for (const Continuation& row : rows)
    CHECK(row.reason == StopReason::length);
  CHECK(rows[1].ids == continue_uncached(*model, shorter, 4));
}

TEST_CASE("generate: nothing to do gives nothing") {
  const auto model = test::golden_model("gqa");
  CHECK(generate(*model, {}, {}).empty());
  CHECK(generate(*model, {{1}}, {.max_new_tokens = 0})[0].ids.empty());
}

TEST_CASE("generate: options and prompts that cannot be are refused by name") {
  const auto model = test::golden_model("gqa");
  const auto refused = [&](const Prompts& given, const models::GenerateOptions& options,
                           const std::string& part) {
    test::check_contains(test::message_of<ConfigError>([&] { generate(*model, given, options); }),
                         part);
  };
  refused({{1}, {}}, {}, "prompt 1 is empty");
  refused({{1, 96}}, {}, "prompt 0 holds the id 96, 0 to 95 expected");
  refused({{-1}}, {}, "prompt 0 holds the id -1");
  refused({std::vector<int64_t>(65, 1)}, {}, "prompt 0 has 65 tokens, the model has 64 positions");
  refused({{1}}, {.max_new_tokens = -1}, "max_new_tokens is -1");
  refused({{1}}, {.temperature = -0.1}, "temperature is -0.1");
  refused({{1}}, {.top_k = -1}, "top_k is -1");
  refused({{1}}, {.top_p = 0}, "top_p is 0");
  refused({{1}}, {.top_p = 1.5}, "top_p is 1.5");
}

}  // namespace graft
