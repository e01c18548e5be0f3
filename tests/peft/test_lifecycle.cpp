// The life of adapters on one model: switching, deletion, names, scales, status.

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "graft/io/json.h"
#include "graft/io/safetensors.h"
#include "graft/models/save.h"
#include "graft/nn/loss.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using io::Json;
using test::by_row, test::check_contains, test::golden, test::logits_of, test::message_of,
    test::perturb, test::same_bits, test::some_ids, test::ThreeAdapters, test::tiny_llama,
    test::Warnings, test::with_adapters;

using Names = std::vector<std::string>;

// f32 sums over a few dozen terms in two orders, over two layers.
constexpr double peft_tolerance = 2e-5;

const Json& answers() {
  static const Json json = io::read_json_file(golden("peft_life.json"));
  return json;
}
const io::SafetensorsFile& tensors() {
  static const io::SafetensorsFile file(golden("peft_life.safetensors"), io::Access::read);
  return file;
}

/// Checks the last positions of a model's logits against PEFT's.
void check_logits(const std::string& name, const nn::CausalLM& model,
                  const nn::Context& context = {}) {
  const Tensor expected = tensors().load(name);
  const Tensor all = logits_of(model, tensors().load("input_ids"), context);
  const Tensor last = all.slice(1, all.dim(1) - expected.dim(1), all.dim(1)).contiguous();
  const double difference = test::relative_difference(last, expected);
  CHECK_MESSAGE(difference < peft_tolerance, name, ": ", difference);
}

}  // namespace

TEST_CASE("lifecycle: switched, added up, disabled, merged and deleted, logits are PEFT's") {
  const Json& adapters = answers()["adapters"];
  const auto base = models::load(golden("models/gqa"));
  Warnings warnings;
  PeftModel model =
      PeftModel::from_pretrained(*base, golden(adapters["a"].get<std::string>()), "a", false,
                                 {.matcher = test::matcher(), .observer = warnings.observer()});
  for (const char* name : {"b", "c"})
    model.load_adapter(golden(adapters[name].get<std::string>()), name);
  check_logits("life.a", model);
  model.set_adapter({"b"});
  check_logits("life.b", model);
  model.set_adapter({"a", "c"});
  check_logits("life.a_c", model);
  {
    const auto off = model.disable_adapter();
    check_logits("life.disabled", model);
  }
  check_logits("life.by_row", model, by_row(answers()["by_row"].get<Names>()));
  model.set_adapter({"c"});
  model.merge_adapter();
  check_logits("life.c_merged", model);
  model.merge_adapter({"b"});
  check_logits("life.b_c_merged", model);
  model.unmerge_adapter();
  model.set_adapter({"b"});
  model.delete_adapter("b");
  CHECK(model.active_adapters() == answers()["active_after_deletion"].get<Names>());
  check_contains(warnings.texts.back(), "delete_adapter: \"b\" was active; \"a\" is now");
  check_logits("life.a", model);  // in PEFT each layer goes on with an adapter of its own choice
  model.set_adapter({"a", "c"});
  model.delete_adapter("a");
  check_logits("life.a_deleted", model);
}

TEST_CASE("lifecycle: rows with adapters on embeddings have PEFT's logits") {
  const auto base = models::load(golden("models/untied"));
  PeftModel model = PeftModel::from_pretrained(*base, golden("peft_parts/embedding"), "one", false,
                                               {.matcher = test::matcher()});
  model.load_adapter(golden("peft_parts/embedding_pattern"), "two");
  check_logits("rows_of_embeddings", model, by_row(answers()["by_row_of_embeddings"].get<Names>()));
}

TEST_CASE("lifecycle: names of adapters take no part in keys and paths") {
  const Tensor ids = some_ids(1, 6);
  for (const char* name : {"lora", "weight", "lora_A", "lora_B", "base_layer", "q_proj",
                           "self_attn", "model", "bias", "token_adapter", "modules_to_save"}) {
    CAPTURE(name);
    const test::TemporaryFolder folder;
    const auto base = tiny_llama(2);
    Tensor expected;
    {
      PeftModel model(*base,
                      {.target_modules = {"q_proj", "v_proj"},
                       .modules_to_save = {"norm"},
                       .trainable_token_indices = {{"embed_tokens", {1, 3}}}},
                      name);
      perturb(model);
      expected = logits_of(model, ids);
      model.save_pretrained(folder.path());
    }
    for (const char* other : {name, "other"}) {
      const PeftModel model = PeftModel::from_pretrained(*base, folder / name, other);
      CHECK(same_bits(logits_of(model, ids), expected));
    }
  }
  const auto base = tiny_llama(1);
  for (const char* name : {"v1.0", "model.layers", "__base__"})
    check_contains(
        message_of<ConfigError>([&] { PeftModel(*base, {.target_modules = {"q_proj"}}, name); }),
        "is no name for an adapter: dots separate the parts of paths");
}

TEST_CASE("lifecycle: what is active and what is trained are two sets") {
  ThreeAdapters three;
  PeftModel& model = three.model;
  CHECK(model.trainable_adapters() == Names{"a"});
  const Tensor ids = some_ids(1, 6);
  const Tensor before = logits_of(model, ids);
  model.set_requires_grad({"b", "c"});
  CHECK(model.trainable_adapters() == Names{"a", "b", "c"});
  CHECK(model.active_adapters() == Names{"a"});
  CHECK(same_bits(logits_of(model, ids), before));
  model.set_requires_grad({"a"}, false);
  CHECK(model.trainable_adapters() == Names{"b", "c"});
  for (const NamedVariable& parameter : model.trainable_parameters())
    CHECK(parameter.name.find(".a.lora") == std::string::npos);
  model.set_adapter({"a", "b"}, true);
  CHECK(model.trainable_adapters().empty());
  model.set_requires_grad({"b"});
  nn::causal_lm_loss(model, ids, ids, {}).total.backward();
  for (const nn::NamedMember& member : nn::named_parameters(model)) {
    CAPTURE(member.path);
    const bool is_of_b = member.path.find(".b.lora") != std::string::npos;
    CHECK(member.member->variable()->grad().defined() == is_of_b);
  }
  message_of<ConfigError>([&] { model.set_requires_grad({"b", "x"}, false); });
  CHECK(model.trainable_adapters() == Names{"b"});
}

TEST_CASE("lifecycle: of adapters with equal targets, those are trained that PEFT trains") {
  const auto base = models::load(golden("models/gqa"));
  const LoraConfig config{.r = 2, .target_modules = {"q_proj", "embed_tokens"}};
  PeftModel model(*base, config, "a");
  for (const Json& step : answers()["trained"]) {
    CAPTURE(step.dump());
    const std::string action = step["do"];
    const auto names = step["names"].get<Names>();
    const bool flag = step["flag"];
    if (action == "set_adapter")
      model.set_adapter(names, flag);
    else if (action == "set_requires_grad")
      model.set_requires_grad(names, flag);
    else if (action == "delete_adapter")
      model.delete_adapter(names[0]);
    else if (names[0] != "a")
      model.add_adapter(names[0], config);
    Names expected;
    for (const auto& [name, is_trained] : step["trained"].items()) {
      if (is_trained == true)
        expected.push_back(name);
    }
    CHECK(model.trainable_adapters() == expected);
    std::set<std::string> of_optimizer;
    for (const NamedVariable& parameter : model.trainable_parameters()) {
      CHECK(parameter.variable.requires_grad());
      for (const char* name : {"a", "b", "c"}) {
        if (parameter.name.find(concat(".", name, ".")) != std::string::npos)
          of_optimizer.insert(name);
      }
    }
    CHECK(of_optimizer == std::set<std::string>(expected.begin(), expected.end()));
  }
}

TEST_CASE("lifecycle: deleting an adapter leaves the others, and after the last one the base") {
  ThreeAdapters three;
  PeftModel& model = three.model;
  const Tensor ids = some_ids(2, 6);
  const Tensor base = logits_of(*three.base, ids);
  const Tensor a = logits_of(model, ids);
  const Tensor c = logits_of(model, ids, with_adapters({"c"}));
  model.delete_adapter("b");
  CHECK(model.available_adapters() == Names{"a", "c"});
  CHECK(same_bits(logits_of(model, ids), a));
  CHECK(same_bits(logits_of(model, ids, with_adapters({"c"})), c));
  check_contains(message_of<ConfigError>([&] { model.delete_adapter("b"); }), "does not exist");
  model.set_adapter({"a"}, true);
  model.delete_adapter("a");
  CHECK(model.active_adapters() == Names{"c"});
  CHECK(model.trainable_adapters().empty());
  CHECK(same_bits(logits_of(model, ids), c));
  model.delete_adapter("c");
  CHECK(model.active_adapters().empty());
  CHECK(model.trainable_parameters().empty());
  CHECK(same_bits(logits_of(model, ids), base));
  CHECK(model.layer_status().empty());
  const test::TemporaryFolder folder;
  models::save_pretrained(*three.base, folder / "plain");  // refuses models with adapters

  model.add_adapter("a", {.target_modules = {"q_proj"}});
  CHECK(same_bits(logits_of(model, ids, with_adapters({"a"})), base));
}

TEST_CASE("lifecycle: deleting an adapter takes its copies along, and a backward still finds it") {
  const auto base = tiny_llama(1);
  PeftModel model(*base, {.target_modules = {"q_proj"}, .modules_to_save = {"norm"}}, "a");
  perturb(model);
  const Tensor ids = some_ids(1, 5);
  const std::vector<NamedVariable> parameters = model.trainable_parameters();
  const nn::Loss loss = nn::causal_lm_loss(model, ids, ids, {});
  model.delete_adapter("a");
  loss.total.backward();
  for (const NamedVariable& parameter : parameters)
    CHECK(parameter.variable.grad().defined());
  for (const nn::NamedMember& member : nn::named_parameters(*base))
    CHECK(member.member->overrides()->find("a") == nullptr);
}

TEST_CASE("lifecycle: of two adapters with a copy of one module, each brings its own") {
  for (const bool tied : {false, true}) {
    CAPTURE(tied);
    const auto base = tiny_llama(1, tied);
    const LoraConfig config{
        .r = 2, .target_modules = {"q_proj"}, .modules_to_save = {"norm", "lm_head"}};
    const Tensor ids = some_ids(1, 5);
    const Tensor plain = logits_of(*base, ids);
    PeftModel model(*base, config, "a");
    perturb(model, 1);
    const Tensor a = logits_of(model, ids);
    model.add_adapter("b", config);
    CHECK(same_bits(logits_of(model, ids), a));
    CHECK(same_bits(logits_of(model, ids, with_adapters({"b"})),
                    plain));  // a copy begins as the base
    model.set_adapter({"b"});
    perturb(model, 2);
    const Tensor b = logits_of(model, ids);
    CHECK(!same_bits(b, a));
    CHECK(same_bits(logits_of(model, ids, with_adapters({"a"})), a));
    for (const NamedVariable& parameter : model.trainable_parameters())
      CHECK(parameter.name.find(".b.") != std::string::npos);
    check_contains(message_of<ConfigError>([&] {
                     model.set_adapter({"a", "b"});
                   }),
                   "both bring a copy");
    CHECK(model.active_adapters() == Names{"b"});
    {
      const auto off = model.disable_adapter();
      CHECK(same_bits(logits_of(model, ids), plain));
    }
    model.set_adapter({"a"});
    CHECK(same_bits(logits_of(model, ids), a));
    model.delete_adapter("a");
    CHECK(same_bits(logits_of(model, ids), b));
  }
}

TEST_CASE("lifecycle: adapters that train different tokens apply together, as PEFT merges them") {
  const auto base = models::load(golden("models/gqa"));
  const Tensor ids = tensors().load("input_ids");
  PeftModel model = PeftModel::from_pretrained(*base, golden("peft_parts/tokens_of_tied"), "a");
  model.load_adapter(golden("peft_parts/other_tokens_of_tied"), "b");
  const Tensor a = logits_of(model, ids);
  model.set_adapter({"a", "b"}, true);
  check_logits("tokens_of_two", model);
  const Tensor both = logits_of(model, ids);
  CHECK(!same_bits(both, a));
  model.merge_adapter();
  check_logits("tokens_of_two", model);
  model.unmerge_adapter();
  CHECK(same_bits(logits_of(model, ids), both));
  model.set_adapter({"a"});
  CHECK(same_bits(logits_of(model, ids), a));
  model.merge_and_unload({"a", "b"});
  CHECK(test::relative_difference(logits_of(*base, ids), both) < peft_tolerance);
}

TEST_CASE("lifecycle: adapters that train the same token are used one at a time") {
  const auto base = tiny_llama(1);
  LoraConfig config{
      .r = 2, .target_modules = {"q_proj"}, .trainable_token_indices = {{"", {3, 5}}}};
  PeftModel model(*base, config, "a");
  config.trainable_token_indices = {{"", {5, 7}}};
  model.add_adapter("b", config);
  check_contains(message_of<ConfigError>([&] {
                   model.set_adapter({"a", "b"});
                 }),
                 "\"a\" and \"b\" both bring a copy of the same parameter");
  CHECK(model.active_adapters() == Names{"a"});
}

TEST_CASE("lifecycle: of what is loaded, is_trainable says whether it is trained") {
  ThreeAdapters three;
  const test::TemporaryFolder folder;
  three.model.save_pretrained(folder.path(), {"a"});
  for (const bool is_trainable : {false, true}) {
    const std::string name = is_trainable ? "more" : "fixed";
    three.model.load_adapter(folder / "a", name, is_trainable);
    int64_t requiring = 0;
    for (const LayerStatus& layer : three.model.layer_status())
      requiring += std::ranges::count(layer.trainable_adapters, name);
    CHECK(requiring == (is_trainable ? 4 : 0));
  }
}

TEST_CASE("lifecycle: scales multiply what an adapter contributes, for a while or for good") {
  ThreeAdapters three;
  PeftModel& model = three.model;
  const Tensor ids = some_ids(1, 6);
  const Tensor base = logits_of(*three.base, ids);
  const Tensor full = logits_of(model, ids);
  const Tensor c = logits_of(model, ids, with_adapters({"c"}));
  {
    const auto none = model.rescale_adapter_scale(0);
    CHECK(test::max_difference(logits_of(model, ids), base) == 0);
    CHECK(same_bits(logits_of(model, ids, with_adapters({"c"})), c));  // not active
  }
  CHECK(same_bits(logits_of(model, ids), full));
  {
    const auto half = model.rescale_adapter_scale(0.5);
    CHECK(model.scale("a") == 0.5);
    {
      const auto quarter = model.rescale_adapter_scale(0.5);
      CHECK(model.scale("a") == 0.25);
    }
    const auto twice = model.rescale_adapter_scale(2);
    CHECK(same_bits(logits_of(model, ids), full));
  }
  try {
    const auto half = model.rescale_adapter_scale(0.5);
    throw Error("stop");
  } catch (const Error&) {
  }
  CHECK(same_bits(logits_of(model, ids), full));
  model.set_scale("a", -1);
  CHECK(!same_bits(logits_of(model, ids), full));
  model.set_scale("a", 1);
  CHECK(same_bits(logits_of(model, ids), full));
  check_contains(message_of<ConfigError>([&] { model.set_scale("a", std::nan("")); }),
                 "the factor is nan, a finite one expected");
  model.merge_adapter();
  check_contains(message_of<ConfigError>([&] { model.set_scale("a", 2); }),
                 "set_scale: \"a\" is merged; call unmerge_adapter first");
  check_contains(
      message_of<ConfigError>([&] { const auto half = model.rescale_adapter_scale(0.5); }),
      "rescale_adapter_scale: \"a\" is merged");
}

TEST_CASE("lifecycle: a disabled model is its base, whatever adapters a forward names") {
  ThreeAdapters three;
  const Tensor ids = some_ids(2, 6);
  const Tensor base = logits_of(*three.base, ids);
  const auto off = three.model.disable_adapter();
  for (const nn::Context& context : {nn::Context{}, with_adapters({"b"}), by_row({"a", "b"})})
    CHECK(same_bits(logits_of(three.model, ids, context), base));
  check_contains(
      message_of<ConfigError>([&] { logits_of(three.model, ids, with_adapters({"x"})); }), "\"x\"");
}

TEST_CASE("lifecycle: status says of each layer and of the model what is on") {
  ThreeAdapters three;
  PeftModel& model = three.model;
  model.set_adapter({"a", "c"}, true);
  model.set_requires_grad({"b"});
  model.merge_adapter({"c"});
  const auto off = model.disable_adapter();
  const std::vector<LayerStatus> layers = model.layer_status();
  CHECK(layers.size() == 15);
  CHECK(layers.front() == LayerStatus{.path = "model.layers.0.self_attn.q_proj",
                                      .module_type = "linear",
                                      .enabled = false,
                                      .available_adapters = {"a", "b"},
                                      .active_adapters = {"a"},
                                      .merged_adapters = {},
                                      .trainable_adapters = {"b"}});
  CHECK(layers.back() == LayerStatus{.path = "lm_head",
                                     .module_type = "linear",
                                     .enabled = false,
                                     .available_adapters = {"c"},
                                     .active_adapters = {"c"},
                                     .merged_adapters = {"c"},
                                     .trainable_adapters = {}});
  const ModelStatus status = model.model_status();
  CHECK(status.base_model_type == "LlamaForCausalLM");
  CHECK(status.adapted_layers == 15);
  CHECK(!status.enabled);
  CHECK(status.active_adapters == Names{"a", "c"});
  CHECK(status.merged_adapters == Names{"c"});
  CHECK(status.trainable_adapters == Names{"b"});
  CHECK(status.trainable_parameters == model.count_parameters().trainable);
}

}  // namespace graft::peft
