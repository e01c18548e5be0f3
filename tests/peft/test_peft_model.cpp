#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "graft/io/json.h"
#include "graft/nn/loss.h"
#include "graft/peft/adapted_linear.h"
#include "graft/peft/peft_model.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using test::check_contains, test::golden_model, test::logits_of, test::message_of, test::perturb,
    test::same_bits, test::some_ids, test::tiny_llama;

const LoraConfig q_v{.r = 4, .target_modules = {"q_proj", "v_proj"}};

/// A training context for (rows, length) tokens.
nn::Context training(int64_t rows, int64_t length, bool checkpoint = false) {
  nn::Context context;
  context.train = true;
  context.checkpoint_blocks = checkpoint;
  context.dropout.seed = 11;
  context.dropout.sample = Tensor::empty({rows * length}, DType::i64);
  context.dropout.position = Tensor::empty({rows * length}, DType::i64);
  for (int64_t i = 0; i < rows * length; ++i) {
    context.dropout.sample.data<int64_t>()[i] = i / length;
    context.dropout.position.data<int64_t>()[i] = i % length;
  }
  return context;
}

/// The gradients of all adapters, by path, after one loss; `between` runs before backward.
std::map<std::string, Tensor> gradients(PeftModel& model, const nn::Context& context,
                                        const std::function<void()>& between = {}) {
  const Tensor ids = some_ids(2, 6);
  const nn::Loss loss = nn::causal_lm_loss(model, ids, ids, context);
  if (between)
    between();
  loss.total.backward();
  std::map<std::string, Tensor> grads;
  for (const nn::NamedMember& parameter : nn::named_parameters(model)) {
    if (Tensor grad = parameter.member->variable()->take_grad(); grad.defined())
      grads[parameter.path] = grad;
  }
  return grads;
}

bool same_gradients(const std::map<std::string, Tensor>& a,
                    const std::map<std::string, Tensor>& b) {
  return a.size() == b.size() && std::ranges::all_of(a, [&](const auto& item) {
           const auto other = b.find(item.first);
           return other != b.end() && same_bits(item.second, other->second);
         });
}

std::vector<std::string> parameter_paths(nn::Module& module) {
  std::vector<std::string> paths;
  for (const nn::NamedMember& parameter : nn::named_parameters(module))
    paths.push_back(parameter.path);
  return paths;
}

double loss_of(const nn::CausalLM& model) {
  const NoGrad no_grad;
  const Tensor ids = some_ids(2, 6);
  return nn::causal_lm_loss(model, ids, ids, {}).total.value().item();
}

}  // namespace

TEST_CASE("peft model: a new adapter changes no bit of the logits") {
  for (const char* name : {"gqa", "untied", "odd", "biases", "bf16"}) {
    CAPTURE(name);
    for (const LoraInit init : {LoraInit::standard, LoraInit::gaussian}) {
      const DType dtype = std::string(name) == "bf16" ? DType::bf16 : DType::f32;
      const auto model = golden_model(name, dtype);
      const Tensor ids = some_ids(2, 9);
      const Tensor base = logits_of(*model, ids);
      const PeftModel adapted = get_peft_model(
          *model, {.target_modules = Targets::all_linear(), .init_lora_weights = init});
      CHECK(same_bits(logits_of(adapted, ids), base));
    }
  }
}

TEST_CASE("peft model: a new adapter on embeddings and heads changes no bit of the logits") {
  struct Case {
    const char* model;
    Targets targets;
    bool is_tied = false;
  };
  for (const Case& each :
       {Case{"models/untied", {"embed_tokens"}}, Case{"models/gqa", {"embed_tokens", "lm_head"}},
        Case{"models/gqa", {"embed_tokens", "q_proj"}, true}, Case{"models/bf16", {"embed_tokens"}},
        Case{"models/f16", {"embed_tokens", "lm_head"}}, Case{"families/gemma3", {"embed_tokens"}},
        Case{"families/gpt2", {"wte", "wpe", "c_attn"}}}) {
    CAPTURE(std::string(each.model));
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
      CAPTURE(dtype);
      const auto model = models::load(test::golden(each.model), {.dtype = dtype});
      const Tensor ids = some_ids(2, 9);
      const Tensor base = logits_of(*model, ids);
      const PeftModel adapted = get_peft_model(
          *model, {.target_modules = each.targets, .ensure_weight_tying = each.is_tied});
      CHECK(same_bits(logits_of(adapted, ids), base));
    }
  }
}

TEST_CASE("peft model: init false is no identity") {
  const auto model = tiny_llama(2);
  const Tensor base = logits_of(*model, some_ids(1, 6));
  const PeftModel adapted =
      get_peft_model(*model, {.target_modules = {"q_proj"}, .init_lora_weights = LoraInit::random});
  CHECK(!same_bits(logits_of(adapted, some_ids(1, 6)), base));
}

TEST_CASE("peft model: the base model by itself computes what it did") {
  const auto model = tiny_llama(2);
  const Tensor ids = some_ids(1, 6);
  const Tensor base = logits_of(*model, ids);
  PeftModel adapted = get_peft_model(*model, q_v);
  perturb(adapted);
  CHECK(!same_bits(logits_of(adapted, ids), base));
  CHECK(same_bits(logits_of(*model, ids), base));
}

TEST_CASE("peft model: gradients reach every A and B, and nothing of the base") {
  for (const bool checkpoint : {false, true}) {
    const auto model = tiny_llama(2);
    nn::set_requires_grad(*model, true);
    PeftModel adapted = get_peft_model(*model, {.target_modules = Targets::all_linear()});
    perturb(adapted);
    const auto grads = gradients(adapted, training(2, 6, checkpoint));
    const std::vector<NamedVariable> trained = adapted.trainable_parameters();
    CHECK(trained.size() == 2 * 7 * 2);
    CHECK(grads.size() == trained.size());
    for (const NamedVariable& parameter : trained) {
      CAPTURE(parameter.name);
      REQUIRE(grads.contains(parameter.name));
      CHECK(test::max_difference(grads.at(parameter.name),
                                 Tensor::zeros(parameter.variable.shape())) > 0);
    }
  }
}

TEST_CASE("peft model: with B = 0 the gradient of B is there and that of A is zero") {
  const auto model = tiny_llama(1);
  PeftModel adapted = get_peft_model(*model, {.target_modules = {"q_proj"}});
  const auto grads = gradients(adapted, training(2, 6));
  const std::string path = "model.layers.0.self_attn.q_proj.default.";
  CHECK(test::max_difference(grads.at(path + "lora_A.weight"), Tensor::zeros({8, 16})) == 0);
  CHECK(test::max_difference(grads.at(path + "lora_B.weight"), Tensor::zeros({16, 8})) > 0);
}

TEST_CASE("peft model: checkpointing changes no bit of the gradients, with dropout") {
  const auto model = tiny_llama(2);
  PeftModel adapted =
      get_peft_model(*model, {.target_modules = Targets::all_linear(), .lora_dropout = 0.3});
  perturb(adapted);
  const auto plain = gradients(adapted, training(2, 6));
  CHECK(same_gradients(plain, gradients(adapted, training(2, 6, true))));
  nn::Context other_step = training(2, 6);
  other_step.dropout.step = 1;
  CHECK(!same_gradients(plain, gradients(adapted, other_step)));
}

TEST_CASE("peft model: switching between forward and backward does not change the gradients") {
  for (const bool checkpoint : {false, true}) {
    CAPTURE(checkpoint);
    const auto model = tiny_llama(2);
    PeftModel adapted =
        get_peft_model(*model, {.target_modules = {"q_proj", "v_proj"}, .lora_dropout = 0.2});
    perturb(adapted);
    adapted.add_adapter("other", {.target_modules = {"v_proj", "up_proj"}});
    const nn::Context context = training(2, 6, checkpoint);
    const auto expected = gradients(adapted, context);
    CHECK(same_gradients(gradients(adapted, context, [&] { adapted.set_adapter({"other"}); }),
                         expected));
    adapted.set_adapter({"default"});
    CHECK(same_gradients(gradients(adapted, context, [&] { adapted.set_adapter({}); }), expected));
    adapted.set_adapter({"default"});
    std::optional<PeftModel::DisabledAdapters> off;
    CHECK(same_gradients(gradients(adapted, context, [&] { off.emplace(adapted); }), expected));
  }
}

TEST_CASE("peft model: an adapter on an untied head changes the loss and is trained by it") {
  const auto model = tiny_llama(1);
  const double base = loss_of(*model);
  PeftModel adapted = get_peft_model(*model, {.target_modules = {"lm_head"}});
  CHECK(loss_of(adapted) == base);
  perturb(adapted);
  CHECK(std::fabs(loss_of(adapted) - base) > 1e-3);
  for (const auto& [path, grad] : gradients(adapted, training(2, 6))) {
    CAPTURE(path);
    CHECK(path.starts_with("lm_head.default.lora_"));
    CHECK(test::max_difference(grad, Tensor::zeros(grad.shape())) > 0);
  }
}

TEST_CASE("peft model: an adapter on a tied head leaves the embedding alone") {
  const auto model = tiny_llama(1, true);
  const Tensor ids = some_ids(1, 6);
  const NoGrad no_grad;
  const Tensor hidden = model->forward(ids, {}).value();
  PeftModel adapted = get_peft_model(*model, {.target_modules = {"lm_head"}});
  perturb(adapted);
  CHECK(same_bits(adapted.forward(ids, {}).value(), hidden));
  CHECK(!same_bits(logits_of(adapted, ids), logits_of(*model, ids)));
  const auto paths = parameter_paths(*model);
  CHECK(std::ranges::find(paths, "lm_head.weight") == paths.end());  // still one with the embedding
}

TEST_CASE("peft model: what a tied head and an embedding of any name share is loaded again") {
  const LoraConfig configs[] = {
      {.target_modules = {"c_attn", "lm_head"}, .ensure_weight_tying = true},
      {.target_modules = {"c_attn"}, .modules_to_save = {"lm_head"}, .ensure_weight_tying = true},
      {.target_modules = Targets::regex(".*c_attn|lm_head"), .ensure_weight_tying = true},
  };
  for (const LoraConfig& config : configs) {
    CAPTURE(config.target_modules);
    const auto base = models::load(test::golden("families/gpt2"));  // whose embedding is "wte"
    const test::TemporaryFolder folder;
    Tensor expected;
    {
      PeftModel adapted(*base, config, "default", {.matcher = test::matcher()});
      test::perturb(adapted);
      adapted.save_pretrained(folder.path());
      expected = test::logits_of(adapted, test::some_ids(2, 7));
    }
    const PeftModel loaded = PeftModel::from_pretrained(*base, folder.path(), "default", false,
                                                        {.matcher = test::matcher()});
    CHECK(test::same_bits(test::logits_of(loaded, test::some_ids(2, 7)), expected));
  }
}

TEST_CASE("peft model: a second adapter is added to the layer, not wrapped around it") {
  const auto model = tiny_llama(2);
  const std::vector<std::string> base_paths = parameter_paths(*model);
  PeftModel adapted = get_peft_model(*model, q_v, "first");
  adapted.add_adapter("second", {.target_modules = Targets::all_linear()});
  CHECK(adapted.targeted_modules("first").size() == 4);
  CHECK(adapted.targeted_modules("second").size() == 14);
  for (const Site& site : sites_of(*model)) {
    if (const auto* layer = dynamic_cast<const AdaptedLinear*>(site.module)) {
      CHECK(layer->find("second") != nullptr);
      CHECK((layer->find("first") != nullptr) ==
            (is_or_ends_in(site.path, "q_proj") || is_or_ends_in(site.path, "v_proj")));
    }
  }
  std::vector<std::string> paths = parameter_paths(adapted);
  std::erase_if(paths,
                [](const std::string& path) { return path.find(".lora_") != std::string::npos; });
  CHECK(paths == base_paths);
  CHECK(adapted.available_adapters() == std::vector<std::string>{"first", "second"});
  CHECK(adapted.active_adapters() == std::vector<std::string>{"first"});
}

TEST_CASE("peft model: set_adapter chooses what applies and what is trained") {
  const auto model = tiny_llama(2);
  const Tensor ids = some_ids(1, 6);
  const Tensor base = logits_of(*model, ids);
  PeftModel adapted = get_peft_model(*model, {.target_modules = {"q_proj"}}, "a");
  perturb(adapted, 1);
  adapted.add_adapter("b", {.target_modules = {"up_proj"}});
  CHECK(adapted.trainable_parameters()[0].name ==
        "model.layers.0.self_attn.q_proj.a.lora_A.weight");
  const Tensor a = logits_of(adapted, ids);
  adapted.set_adapter({"b"});
  perturb(adapted, 2);
  CHECK(adapted.trainable_parameters()[0].name == "model.layers.0.mlp.up_proj.b.lora_A.weight");
  const Tensor b = logits_of(adapted, ids);
  adapted.set_adapter({"a", "b"});
  CHECK(adapted.trainable_parameters().size() == 8);
  const Tensor both = logits_of(adapted, ids);
  CHECK(!same_bits(a, base));
  CHECK(!same_bits(a, b));
  CHECK(!same_bits(both, a));
  CHECK(!same_bits(both, b));
  adapted.set_adapter({"a"}, true);
  CHECK(adapted.trainable_parameters().empty());
  CHECK(same_bits(logits_of(adapted, ids), a));
  adapted.set_adapter({});
  CHECK(same_bits(logits_of(adapted, ids), base));

  // What a context names goes before the default.
  nn::Context context;
  context.adapters = nn::AdapterSelection{{"b"}};
  CHECK(same_bits(logits_of(adapted, ids, context), b));
}

TEST_CASE("peft model: disable_adapter gives the base, nested and past exceptions") {
  const auto model = tiny_llama(2);
  const Tensor ids = some_ids(1, 6);
  const Tensor base = logits_of(*model, ids);
  PeftModel adapted = get_peft_model(*model, q_v);
  perturb(adapted);
  const Tensor with = logits_of(adapted, ids);
  {
    const auto off = adapted.disable_adapter();
    CHECK(adapted.active_adapters().empty());
    CHECK(same_bits(logits_of(adapted, ids), base));
    {
      const auto more = adapted.disable_adapter();
      CHECK(same_bits(logits_of(adapted, ids), base));
    }
    CHECK(same_bits(logits_of(adapted, ids), base));
  }
  CHECK(same_bits(logits_of(adapted, ids), with));
  try {
    const auto off = adapted.disable_adapter();
    throw Error("stop");
  } catch (const Error&) {
  }
  CHECK(same_bits(logits_of(adapted, ids), with));
}

TEST_CASE("peft model: the destructor takes the adapters out, and another model can be made") {
  const auto model = tiny_llama(2);
  const std::vector<std::string> paths = parameter_paths(*model);
  const Tensor ids = some_ids(1, 6);
  const Tensor base = logits_of(*model, ids);
  {
    PeftModel adapted = get_peft_model(*model, {.target_modules = Targets::regex(".*proj|lm_head")},
                                       "default", {.matcher = test::matcher()});
    CHECK(parameter_paths(*model).size() == paths.size() + 2 * 15);
    check_contains(message_of<ConfigError>([&] { get_peft_model(*model, q_v); }),
                   "the model carries the adapters of another PeftModel, at "
                   "model.layers.0.self_attn.q_proj; add this one to that with add_adapter");
    CHECK(adapted.targeted_modules("default").size() == 15);
  }
  CHECK(parameter_paths(*model) == paths);
  CHECK(same_bits(logits_of(*model, ids), base));
  const PeftModel again = get_peft_model(*model, q_v);
  CHECK(same_bits(logits_of(again, ids), base));
}

TEST_CASE("peft model: adapters are f32, in an f64 model f64") {
  for (const auto& [dtype, expected] :
       {std::pair{DType::f32, DType::f32}, {DType::bf16, DType::f32}, {DType::f64, DType::f64}}) {
    const auto model = tiny_llama(1, false, dtype);
    PeftModel adapted = get_peft_model(*model, q_v);
    for (const NamedVariable& parameter : adapted.trainable_parameters())
      CHECK(parameter.variable.dtype() == expected);
  }
}

TEST_CASE("peft model: first values depend on the seed and the path only") {
  const auto values = [](uint64_t seed, Targets targets) {
    const auto model = tiny_llama(2);
    PeftModel adapted =
        get_peft_model(*model, {.target_modules = std::move(targets)}, "any", {.seed = seed});
    std::map<std::string, Tensor> found;
    for (const NamedVariable& parameter : adapted.trainable_parameters())
      found[parameter.name] = parameter.variable.value();
    return found;
  };
  const auto few = values(1, {"up_proj", "q_proj"});
  const auto all = values(1, Targets::all_linear());
  const auto other = values(2, {"q_proj"});
  const std::string name = "model.layers.1.self_attn.q_proj.any.lora_A.weight";
  CHECK(same_bits(few.at(name), all.at(name)));
  CHECK(!same_bits(few.at(name), other.at(name)));
  CHECK(!same_bits(few.at(name), few.at("model.layers.0.self_attn.q_proj.any.lora_A.weight")));
}

TEST_CASE("peft model: parameters are counted as PEFT counts them") {
  const io::Json json = io::read_json_file(test::golden("peft_files.json"));
  for (const char* name : {"default", "all_linear", "patterns", "lm_head_tied", "lm_head_untied"}) {
    CAPTURE(name);
    for (const io::Json& record : json["adapters"]) {
      if (record["name"] != name)
        continue;
      const auto model = models::load(test::golden(record["base"].get<std::string>()));
      PeftModel adapted =
          PeftModel::from_pretrained(*model, test::golden(record["folder"].get<std::string>()),
                                     "default", true, {.matcher = test::matcher()});
      const ParameterCounts counts = adapted.count_parameters();
      CHECK(counts.trainable == record["trainable_parameters"].get<int64_t>());
      CHECK(counts.all == record["all_parameters"].get<int64_t>());
    }
  }
  CHECK(to_string(ParameterCounts{.trainable = 294912, .all = 125534208}) ==
        "trainable params: 294,912 || all params: 125,534,208 || trainable%: 0.2349");
  CHECK(to_string(ParameterCounts{.trainable = 0, .all = 999}) ==
        "trainable params: 0 || all params: 999 || trainable%: 0.0000");
}

TEST_CASE("peft model: inference_mode gives an adapter that is not trained") {
  const auto model = tiny_llama(1);
  LoraConfig config = q_v;
  config.inference_mode = true;
  PeftModel adapted = get_peft_model(*model, config);
  CHECK(adapted.trainable_parameters().empty());
  CHECK(adapted.active_adapters() == std::vector<std::string>{"default"});
}

TEST_CASE("peft model: unknown adapters are refused with the nearest name") {
  const auto model = tiny_llama(1);
  PeftModel adapted = get_peft_model(*model, q_v, "poetry");
  const std::string expected =
      "adapter \"poety\" does not exist; there are: poetry (did you mean 'poetry'?)";
  check_contains(message_of<ConfigError>([&] { adapted.set_adapter({"poety"}); }), expected);
  check_contains(message_of<ConfigError>([&] { adapted.config("poety"); }), expected);
  check_contains(message_of<ConfigError>([&] { adapted.targeted_modules("poety"); }), expected);
  nn::Context context;
  context.adapters = nn::AdapterSelection{{"poety"}};
  check_contains(message_of<ConfigError>([&] { adapted.logits(some_ids(1, 2), context); }),
                 expected);
  check_contains(message_of<ConfigError>([&] {
                   adapted.set_adapter({"poetry", "poetry"});
                 }),
                 "set_adapter: \"poetry\" is given twice");
}

TEST_CASE("peft model: a call that fails changes nothing") {
  const auto model = tiny_llama(2);
  nn::set_requires_grad(*model, true);
  const std::vector<std::string> paths = parameter_paths(*model);
  const auto refuse = [&](LoraConfig config, const std::string& name = "default") {
    message_of<ConfigError>([&] { get_peft_model(*model, std::move(config), name); });
    CHECK(parameter_paths(*model) == paths);
    CHECK(nn::trainable_parameters(*model).size() == paths.size());
  };
  refuse({.r = 0});
  refuse({.target_modules = {"q_proj", "no_such"}});
  refuse({.target_modules = {"q_proj", "self_attn"}});
  refuse({.target_modules = Targets::regex(".*_proj")});  // no matcher
  refuse({.target_modules = {"q_proj"}, .rank_pattern = {{"x", 3}}});
  for (const char* name : {"", ".", "..", "a/b", "a\\b"})
    refuse(q_v, name);

  PeftModel adapted = get_peft_model(*model, q_v);
  perturb(adapted);
  const Tensor logits = logits_of(adapted, some_ids(1, 6));
  const std::vector<std::string> adapted_paths = parameter_paths(adapted);
  const auto refuse_second = [&](LoraConfig config, const std::string& name) {
    const std::string message =
        message_of<ConfigError>([&] { adapted.add_adapter(name, std::move(config)); });
    CHECK(parameter_paths(adapted) == adapted_paths);
    CHECK(adapted.available_adapters() == std::vector<std::string>{"default"});
    CHECK(same_bits(logits_of(adapted, some_ids(1, 6)), logits));
    return message;
  };
  check_contains(refuse_second(q_v, "default"), "there is one called \"default\" already");
  check_contains(refuse_second(q_v, "a/b"), "\"a/b\" is no name for an adapter");
  refuse_second({.target_modules = {"v_porj"}}, "other");
  message_of<ConfigError>([&] { adapted.set_adapter({"default", "other"}); });
  CHECK(adapted.active_adapters() == std::vector<std::string>{"default"});
}

}  // namespace graft::peft
