// Merging and unloading: what comes out, what stays, and that a merge that fails changes nothing.

#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "graft/io/json.h"
#include "graft/io/safetensors.h"
#include "graft/models/save.h"
#include "graft/nn/loss.h"
#include "graft/quant/quantized_tensor.h"
#include "graft/tensor/pointwise.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using io::Json;
using test::check_contains, test::golden, test::logits_of, test::message_of, test::perturb,
    test::same_bits, test::some_ids, test::tiny_llama, test::Warnings, test::with_adapters;

using Names = std::vector<std::string>;

const Json& answers() {
  static const Json json = io::read_json_file(golden("peft_life.json"));
  return json;
}
const io::SafetensorsFile& tensors() {
  static const io::SafetensorsFile file(golden("peft_life.safetensors"), io::Access::read);
  return file;
}

/// How many golden tensors have names that begin so.
size_t number_of_tensors(const std::string& prefix) {
  return static_cast<size_t>(std::ranges::count_if(
      tensors().names(), [&](const std::string& name) { return name.starts_with(prefix); }));
}

/// By how much a merged weight may differ from PEFT's, which rounds so often.
double allowed_difference(DType dtype, int roundings) {
  // In f32, sums in two orders; in 16 bits, half of the last bit.
  return roundings * (dtype == DType::bf16 ? 0x1p-9 : dtype == DType::f16 ? 0x1p-12 : 1e-6);
}

/// How often PEFT rounds, where numbers that are larger than the weight's count for more: after
/// each adapter (before a second DoRA it takes those that are merged out, and puts them in again),
/// the part that is taken out of the base first and comes from a decomposition in f32, and what an
/// embedding changes, by itself.
int roundings(const std::string& name, const LoraConfig& config, size_t adapters) {
  if (name.starts_with("dora_several") || takes_from_base(config))
    return 8;
  return adapters > 1 || name.starts_with("embedding") ? 4 : 1;
}

/// The bits of all parameters of a model, by path.
std::map<std::string, Tensor> snapshot(nn::Module& model) {
  std::map<std::string, Tensor> values;
  for (const nn::NamedMember& parameter : base_parameters(model))
    values[parameter.path] = parameter.member->value().clone();
  return values;
}

bool same_snapshot(const std::map<std::string, Tensor>& a, const std::map<std::string, Tensor>& b) {
  return std::ranges::equal(a, b, [](const auto& one, const auto& other) {
    return one.first == other.first && same_bits(one.second, other.second);
  });
}

const LoraConfig everything{
    .r = 3, .target_modules = Targets::regex(".*proj|lm_head|.*embed_tokens"), .lora_alpha = 6};
const LoraConfig q_v{.r = 2, .target_modules = {"q_proj", "v_proj"}};

LoraConfig with_dora(LoraConfig config, bool use_dora) {
  config.use_dora = use_dora;
  return config;
}

/// "a" on everything and "b" on q and v, both with numbers of their own; "a" is active.
struct TwoAdapters {
  std::unique_ptr<nn::CausalLM> base;
  Warnings warnings;
  PeftModel model;

  explicit TwoAdapters(std::unique_ptr<nn::CausalLM> given, bool use_dora = false)
      : base(std::move(given)),
        model(*base, with_dora(everything, use_dora), "a",
              {.matcher = test::matcher(), .observer = warnings.observer()}) {
    perturb(model, 1);
    model.add_adapter("b", with_dora(q_v, use_dora));
    model.set_adapter({"b"});
    perturb(model, 500);
    model.set_adapter({"a"});
  }
};

/// One of the model's parameters that an adapter trains, by the end of its name.
Variable trained(PeftModel& model, const std::string& ending) {
  for (const NamedVariable& parameter : model.trainable_parameters()) {
    if (parameter.name.ends_with(ending))
      return parameter.variable;
  }
  FAIL("no parameter ends in ", ending);
  return {};
}

/// Puts one number into a variable.
void spoil(Variable variable, double number) {
  Tensor value = variable.value().clone();
  value.data<float>()[value.numel() - 1] = static_cast<float>(number);
  variable.set_value(value);
}

/// A model held as the kind says: "f32", "packed bf16", "nf4", …
std::unique_ptr<nn::CausalLM> held_as(const std::string& kind) {
  const DType dtype = kind.ends_with("bf16") ? DType::bf16
                      : kind == "f16"        ? DType::f16
                      : kind == "f64"        ? DType::f64
                                             : DType::f32;
  auto model = tiny_llama(2, false, dtype);
  if (kind == "nf4") {
    nn::for_each_member(*model, [](const std::string&, nn::Member& member) {
      if (auto* linear = dynamic_cast<nn::Linear*>(member.module()))
        linear->weight().load(quant::to_panels(quant::quantize(linear->weight().value(), {})));
    });
  }
  return model;
}

void check_merged(const std::string& kind, bool use_dora) {
  const Tensor ids = some_ids(2, 6);
  TwoAdapters two(held_as(kind), use_dora);
  if (kind.starts_with("packed"))
    nn::pack(*two.base);
  two.model.set_adapter({"a", "b"}, true);
  const Tensor expected = logits_of(two.model, ids);
  const Tensor base = logits_of(two.model, ids, with_adapters({}));
  two.model.merge_adapter();
  const Tensor merged = logits_of(two.model, ids);
  CHECK(!same_bits(merged, base));
  // 16 bits: the merged weight is rounded where the sum of two products is not; f16 has three
  // bits more than bf16.
  const double allowed = kind.ends_with("bf16") ? 5e-2
                         : kind == "f16"        ? 5e-2 / 8
                         : kind == "f64"        ? 1e-13
                                                : 1e-5;
  const double difference = test::relative_difference(merged, expected);
  CHECK_MESSAGE(difference < allowed, kind, ": ", difference);
  CHECK(same_bits(logits_of(two.model, ids, with_adapters({})), base));
  two.model.unmerge_adapter();
  CHECK(same_bits(logits_of(two.model, ids), expected));
  two.model.merge_adapter();
  const nn::CausalLM& plain = two.model.merge_and_unload();
  CHECK(same_bits(logits_of(plain, ids), merged));
}

}  // namespace

TEST_CASE("merging: the weights are PEFT's") {
  for (const Json& record : answers()["merges"]) {
    const std::string name = record["name"].get<std::string>();
    const std::string held = record["dtype"].get<std::string>();
    CAPTURE(name);
    if (held == "nf4")
      continue;  // test_merge_options.cpp
    const DType dtype = held == "bf16" ? DType::bf16 : held == "f16" ? DType::f16 : DType::f32;
    const auto base = models::load(golden(record["base"].get<std::string>()), {.dtype = dtype});
    const auto before = snapshot(*base);
    const std::string embedding = base_parameters(*base)[0].path;
    Names names;
    for (size_t i = 0; i < record["adapters"].size(); ++i)
      names.push_back(concat("adapter", i));
    PeftModel model =
        PeftModel::from_pretrained(*base, golden(record["adapters"][0].get<std::string>()),
                                   names[0], false, {.matcher = test::matcher()});
    for (size_t i = 1; i < names.size(); ++i)
      model.load_adapter(golden(record["adapters"][i].get<std::string>()), names[i]);
    const LoraConfig config = model.config(names[0]);
    CHECK(&model.merge_and_unload(names) == base.get());
    double worst = 0;
    size_t changed = 0;
    const auto after = snapshot(*base);
    for (const auto& [path, value] : after) {
      const std::string key = name + "." + path;
      CHECK(value.dtype() == dtype);
      if (!tensors().contains(key)) {
        // A head that was tied changes with the embedding where adapters mean both; else it stays
        // what it was, where PEFT changes it.
        const bool is_tied = path == "lm_head.weight" && base->info().tied_head;
        CHECK_MESSAGE(same_bits(value, is_tied ? after.at(embedding) : before.at(path)), path);
        continue;
      }
      ++changed;
      Tensor expected = tensors().load(key).to(DType::f32);
      if (path.find(".c_") != path.npos && path.ends_with(".weight"))
        expected = expected.transpose(0, 1).contiguous();  // GPT-2's Conv1D
      worst = std::max(worst, test::relative_difference(value.to(DType::f32), expected));
    }
    CHECK(changed == number_of_tensors(name + "."));
    const double allowed = allowed_difference(dtype, roundings(name, config, names.size()));
    CHECK_MESSAGE(worst < allowed, name, ": ", worst);
    MESSAGE(name, ": ", worst, " of ", allowed);
  }
}

TEST_CASE("merging: a merged model computes what its adapters do, whatever holds the base") {
  for (const bool use_dora : {false, true}) {
    for (const char* kind : {"f32", "bf16", "f16", "f64", "packed", "packed bf16", "nf4"}) {
      CAPTURE(kind);
      CAPTURE(use_dora);
      check_merged(kind, use_dora);
    }
  }
}

TEST_CASE("merging: a thousand merges leave the bytes of the base as they are") {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    TwoAdapters two(tiny_llama(1, true, dtype));
    const auto before = snapshot(*two.base);
    const Tensor logits = logits_of(two.model, some_ids(1, 4));
    for (int i = 0; i < 1000; ++i) {
      two.model.merge_adapter({i % 2 == 0 ? "a" : "b"});
      two.model.unmerge_adapter();
    }
    CHECK(same_snapshot(snapshot(*two.base), before));
    CHECK(same_bits(logits_of(two.model, some_ids(1, 4)), logits));
  }
}

TEST_CASE("merging: a merge that fails changes nothing, at whatever layer") {
  const Tensor ids = some_ids(1, 5);
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  for (const double number : {nan, infinity}) {
    for (const char* ending : {"lm_head.a.lora_B.weight", "layers.1.mlp.down_proj.a.lora_A.weight",
                               "embed_tokens.a.lora_embedding_B"}) {
      CAPTURE(ending);
      TwoAdapters two(tiny_llama(2));
      const auto before = snapshot(*two.base);
      two.model.merge_adapter({"b"});
      const Tensor b = logits_of(two.model, ids, with_adapters({"b"}));
      spoil(trained(two.model, ending), number);
      const Names paths = two.model.targeted_modules("a");
      for (const bool unloads : {false, true}) {
        const std::string message = message_of<NonFiniteError>([&] {
          unloads ? static_cast<void>(two.model.merge_and_unload()) : two.model.merge_adapter();
        });
        check_contains(message, "the adapter \"a\" has a NaN or an infinite number at ");
        check_contains(message, "it is broken, and nothing was changed");
        CHECK(two.model.merged_adapters() == Names{"b"});
        CHECK(two.model.available_adapters() == Names{"a", "b"});
        CHECK(same_bits(logits_of(two.model, ids, with_adapters({"b"})), b));
        CHECK(same_snapshot(snapshot(*two.base), before));
      }
    }
  }
}

TEST_CASE("merging: a sum beyond the base's format is refused") {
  TwoAdapters two(tiny_llama(1, false, DType::f16));
  spoil(trained(two.model, "q_proj.a.lora_A.weight"), 1e7);
  check_contains(message_of<NonFiniteError>([&] { two.model.merge_adapter(); }),
                 "the weight of model.layers.0.self_attn.q_proj with its adapters is not finite in "
                 "f16");
  CHECK(two.model.merged_adapters().empty());
}

TEST_CASE("merging: merged and active are two sets, and a partial merge leaves the others active") {
  TwoAdapters two(tiny_llama(2));
  PeftModel& model = two.model;
  const Tensor ids = some_ids(2, 6);
  const Tensor base = logits_of(*two.base, ids);
  const Tensor a = logits_of(model, ids), b = logits_of(model, ids, with_adapters({"b"}));
  const Tensor both = logits_of(model, ids, with_adapters({"a", "b"}));
  const auto close = [](const Tensor& x, const Tensor& y) {
    return test::relative_difference(x, y) < 1e-5;
  };
  model.set_adapter({"a", "b"}, true);
  model.merge_adapter({"a"});
  CHECK(close(logits_of(model, ids), both));
  CHECK(close(logits_of(model, ids, with_adapters({"a"})), a));
  CHECK(same_bits(logits_of(model, ids, with_adapters({"b"})),
                  b));  // the base, without what is merged
  {
    const auto off = model.disable_adapter();
    CHECK(same_bits(logits_of(model, ids), base));
  }
  CHECK(close(logits_of(model, ids), both));

  model.set_adapter({"b"}, true);
  check_contains(two.warnings.texts.back(), "set_adapter: a is unmerged");
  CHECK(model.merged_adapters().empty());
  CHECK(same_bits(logits_of(model, ids), b));
  model.merge_adapter({"a"});  // not active, and applies all the same
  CHECK(model.active_adapters() == Names{"b"});
  CHECK(close(logits_of(model, ids), both));

  model.merge_adapter({"b"});
  const Tensor one_by_one = logits_of(model, ids);
  model.merge_adapter({"a"});
  check_contains(two.warnings.texts.back(), "merge_adapter: \"a\" is merged already");
  CHECK(same_bits(logits_of(model, ids), one_by_one));
  model.unmerge_adapter();
  model.merge_adapter({"b", "a"});
  CHECK(same_bits(logits_of(model, ids), one_by_one));

  check_contains(message_of<ConfigError>([&] { model.delete_adapter("a"); }),
                 "delete_adapter: \"a\" is merged; call unmerge_adapter first");
  check_contains(message_of<ConfigError>([&] {
                   model.merge_adapter({"a", "x"});
                 }),
                 "adapter \"x\" does not exist");
}

TEST_CASE("merging: rows and gradients go past what is merged") {
  TwoAdapters two(tiny_llama(2));
  PeftModel& model = two.model;
  const Tensor ids = some_ids(2, 6);
  const nn::Context mixed = test::by_row({"b", "a"});
  const Tensor rows = logits_of(model, ids, mixed);
  const auto gradient = [&] {
    nn::causal_lm_loss(model, ids, ids, {}).total.backward();
    return trained(model, "q_proj.a.lora_A.weight").take_grad();
  };
  const Tensor expected = gradient();
  model.merge_adapter();
  CHECK(same_bits(logits_of(model, ids, mixed), rows));
  CHECK(same_bits(gradient(), expected));
}

TEST_CASE("merging: on a tied matrix each end changes by its own adapter, and saves as two") {
  const Tensor ids = some_ids(2, 6);
  for (const char* target : {"lm_head", "embed_tokens"}) {
    CAPTURE(target);
    const auto base = tiny_llama(2, true);
    const Tensor shared = base_parameters(*base)[0].member->value().clone();
    PeftModel model(*base, {.r = 2, .target_modules = {target, "q_proj"}});
    perturb(model);
    const Tensor expected = logits_of(model, ids);
    CHECK(base->info().tied_head);
    model.merge_and_unload();
    CHECK(!base->info().tied_head);
    CHECK(test::relative_difference(logits_of(*base, ids), expected) < 1e-5);
    const auto values = snapshot(*base);
    const bool is_head = std::string(target) == "lm_head";
    CHECK(same_bits(values.at("model.embed_tokens.weight"), shared) == is_head);
    CHECK(same_bits(values.at("lm_head.weight"), shared) != is_head);

    const test::TemporaryFolder folder;
    models::save_pretrained(*base, folder / "merged");
    const auto again = models::load(folder / "merged");
    CHECK(!again->info().tied_head);
    CHECK(same_bits(logits_of(*again, ids), logits_of(*base, ids)));
  }
}

TEST_CASE("merging: a merged model is saved in shards like any other") {
  TwoAdapters two(tiny_llama(2));
  const Tensor ids = some_ids(2, 6);
  const nn::CausalLM& merged = two.model.merge_and_unload({"a", "b"});
  const test::TemporaryFolder folder;
  models::save_pretrained(*two.base, folder.path(), {.max_shard_bytes = 4000});
  const io::Json index = io::read_json_file(folder / "model.safetensors.index.json");
  std::set<std::string> files;
  for (const auto& [tensor, file] : index["weight_map"].items())
    files.insert(file.get<std::string>());
  CHECK(files.size() > 3);
  CHECK(same_bits(logits_of(*models::load(folder.path()), ids), logits_of(merged, ids)));
}

TEST_CASE("merging: with ensure_weight_tying both ends stay one matrix") {
  const Tensor ids = some_ids(2, 6);
  const std::vector<LoraConfig> configs = {
      {.target_modules = {"lm_head", "q_proj"}, .ensure_weight_tying = true},
      {.target_modules = {"q_proj"}, .modules_to_save = {"lm_head"}, .ensure_weight_tying = true},
      {.target_modules = {"q_proj"}, .trainable_token_indices = {{"embed_tokens", {1, 4}}}}};
  for (const LoraConfig& config : configs) {
    const auto base = tiny_llama(1, true);
    PeftModel model(*base, config);
    perturb(model);
    const Tensor expected = logits_of(model, ids);
    model.merge_and_unload();
    CHECK(base->info().tied_head);
    CHECK(test::relative_difference(logits_of(*base, ids), expected) < 1e-5);
    const test::TemporaryFolder folder;
    models::save_pretrained(*base, folder / "merged");
    CHECK(same_bits(logits_of(*models::load(folder / "merged"), ids), logits_of(*base, ids)));
  }
}

TEST_CASE("merging: copies of a head leave the embedding alone, and meet another's low-rank part") {
  const Tensor ids = some_ids(2, 6);
  for (const bool tied : {false, true}) {
    const auto base = tiny_llama(1, tied);
    PeftModel model(*base, {.target_modules = {"q_proj"}, .modules_to_save = {"lm_head"}}, "copy");
    perturb(model);
    model.add_adapter("low_rank", {.target_modules = {"lm_head"}});
    model.set_adapter({"low_rank"});
    perturb(model, 70);
    model.set_adapter({"copy", "low_rank"}, true);
    const Tensor expected = logits_of(model, ids);
    model.merge_adapter();
    CHECK(test::relative_difference(logits_of(model, ids), expected) < 1e-5);
    model.merge_and_unload();
    CHECK(!base->info().tied_head);
    CHECK(test::relative_difference(logits_of(*base, ids), expected) < 1e-5);
  }
}

TEST_CASE("merging: a broken copy is found before anything is changed") {
  const auto base = tiny_llama(2);
  const auto before = snapshot(*base);
  PeftModel model(*base, {.target_modules = {"q_proj"}, .modules_to_save = {"norm"}});
  spoil(trained(model, "model.norm.default.weight"), std::nan(""));
  check_contains(message_of<NonFiniteError>([&] { model.merge_and_unload(); }),
                 "the adapter \"default\" has a NaN or an infinite number at "
                 "model.norm.weight");
  CHECK(same_snapshot(snapshot(*base), before));
  CHECK(model.available_adapters() == Names{"default"});
}

TEST_CASE("merging: two copies of one parameter are refused, active or merged") {
  const auto base = tiny_llama(2);
  const LoraConfig config{.target_modules = {"q_proj"}, .modules_to_save = {"norm"}};
  PeftModel model(*base, config, "a");
  model.add_adapter("b", config);
  const Tensor ids = some_ids(2, 6);
  const Tensor before = logits_of(model, ids);
  for (const Names& names : {Names{"b"}, Names{"a", "b"}})
    check_contains(message_of<ConfigError>([&] { model.merge_adapter(names); }),
                   "merge_adapter: \"a\" and \"b\" both bring a copy");
  check_contains(message_of<ConfigError>([&] {
                   model.merge_and_unload({"a", "b"});
                 }),
                 "merge_and_unload: \"a\" and \"b\" both bring a copy");
  CHECK(same_bits(logits_of(model, ids), before));
  model.merge_adapter({"a"});
  CHECK(test::relative_difference(logits_of(model, ids), before) < 1e-5);
}

TEST_CASE("merging: a bias where the base has none is merged in memory and refused for good") {
  const auto base = tiny_llama(1);
  const auto before = snapshot(*base);
  PeftModel model(*base, {.target_modules = {"q_proj"}, .lora_bias = true});
  perturb(model);
  const Tensor ids = some_ids(1, 6);
  const Tensor expected = logits_of(model, ids);
  model.merge_adapter();
  CHECK(test::relative_difference(logits_of(model, ids), expected) < 1e-5);
  check_contains(
      message_of<ConfigError>([&] { model.merge_and_unload(); }),
      "the adapter has a bias (lora_bias) for model.layers.0.self_attn.q_proj, which has "
      "none in the base model");
  CHECK(same_snapshot(snapshot(*base), before));
}

TEST_CASE("merging: unload gives the base back, bit for bit") {
  const Tensor ids = some_ids(1, 6);
  auto given = tiny_llama(2, true);
  const Tensor expected = logits_of(*given, ids);
  const auto before = snapshot(*given);
  TwoAdapters two(std::move(given));
  two.model.merge_adapter();
  CHECK(&two.model.unload() == two.base.get());
  CHECK(two.model.available_adapters().empty());
  CHECK(two.model.merged_adapters().empty());
  CHECK(same_snapshot(snapshot(*two.base), before));
  CHECK(same_bits(logits_of(*two.base, ids), expected));
  CHECK(same_bits(logits_of(two.model, ids), expected));
  two.model.add_adapter("again", q_v);
  CHECK(same_bits(logits_of(two.model, ids, with_adapters({"again"})), expected));
}

TEST_CASE("merging: numbers cannot be put into what is merged") {
  TwoAdapters two(tiny_llama(1));
  const test::TemporaryFolder folder;
  two.model.save_pretrained(folder.path());
  two.model.merge_adapter();
  check_contains(message_of<ConfigError>([&] { two.model.load_weights(folder / "a", "a"); }),
                 "load_weights: \"a\" is merged");
  two.model.load_weights(folder / "b", "b");
}

}  // namespace graft::peft
