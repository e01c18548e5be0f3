// The life of adapters on one model: switching, rows, deletion, names, scales, status.

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "graft/autograd/engine.h"
#include "graft/autograd/gradcheck.h"
#include "graft/autograd/pointwise.h"
#include "graft/io/json.h"
#include "graft/io/safetensors.h"
#include "graft/models/generate.h"
#include "graft/models/save.h"
#include "graft/nn/loss.h"
#include "graft/peft/adapted_linear.h"
#include "graft/peft/lora.h"
#include "graft/tensor/copy.h"
#include "graft/tensor/reduce.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using io::Json;
using test::check_contains, test::golden, test::logits_of, test::message_of, test::perturb,
    test::random_tensor, test::same_bits, test::some_ids, test::tiny_llama, test::Warnings;

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

nn::Context with(Names names) {
  nn::Context context;
  context.adapters = nn::AdapterSelection{.names = std::move(names)};
  return context;
}
nn::Context by_row(Names rows) {
  nn::Context context;
  context.adapters = nn::AdapterSelection{.names = {}, .by_row = std::move(rows)};
  return context;
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

Tensor row_of(const Tensor& logits, int64_t row) {
  return logits.slice(0, row, row + 1).clone();
}

/// Three adapters with different targets and numbers of their own on a small model; "a" is active.
struct ThreeAdapters {
  std::unique_ptr<nn::CausalLM> base;
  Warnings warnings;
  PeftModel model;

  explicit ThreeAdapters(DType dtype = DType::f32, bool lora_bias = false)
      : base(tiny_llama(2, false, dtype)),
        model(*base, {.r = 2, .target_modules = {"q_proj", "v_proj"}, .lora_bias = lora_bias}, "a",
              {.observer = warnings.observer()}) {
    model.add_adapter("b", {.r = 3, .target_modules = Targets::all_linear(), .lora_alpha = 2});
    model.add_adapter("c", {.target_modules = {"lm_head", "up_proj"}, .lora_bias = lora_bias});
    uint64_t seed = 1;
    for (const char* name : {"c", "b", "a"}) {
      model.set_adapter({name});
      perturb(model, 100 * seed++);
    }
  }
};

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

TEST_CASE("lifecycle: a row computes what it does with its adapter alone") {
  const Tensor ids = some_ids(4, 6);
  const Names rows = {"b", "__base__", "a", "c"};
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const bool packed : {false, true}) {
      CAPTURE(dtype);
      CAPTURE(packed);
      ThreeAdapters three(dtype);
      if (packed)
        nn::pack(*three.base);
      const Tensor mixed = logits_of(three.model, ids, by_row(rows));
      for (size_t row = 0; row < rows.size(); ++row) {
        const auto at = static_cast<int64_t>(row);
        const Names alone = rows[row] == nn::base_row ? Names{} : Names{rows[row]};
        // Low-rank products over other numbers of rows may be summed in another order.
        CHECK(test::relative_difference(row_of(mixed, at),
                                        row_of(logits_of(three.model, ids, with(alone)), at)) <
              (dtype == DType::f32 ? 2e-6 : 2e-2));
      }
      CHECK(same_bits(logits_of(three.model, ids, by_row({"b", "b", "b", "b"})),
                      logits_of(three.model, ids, with({"b"}))));
    }
  }
}

TEST_CASE("lifecycle: the biases of adapters stay in their rows") {
  ThreeAdapters three(DType::f32, true);
  const Tensor ids = some_ids(3, 5);
  const Tensor mixed = logits_of(three.model, ids, by_row({"c", "a", "__base__"}));
  const std::array<Names, 3> alone = {Names{"c"}, Names{"a"}, Names{}};
  for (int64_t row = 0; row < 3; ++row) {
    const Tensor expected =
        row_of(logits_of(three.model, ids, with(alone[static_cast<size_t>(row)])), row);
    CHECK(test::relative_difference(row_of(mixed, row), expected) < 1e-6);
  }
}

TEST_CASE("lifecycle: gradients of single rows agree with finite differences") {
  constexpr int64_t in = 5, out = 4;
  auto base = std::make_unique<nn::Linear>(in, out, true);
  base->weight().load(random_tensor({out, in}, 1, DType::f64));
  base->bias()->load(random_tensor({out}, 2, DType::f64));
  AdaptedLinear layer(std::move(base));
  std::vector<Variable> inputs{Variable(random_tensor({3, 2, in}, 3, DType::f64), true)};
  uint64_t seed = 4;
  for (const char* name : {"a", "b"}) {
    auto lora = std::make_unique<Lora>(in, out, LoraOptions{.r = 2, .scaling = 1.5, .bias = true});
    for (nn::Member* member : lora->members()) {
      member->load(random_tensor(member->shape(), seed++, DType::f64));
      member->variable()->set_requires_grad(true);
      inputs.push_back(*member->variable());
    }
    layer.add(name, std::move(lora));
  }
  const nn::Context context = by_row({"b", "__base__", "a"});
  const GradcheckResult result = gradcheck(
      [&](const std::vector<Variable>& x) { return layer.forward(x[0], context); }, inputs);
  CHECK_MESSAGE(result.passed, result.message);
}

TEST_CASE("lifecycle: a broken adapter stays in its rows, and so do its gradients") {
  for (const char* broken : {"lora_A.weight", "lora_B.weight"}) {
    CAPTURE(std::string(broken));
    ThreeAdapters three;
    const Tensor ids = some_ids(4, 6);
    const nn::Context context = by_row({"b", "__base__", "a", "c"});
    three.model.set_requires_grad({"b"}, false);
    three.model.set_requires_grad({"a", "c"});
    const std::vector<NamedVariable> trained = three.model.trainable_parameters();
    const auto results = [&] {
      const Variable logits = three.model.logits(ids, three.model.resolve(context));
      run_backward(logits, random_tensor(logits.shape(), 9));
      std::vector<Tensor> found = {logits.value().slice(0, 1, 4).contiguous()};
      for (NamedVariable parameter : trained)
        found.push_back(parameter.variable.take_grad());
      return found;
    };
    const std::vector<Tensor> sound = results();
    three.model.set_requires_grad({"b"});
    for (NamedVariable parameter : three.model.trainable_parameters()) {
      if (parameter.name.ends_with(concat(".b.", broken)))
        parameter.variable.set_value(Tensor::full(parameter.variable.shape(), NAN));
    }
    three.model.set_requires_grad({"b"}, false);
    CHECK(!ops::all_finite(row_of(logits_of(three.model, ids, context), 0)));
    const std::vector<Tensor> beside_broken = results();
    for (size_t i = 0; i < sound.size(); ++i)
      CHECK(same_bits(beside_broken[i], sound[i]));
  }
}

TEST_CASE("lifecycle: the loss of a mixed batch is the sum of its rows' losses") {
  ThreeAdapters three;
  const Tensor ids = some_ids(3, 6);
  Tensor labels = ids.clone();
  labels.data<int64_t>()[7] = nn::ignored_label;  // so that rows have different numbers of tokens
  const Names rows = {"c", "a", "b"};
  const double mixed =
      nn::causal_lm_loss(three.model, ids, labels, by_row(rows)).total.value().item();
  double sum = 0;
  for (int64_t row = 0; row < 3; ++row)
    sum += nn::causal_lm_loss(three.model, row_of(ids, row), row_of(labels, row),
                              with({rows[static_cast<size_t>(row)]}))
               .total.value()
               .item();
  CHECK(mixed == doctest::Approx(sum).epsilon(1e-6));
}

TEST_CASE("lifecycle: prompts of one batch are continued by their own adapters") {
  ThreeAdapters three;
  const std::vector<std::vector<int64_t>> prompts = {{3, 5, 7}, {4}, {9, 2}, {3, 5, 7}};
  const Names rows = {"b", "c", "__base__", "a"};
  const auto continued = [&](const std::vector<std::vector<int64_t>>& some,
                             nn::AdapterSelection adapters) {
    std::vector<std::vector<int64_t>> ids;
    // Row 0 ends first, so that the others move up.
    const auto end = [&](int64_t row, int64_t) {
      return row == 0 && some.size() > 1 ? models::Verdict::end_row : models::Verdict::go_on;
    };
    for (auto& row :
         models::generate(three.model, some,
                          {.max_new_tokens = 6, .on_token = end, .adapters = std::move(adapters)}))
      ids.push_back(row.ids);
    return ids;
  };
  const auto mixed = continued(prompts, {.names = {}, .by_row = rows});
  CHECK(mixed[0].size() == 1);
  for (size_t row = 1; row < prompts.size(); ++row) {
    const Names alone = rows[row] == nn::base_row ? Names{} : Names{rows[row]};
    CHECK(mixed[row] == continued({prompts[row]}, {.names = alone})[0]);
  }
}

TEST_CASE("lifecycle: what cannot be mixed in a batch is refused") {
  ThreeAdapters three;
  three.model.add_adapter("norms", {.target_modules = {"q_proj"}, .modules_to_save = {"norm"}});
  const Tensor ids = some_ids(2, 4);
  const auto refused = [&](const nn::Context& context) {
    return message_of<ConfigError>([&] { logits_of(three.model, ids, context); });
  };
  check_contains(refused(by_row({"a", "x"})), "adapter \"x\" does not exist; there are: a, b, c");
  check_contains(refused(by_row({"a"})), "adapters are named for 1 rows, but the batch has 2");
  check_contains(refused(by_row({"a", "norms"})),
                 "the adapter \"norms\" brings parameters of the base model of its own");
  nn::Context both = by_row({"a", "b"});
  both.adapters->names = {"a"};
  check_contains(refused(both), "adapters are named both for all rows and row by row");
  CHECK(same_bits(logits_of(three.model, ids, by_row({"norms", "norms"})),
                  logits_of(three.model, ids, with({"norms"}))));
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

TEST_CASE("lifecycle: deleting an adapter leaves the others, and after the last one the base") {
  ThreeAdapters three;
  PeftModel& model = three.model;
  const Tensor ids = some_ids(2, 6);
  const Tensor base = logits_of(*three.base, ids);
  const Tensor a = logits_of(model, ids);
  const Tensor c = logits_of(model, ids, with({"c"}));
  model.delete_adapter("b");
  CHECK(model.available_adapters() == Names{"a", "c"});
  CHECK(same_bits(logits_of(model, ids), a));
  CHECK(same_bits(logits_of(model, ids, with({"c"})), c));
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
  CHECK(same_bits(logits_of(model, ids, with({"a"})), base));
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
    CHECK(same_bits(logits_of(model, ids, with({"b"})), plain));  // a copy begins as the base
    model.set_adapter({"b"});
    perturb(model, 2);
    const Tensor b = logits_of(model, ids);
    CHECK(!same_bits(b, a));
    CHECK(same_bits(logits_of(model, ids, with({"a"})), a));
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

TEST_CASE("lifecycle: adapters that train tokens of one embedding are used one at a time") {
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
  const Tensor c = logits_of(model, ids, with({"c"}));
  {
    const auto none = model.rescale_adapter_scale(0);
    CHECK(test::max_difference(logits_of(model, ids), base) == 0);
    CHECK(same_bits(logits_of(model, ids, with({"c"})), c));  // not active
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
  for (const nn::Context& context : {nn::Context{}, with({"b"}), by_row({"a", "b"})})
    CHECK(same_bits(logits_of(three.model, ids, context), base));
  check_contains(message_of<ConfigError>([&] { logits_of(three.model, ids, with({"x"})); }),
                 "\"x\"");
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
