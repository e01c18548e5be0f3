// LoraConfig and its file, against the files PEFT wrote (tests/golden/make_peft_files.py).

#include <algorithm>
#include <limits>

#include "graft/io/file.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using test::check_contains, test::golden, test::message_of;

std::string golden_config(const std::string& name) {
  return io::read_file(golden("peft_files/" + name + "/adapter_config.json"), 1 << 20);
}

/// The text with the lines of the list `key` sorted: PEFT's order is that of a Python set.
std::string with_sorted_list(std::string text, const std::string& key) {
  const std::string opening = "\"" + key + "\": [\n";
  const size_t start = text.find(opening);
  if (start == std::string::npos)
    return text;
  const size_t begin = start + opening.size();
  const size_t end = text.find("\n  ]", begin);
  std::vector<std::string> lines;
  for (size_t at = begin; at < end;) {
    const size_t next = std::min(text.find('\n', at), end);
    std::string line = text.substr(at, next - at);
    if (line.ends_with(','))
      line.pop_back();
    lines.push_back(line);
    at = next + 1;
  }
  std::ranges::sort(lines);
  std::string sorted;
  for (const std::string& line : lines)
    sorted += (sorted.empty() ? "" : ",\n") + line;
  return text.replace(begin, end - begin, sorted);
}

/// The config of a file that says no more than it must, and this.
LoraConfig parse_with(const std::string& member) {
  return parse_lora_config(R"({"peft_type": "LORA", "target_modules": ["q_proj"], )" + member + "}",
                           "c.json");
}
std::string refusal_of(const std::string& member) {
  return message_of<FormatError>([&] { parse_with(member); });
}

}  // namespace

TEST_CASE("lora config: PEFT's files are read and written again byte for byte") {
  for (const char* name : {"default",          "no_task_type",    "q_v",
                           "all_linear",       "regex",           "rslora",
                           "patterns",         "patterns_rslora", "layers_to_transform",
                           "exclude_modules",  "dropout",         "gaussian",
                           "fractional_alpha", "lm_head_untied",  "lm_head_tied",
                           "embedding",        "modules_to_save", "bias_all",
                           "bias_lora_only",   "lora_bias",       "dora"}) {
    CAPTURE(name);
    const std::string text = golden_config(name);
    const LoraConfig config = parse_lora_config(text, "adapter_config.json");
    CHECK(to_json(config) == with_sorted_list(text, "target_modules"));
  }
}

TEST_CASE("lora config: what PEFT's files say is understood") {
  const LoraConfig patterns = parse_lora_config(golden_config("patterns"), "c.json");
  CHECK(patterns.r == 4);
  CHECK(patterns.lora_alpha == 8);
  CHECK(patterns.task_type == "CAUSAL_LM");
  CHECK(patterns.base_model_name_or_path == "models/gqa");
  CHECK(patterns.inference_mode);
  CHECK(patterns.rank_pattern == Pattern<int64_t>{{"layers.1.mlp.up_proj", 6}, {"v_proj", 2}});
  CHECK(patterns.alpha_pattern == Pattern<double>{{R"(layers\.0\..*)", 16}, {"up_proj", 3}});
  const LoraConfig no_task = parse_lora_config(golden_config("no_task_type"), "c.json");
  REQUIRE(no_task.auto_mapping);
  CHECK(no_task.auto_mapping->base_model_class == "LlamaForCausalLM");
  CHECK(parse_lora_config(golden_config("regex"), "c.json").target_modules ==
        Targets::regex(R"(.*\.(q_proj|down_proj))"));
  CHECK(parse_lora_config(golden_config("fractional_alpha"), "c.json").lora_alpha == 1.5);
  CHECK(parse_lora_config(golden_config("gaussian"), "c.json").init_lora_weights ==
        LoraInit::gaussian);
  CHECK(parse_lora_config(golden_config("dropout"), "c.json").lora_dropout == 0.25);
}

TEST_CASE("lora config: one value and a list of one are written as they were read") {
  for (const std::string text : {R"("layers_to_transform": 1, "layers_pattern": "layers")",
                                 R"("layers_to_transform": [1], "layers_pattern": ["layers"])"}) {
    CAPTURE(text);
    const LoraConfig config = parse_with(text);
    CHECK(config.layers_to_transform.values() == std::vector<int64_t>{1});
    CHECK(parse_lora_config(to_json(config), "c.json").layers_to_transform ==
          config.layers_to_transform);
    CHECK(parse_lora_config(to_json(config), "c.json").layers_pattern == config.layers_pattern);
  }
  check_contains(to_json(LoraConfig{.layers_to_transform = 1}), "\"layers_to_transform\": 1,");
  check_contains(to_json(LoraConfig{.layers_to_transform = {1}}),
                 "\"layers_to_transform\": [\n    1\n  ],");
}

TEST_CASE("lora config: patterns keep their order, because the first key that matches wins") {
  const LoraConfig config{.rank_pattern = {{"z.foo", 3}, {"foo", 5}},
                          .alpha_pattern = {{"z.foo", 32}, {"foo", 4}}};
  const LoraConfig again = parse_lora_config(to_json(config), "c.json");
  CHECK(again.rank_pattern == config.rank_pattern);
  CHECK(again.alpha_pattern == config.alpha_pattern);
}

TEST_CASE("lora config: the least a file must say") {
  const LoraConfig config =
      parse_lora_config(R"({"peft_type": "LORA", "target_modules": ["q"]})", "c.json");
  CHECK(config == LoraConfig{.target_modules = {"q"}});
  check_contains(message_of<FormatError>([] { parse_lora_config("{}", "c.json"); }), "peft_type");
  check_contains(
      message_of<FormatError>([] { parse_lora_config(R"({"peft_type": "IA3"})", "c.json"); }),
      "c.json: peft_type is \"IA3\", but graft supports LORA only");
}

TEST_CASE("lora config: other characters than ASCII are written as Python writes them") {
  const LoraConfig config{.base_model_name_or_path = "modèle/日"};
  check_contains(to_json(config), R"("mod\u00e8le/\u65e5")");
  CHECK(parse_lora_config(to_json(config), "c.json") ==
        LoraConfig{.base_model_name_or_path = "modèle/日", .inference_mode = true});
}

TEST_CASE("lora config: all-linear is known in any case") {
  const auto targets = [](const char* text) {
    return parse_lora_config(concat(R"({"peft_type": "LORA", "target_modules": ")", text, "\"}"),
                             "c.json")
        .target_modules;
  };
  CHECK(targets("all-linear") == Targets::all_linear());
  CHECK(targets("ALL-Linear") == Targets::all_linear());
  CHECK(targets("all_linear") == Targets::regex("all_linear"));
}

TEST_CASE("lora config: what graft does not build is refused by name") {
  const auto refused = [](const std::string& key, const std::string& value) {
    check_contains(refusal_of("\"" + key + "\": " + value), "c.json: " + key + " is ");
    check_contains(refusal_of("\"" + key + "\": " + value), ", which graft does not support");
  };
  refused("arrow_config", R"({"top_k": 3, "router_temperature": 1.0})");
  refused("corda_config", R"({"corda_method": "kpm"})");
  refused("kasa_config", R"({"beta": 0.0001, "gamma": 0.001})");
  refused("layer_replication", "[[0, 4], [2, 5]]");
  refused("lora_ga_config", R"({"direction": "ArB2r", "scale": "stable"})");
  refused("megatron_config", R"({"hidden_size": 64})");
  refused("megatron_core", "\"mine\"");
  refused("monteclora_config", R"({"num_samples": 8})");
  refused("qalora_group_size", "32");
  refused("target_parameters", R"(["experts.gate_up_proj"])");
  refused("use_bdlora", R"({"nblocks": 2})");
  refused("use_qalora", "true");
  refused("velora_config", R"({"num_groups": 64})");
  for (const char* init : {"corda", "lora_ga", "mica"})
    check_contains(refusal_of(concat("\"init_lora_weights\": \"", init, "\"")),
                   concat("init_lora_weights is \"", init,
                          "\", which graft does not support; true, false, gaussian, "
                          "orthogonal, pissa, pissa_niter_N, olora, eva or loftq expected"));
  check_contains(refusal_of(R"("layer_replication": [[0, 4], [2, 5]])"),
                 "layer_replication is [[0,4],[2,5]], which graft does not support");
  check_contains(refusal_of(R"("task_type": "SEQ_CLS")"),
                 "task_type is SEQ_CLS, but graft trains causal language models only");
  check_contains(refusal_of(R"("qalora_group_size": 32)"), "(16 expected)");
}

TEST_CASE("lora config: an unknown key is an error unless it asks for nothing") {
  parse_with(R"("a": null, "b": false, "c": "", "d": [], "e": {}, "f": {"g": false})");
  check_contains(refusal_of(R"("lora_droput": 0.1)"),
                 "unknown key \"lora_droput\" with the value 0.1 (did you mean 'lora_dropout'?)");
  check_contains(refusal_of(R"("use_wonder": true)"), "unknown key \"use_wonder\"");
}

TEST_CASE("lora config: wrong values are refused with file and key") {
  check_contains(refusal_of(R"("r": 0)"), "c.json: r");
  check_contains(refusal_of(R"("r": "8")"), "r");
  check_contains(refusal_of(R"("r": 8.5)"), "r");
  check_contains(refusal_of(R"("r": 9223372036854775807)"), "r");
  check_contains(refusal_of(R"("lora_dropout": 1)"), "lora_dropout is 1");
  check_contains(refusal_of(R"("lora_dropout": -0.1)"), "lora_dropout is -0.1");
  check_contains(refusal_of(R"("rank_pattern": {"q": 0})"), "rank_pattern.q");
  check_contains(refusal_of(R"("alpha_pattern": {"q": "x"})"), "alpha_pattern.q");
  check_contains(refusal_of(R"("bias": "some")"),
                 "bias is \"some\", none, all or lora_only expected");
  check_contains(refusal_of(R"("bias": "lora-only")"), "(did you mean 'lora_only'?)");
  check_contains(refusal_of(R"("lora_bias": true, "init_lora_weights": "gaussian")"),
                 "lora_bias needs init_lora_weights true or false, \"gaussian\" given");
  check_contains(refusal_of(R"("init_lora_weights": "orthogonal", "r": 5)"),
                 "r is 5, but init_lora_weights \"orthogonal\" needs an even rank");
  check_contains(refusal_of(R"("init_lora_weights": "orthogonal", "rank_pattern": {"q_proj": 3})"),
                 "rank_pattern \"q_proj\" is 3");
  check_contains(refusal_of(R"("alora_invocation_tokens": [5, -1])"), "has a negative id");
  check_contains(refusal_of(R"("alora_invocation_tokens": [])"),
                 "alora_invocation_tokens is empty");
  check_contains(refusal_of(R"("alora_invocation_tokens": [5], "use_dora": true)"),
                 "alora_invocation_tokens does not go with use_dora");
  check_contains(refusal_of(R"("alora_invocation_tokens": [5], "init_lora_weights": "olora")"),
                 "alora_invocation_tokens does not go with olora");
  check_contains(refusal_of(R"("lora_bias": true, "use_dora": true)"),
                 "lora_bias and use_dora do not go together");
  check_contains(refusal_of(R"("modules_to_save": "lm_head")"), "modules_to_save");
  check_contains(refusal_of(R"("trainable_token_indices": [1, 1])"), "has 1 twice");
  check_contains(refusal_of(R"("trainable_token_indices": [1, -1])"), "has -1, ids from 0");
  check_contains(refusal_of(R"("trainable_token_indices": {"lm_head": []})"),
                 "trainable_token_indices lm_head is empty");
  check_contains(refusal_of(R"("trainable_token_indices": {"lm_head": [1.5]})"), "lm_head");
  check_contains(refusal_of(R"("init_lora_weights": "zeros")"), "init_lora_weights is \"zeros\";");
  check_contains(refusal_of(R"("init_lora_weights": 1)"), "init_lora_weights");
  check_contains(refusal_of(R"("task_type": "CAUSAL")"), "task_type is \"CAUSAL\"");
  check_contains(refusal_of(R"("exclude_modules": "all-linear")"), "exclude_modules is all-linear");
  check_contains(refusal_of(R"("target_modules": 3)"), "target_modules");
}

TEST_CASE("lora config: validate refuses what PEFT refuses") {
  const auto refused = [](const LoraConfig& config) {
    return message_of<ConfigError>([&] { validate(config); });
  };
  check_contains(refused({.r = 0}), "lora config: r is 0, a positive integer expected");
  check_contains(refused({.r = -1}), "r is -1");
  check_contains(refused({.lora_alpha = std::numeric_limits<double>::quiet_NaN()}), "lora_alpha");
  check_contains(refused({.lora_dropout = 1}), "lora_dropout is 1");
  check_contains(refused({.rank_pattern = {{"q_proj", 0}}}), "rank_pattern \"q_proj\" is 0");
  check_contains(refused({.alpha_pattern = {{"q", std::numeric_limits<double>::infinity()}}}),
                 "alpha_pattern \"q\" is inf");
  check_contains(refused({.target_modules = Targets::regex("q"), .layers_to_transform = 0}),
                 "layers_to_transform needs a list of target_modules, not regex q");
  check_contains(refused({.target_modules = Targets::all_linear(), .layers_to_transform = 0}),
                 "not all-linear");
  check_contains(refused({.target_modules = {"q"}, .layers_pattern = "layers"}),
                 "layers_pattern is given without layers_to_transform");
  check_contains(refused({.task_type = "CAUSAL_LN"}), "(did you mean 'CAUSAL_LM'?)");
  check_contains(message_of<ConfigError>([] { parse_lora_init("corda"); }),
                 "which graft does not support");
  for (const LoraInit init :
       {LoraInit::standard, LoraInit::random, LoraInit::gaussian, LoraInit::orthogonal,
        LoraInit::pissa, LoraInit::olora, LoraInit::eva, LoraInit::loftq})
    CHECK(parse_lora_init(name(init)) == init);
  check_contains(refused({.pissa_niter = 3}), "pissa_niter is given");
  check_contains(refused({.loftq_config = LoftQConfig{8, 1}}),
                 "loftq_bits is 8, but graft quantises to 4");
  check_contains(refused({.loftq_config = LoftQConfig{4, 0}}), "loftq_iter is 0");
  check_contains(refused({.use_dora = true, .init_lora_weights = LoraInit::loftq}),
                 "do not go together");
}

TEST_CASE("lora config: the iterations of PiSSA are a part of its name") {
  const LoraConfig config = parse_with(R"("init_lora_weights": "pissa_niter_16")");
  CHECK(config.init_lora_weights == LoraInit::pissa);
  CHECK(config.pissa_niter == 16);
  CHECK(init_name(config) == "pissa_niter_16");
  CHECK(parse_lora_config(to_json(config), "again").pissa_niter == 16);
  CHECK(!parse_with(R"("init_lora_weights": "pissa")").pissa_niter);
  for (const char* name : {"pissa_niter_", "pissa_niter_x", "pissa_niter_-1", "pissa_niter_1.5"})
    check_contains(refusal_of(concat(R"("init_lora_weights": ")", name, "\"")),
                   "a number of iterations expected");
}

TEST_CASE("lora config: the settings of LoftQ are read and written as PEFT's") {
  const LoraConfig config = parse_with(
      R"("init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4, "loftq_iter": 5})");
  CHECK(config.init_lora_weights == LoraInit::loftq);
  CHECK(config.loftq_config == LoftQConfig{4, 5});
  const LoraConfig again = parse_lora_config(to_json(config), "again");
  CHECK(again.init_lora_weights == LoraInit::loftq);
  CHECK(again.loftq_config == config.loftq_config);
  CHECK(!parse_with(R"("loftq_config": {})").loftq_config);
  CHECK(to_json({}).find(R"("loftq_config": {})") != std::string::npos);
  check_contains(refusal_of(R"("loftq_config": {"loftq_bit": 4})"),
                 "unknown key \"loftq_config.loftq_bit\"");
}

TEST_CASE("lora config: the settings of EVA are read and written as PEFT's") {
  const LoraConfig config = parse_with(
      R"("init_lora_weights": "eva", "eva_config": {"rho": 1.5, "tau": 0.9, "whiten": true})");
  CHECK(config.init_lora_weights == LoraInit::eva);
  REQUIRE(config.eva_config);
  CHECK(*config.eva_config == EvaConfig{.rho = 1.5, .tau = 0.9, .whiten = true});
  check_contains(to_json(config),
                 "\"eva_config\": {\n    \"adjust_scaling_factors\": true,\n"
                 "    \"label_mask_value\": -100,\n    \"rho\": 1.5,\n"
                 "    \"tau\": 0.9,\n    \"use_label_mask\": true,\n"
                 "    \"whiten\": true\n  },");
  check_contains(to_json({.eva_config = EvaConfig()}), "\"rho\": 2.0,");
  CHECK(!parse_with(R"("init_lora_weights": "eva")").eva_config);
  check_contains(refusal_of(R"("eva_config": {"rho": 0.5})"), "rho of eva_config is 0.5");
  check_contains(refusal_of(R"("eva_config": {"tau": 1.5})"), "tau of eva_config is 1.5");
  check_contains(refusal_of(R"("eva_config": {"rhoo": 2})"), "unknown key \"eva_config.rhoo\"");
}

TEST_CASE("lora config: rsLoRA scales with the root of the rank") {
  CHECK(scaling({}, 4, 8) == 2);
  CHECK(scaling({.use_rslora = true}, 4, 8) == 4);
}

}  // namespace graft::peft
