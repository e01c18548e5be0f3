// PEFT's rules on names, against PEFT's own answers (tests/golden/make_peft_matching.py).

#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using io::Json;
using test::check_contains, test::matcher, test::message_of;

const Json& answers() {
  static const Json json = io::read_json_file(test::golden("peft_matching.json"));
  return json;
}

Targets targets_of(const Json& json) {
  return json.is_string() ? Targets::regex(json.get<std::string>())
                          : Targets(json.get<std::vector<std::string>>());
}

OneOrMany<int64_t> layers_of(const Json& json) {
  if (json.is_null())
    return {};
  return json.is_number() ? OneOrMany<int64_t>(json.get<int64_t>())
                          : OneOrMany<int64_t>(json.get<std::vector<int64_t>>());
}

OneOrMany<std::string> patterns_of(const Json& json) {
  if (json.is_null() || json == "")
    return {};
  return json.is_string() ? OneOrMany<std::string>(json.get<std::string>())
                          : OneOrMany<std::string>(json.get<std::vector<std::string>>());
}

}  // namespace

TEST_CASE("matching: targets, layers and layer patterns mean what they mean in PEFT") {
  int rows = 0;
  for (const Json& row : answers()["targets"]) {
    const LoraConfig config{.target_modules = targets_of(row["targets"]),
                            .layers_to_transform = layers_of(row["layers"]),
                            .layers_pattern = patterns_of(row["pattern"])};
    CAPTURE(row.dump());
    CHECK(is_targeted(config, row["name"].get<std::string>(), matcher()) ==
          row["expected"].get<bool>());
    ++rows;
  }
  CHECK(rows == 84);
}

TEST_CASE("matching: excluded and saved modules are left out as by PEFT") {
  for (const Json& row : answers()["skips"]) {
    LoraConfig config{.target_modules = {"q_proj"}};
    if (row.contains("exclude_modules"))
      config.exclude_modules = targets_of(row["exclude_modules"]);
    else
      config.modules_to_save = row["modules_to_save"].get<std::vector<std::string>>();
    CAPTURE(row.dump());
    CHECK(is_targeted(config, row["name"].get<std::string>(), matcher()) ==
          row["expected"].get<bool>());
  }
}

TEST_CASE("matching: the first key of a pattern that matches wins, as in PEFT") {
  for (const Json& row : answers()["patterns"]) {
    CAPTURE(row.dump());
    Pattern<int64_t> ranks;
    Pattern<double> alphas;
    for (const Json& item : row["pattern"]) {
      ranks.emplace_back(item[0].get<std::string>(), item[1].get<int64_t>());
      alphas.emplace_back(item[0].get<std::string>(), item[1].get<double>());
    }
    for (const auto& [name, expected] : row["ranks"].items())
      CHECK(pattern_value<int64_t>(ranks, name, 8, matcher()) == expected.get<int64_t>());
    for (const auto& [name, expected] : row["alphas"].items())
      CHECK(pattern_value<double>(alphas, name, 8, matcher()) == expected.get<double>());
  }
}

TEST_CASE("matching: the default targets are PEFT's, for every type it knows and for no other") {
  for (const auto& [type, expected] : answers()["default_targets"].items()) {
    CAPTURE(type);
    CHECK(default_targets(type) == targets_of(expected));
  }
  CHECK(!default_targets("phi3").is_set());
  CHECK(!default_targets("").is_set());
}

TEST_CASE("matching: layer patterns that are regular expressions stop where Python's do") {
  // re.match(r"(?:^|.*?\.)PATTERN\.(\d+)\.", name): its group, or nothing.
  struct Row {
    const char* name;
    const char* pattern;
    std::optional<int64_t> index;
  };
  const Row rows[] = {
      {"a.layers.1.b.layers.2.c", "layers", 1},
      {"a.layers.1.b.layers.2.c", "lay[a-z]+", 1},
      {"a.layers.1.b.layers.2.c", ".*", 2},
      {"a.layers.1.b.layers.2.c", ".*?", 1},
      {"a.layers.1.b.layers.2.c", "b.*", 2},
      {"a.layers.1.b.h.2.c", "h|layers", std::nullopt},  // "h" alone matches, without a number
      {"layers.3.c", "layers|h", std::nullopt},
      {"layers.3.c", "h|layers", 3},
      {"a.layers.12.c", R"(\w+)", 12},
      {"a.layers.x.c", R"(\w+)", std::nullopt},
      {"a.layers.1", "[l]ayers", std::nullopt},  // the number has to be followed by a name
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    CAPTURE(row.pattern);
    CHECK(layer_index(row.name, {row.pattern}, matcher()) == row.index);
  }
  CHECK(layer_index("a.h.99999999999999999999.c", {"h"}, {}) == std::nullopt);
}

TEST_CASE("matching: plain names need no matcher, and others say what to pass") {
  CHECK(full_match("model.layers.0", "model.layers.0", {}));
  CHECK(full_match("model.layers", "modelxlayers", {}));
  CHECK(!full_match("model", "models", {}));
  CHECK(key_matches("^module.foo", "module.foo", {}));
  CHECK(!key_matches("^module.foo", "module.module.foo", {}));
  check_contains(message_of<ConfigError>([] { full_match(".*_proj", "q_proj", {}); }),
                 "\".*_proj\" is a regular expression, and nothing was given that matches those; "
                 "pass text::full_matcher()");
}

TEST_CASE("matching: long lists are shortened to suffixes that mean the same") {
  std::vector<std::string> targets;
  std::vector<std::string> others;
  for (int i = 0; i < 100; ++i) {
    targets.push_back(concat("model.decoder.layers.", i, ".self_attn.q_proj"));
    targets.push_back(concat("model.decoder.layers.", i, ".self_attn.v_proj"));
    others.push_back(concat("model.encoder.layers.", i, ".self_attn.k_proj"));
  }
  CHECK(minimal_targets(targets, others) == std::vector<std::string>{"q_proj", "v_proj"});
  // With a q_proj that is not meant, the names have to be longer.
  others.push_back("model.encoder.self_attn.q_proj");
  const std::vector<std::string> longer = minimal_targets(targets, others);
  CHECK(longer.size() == 101);
  const Targets as_targets(longer);
  for (const std::string& name : targets)
    CHECK(means(as_targets, name, {}));
  for (const std::string& name : others)
    CHECK(!means(as_targets, name, {}));
}

}  // namespace graft::peft
