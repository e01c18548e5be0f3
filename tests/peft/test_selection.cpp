// Which layers of a model a configuration means, and what is said where it means none.

#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using io::Json;
using test::check_contains, test::matcher, test::message_of, test::tiny_llama, test::Warnings;

const Json& answers() {
  static const Json json = io::read_json_file(test::golden("peft_matching.json"));
  return json;
}

/// LoraConfig(r=4, lora_alpha=8, **json) as a file would say it.
LoraConfig config_of(Json json) {
  json["peft_type"] = "LORA";
  json["r"] = json.value("r", 4);
  return parse_lora_config(io::to_text(json), "config");
}

Selection select(nn::CausalLM& model, LoraConfig config, const Observer& observer = {},
                 bool strict = false) {
  return select_layers(model, std::move(config),
                       {.matcher = matcher(), .observer = observer, .strict = strict});
}

std::string strict_refusal(LoraConfig config) {
  const auto model = tiny_llama(2);
  return message_of<ConfigError>([&] { select(*model, std::move(config), {}, true); });
}

}  // namespace

TEST_CASE("selection: the layers, ranks and stored targets are PEFT's") {
  for (const Json& row : answers()["injections"]) {
    CAPTURE(row["config"].dump());
    const auto model = tiny_llama(row["num_hidden_layers"].get<int64_t>());
    Warnings warnings;
    const Selection selection = select(*model, config_of(row["config"]), warnings.observer());
    REQUIRE(selection.layers.size() == row["modules"].size());
    size_t i = 0;
    for (const auto& [path, r] : row["modules"].items()) {
      CHECK(selection.layers[i].site.path == path);
      CHECK(selection.layers[i].r == r.get<int64_t>());
      ++i;
    }
    const Json stored = Json::parse(to_json(selection.config))["target_modules"];
    CHECK(stored == row["stored_target_modules"]);
    // PEFT says nothing of targets that match nothing.
    const bool has_unknown_target = stored.dump().find("no_such") != std::string::npos;
    CHECK(warnings.texts.size() == row["warnings"].size() + (has_unknown_target ? 1 : 0));
  }
}

TEST_CASE("selection: what PEFT refuses is refused") {
  for (const Json& row : answers()["failures"]) {
    if (row["type"].is_null())
      continue;
    CAPTURE(row.dump());
    const auto model = tiny_llama(2);
    bool refused = false;
    try {
      select(*model, config_of(row["config"]));
    } catch (const ConfigError&) {
      refused = true;
    } catch (const FormatError&) {  // from config_of
      refused = true;
    }
    CHECK(refused);
  }
}

TEST_CASE("selection: a name that matches nothing is an error that names the nearest") {
  check_contains(strict_refusal({.target_modules = {"q_proj", "v_porj"}}),
                 "target_modules: \"v_porj\" matches no module of the model (did you mean "
                 "'v_proj'?); its linear layers are q_proj, k_proj, v_proj, o_proj, gate_proj, "
                 "up_proj, down_proj, lm_head");
  check_contains(strict_refusal({.target_modules = {"model.layers.0.self_atn.q_proj"}}),
                 "(did you mean 'model.layers.0.self_attn.q_proj'?)");
  check_contains(strict_refusal({.target_modules = {"q_proj"}, .exclude_modules = {"lm_hed"}}),
                 "exclude_modules: \"lm_hed\" matches no module of the model (did you mean "
                 "'lm_head'?)");
  check_contains(
      strict_refusal({.target_modules = {"q_proj"}, .exclude_modules = Targets::regex("x+")}),
      "exclude_modules: the regular expression \"x+\" matches no module");
  check_contains(strict_refusal({.target_modules = {"q_proj"}, .rank_pattern = {{"q_prj", 2}}}),
                 "rank_pattern: \"q_prj\" matches no targeted module (did you mean 'q_proj'?); "
                 "targeted are q_proj");
  check_contains(strict_refusal({.target_modules = {"q_proj"}, .alpha_pattern = {{"k_proj", 2}}}),
                 "alpha_pattern: \"k_proj\" matches no targeted module");
  check_contains(strict_refusal({.target_modules = {"q_proj"}, .layers_to_transform = {0, 7}}),
                 "layers_to_transform: no targeted module is in layer 7; the model's are in "
                 "layers 0 to 1");
  check_contains(strict_refusal({.target_modules = {"q_proj"},
                                 .layers_to_transform = 0,
                                 .layers_pattern = {"layers", "h"}}),
                 "layers_pattern: no number follows \"h\" in the path of a targeted module, such "
                 "as model.layers.0.self_attn.q_proj");
}

TEST_CASE("selection: where not strict, the observer is told instead") {
  const auto model = tiny_llama(2);
  Warnings warnings;
  const Selection selection = select(*model,
                                     {.target_modules = {"q_proj", "v_porj"},
                                      .exclude_modules = {"lm_hed"},
                                      .layers_to_transform = {0, 7},
                                      .rank_pattern = {{"q_prj", 2}}},
                                     warnings.observer());
  CHECK(selection.layers.size() == 1);
  REQUIRE(warnings.texts.size() == 4);
  check_contains(warnings.texts[0], "lora config: target_modules: \"v_porj\"");
  check_contains(warnings.texts[1], "exclude_modules: \"lm_hed\"");
  check_contains(warnings.texts[2], "layer 7");
  check_contains(warnings.texts[3], "rank_pattern: \"q_prj\"");
}

TEST_CASE("selection: where nothing is left, the message says why") {
  const auto refusal = [](LoraConfig config) {
    const auto model = tiny_llama(2);
    return message_of<ConfigError>([&] { select(*model, std::move(config)); });
  };
  check_contains(refusal({.target_modules = {"no_such"}}),
                 "target_modules (no_such) matches no module of the model; its linear layers are");
  check_contains(refusal({.target_modules = Targets::regex("q_proj")}),
                 "A regular expression has to match the whole path, such as lm_head");
  check_contains(refusal({.target_modules = {"q_proj"}, .exclude_modules = {"q_proj"}}),
                 "leave none of the 2 modules that target_modules means, such as "
                 "model.layers.0.self_attn.q_proj");
  check_contains(refusal({.target_modules = {"q_proj"}, .layers_to_transform = 7}), "leave none");
  check_contains(refusal({.target_modules = std::vector<std::string>()}),
                 "target_modules is empty");
  check_contains(refusal({.target_modules = {"self_attn"}}),
                 "target_modules means model.layers.0.self_attn, and graft adapts linear layers "
                 "and embeddings only: q_proj, k_proj");
}

TEST_CASE("selection: default targets need a known model type") {
  class Unknown final : public nn::CausalLM {
   public:
    explicit Unknown(nn::CausalLM& model) : model_(model), info_(model.info()) {
      info_.model_type = "phi3";
    }
    Variable forward(const Tensor& ids, const nn::Context& context) const override {
      return model_.forward(ids, context);
    }
    const nn::LinearLike& head() const override { return model_.head(); }
    const nn::ModelInfo& info() const override { return info_; }

   private:
    nn::CausalLM& model_;
    nn::ModelInfo info_;
  };
  const auto model = tiny_llama(1);
  Unknown unknown(*model);
  check_contains(message_of<ConfigError>([&] { select(unknown, {}); }),
                 "target_modules is not given, and none are known for a model of type \"phi3\"");
}

TEST_CASE("selection: fan_in_fan_out says nothing about graft's weights") {
  const auto model = tiny_llama(1);
  Warnings warnings;
  const Selection selection =
      select(*model, {.target_modules = {"q_proj"}, .fan_in_fan_out = true}, warnings.observer());
  CHECK(!selection.config.fan_in_fan_out);
  REQUIRE(warnings.texts.size() == 1);
  check_contains(warnings.texts[0], "fan_in_fan_out is true");
}

}  // namespace graft::peft
