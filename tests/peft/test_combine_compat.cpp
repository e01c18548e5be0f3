// add_weighted_adapter by PEFT's formulas: the numbers are PEFT's, and what PEFT does not do is
// refused.

#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/io/safetensors.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using io::Json;
using test::check_contains, test::factors_at, test::golden, test::logits_of, test::message_of,
    test::perturb, test::tiny_llama, test::with_adapters;

using Names = std::vector<std::string>;

const Json& answers() {
  static const Json json = io::read_json_file(golden("peft_combine.json"));
  return json;
}
const io::SafetensorsFile& tensors() {
  static const io::SafetensorsFile file(golden("peft_combine.safetensors"), io::Access::read);
  return file;
}

CombineOptions options_of(const Json& record) {
  CombineOptions options{.combination_type = parse_combination(record["type"].get<std::string>()),
                         .compat = Compat::peft};
  const Json& more = record["options"];
  if (more.contains("density"))
    options.density = more["density"].get<double>();
  if (more.contains("svd_rank"))
    options.svd_rank = more["svd_rank"].get<int64_t>();
  if (more.contains("majority_sign_method"))
    options.majority_sign_method =
        parse_majority_sign(more["majority_sign_method"].get<std::string>());
  return options;
}

/// A model with the adapters that the golden files have for it.
std::unique_ptr<PeftModel> with_golden_adapters(nn::CausalLM& base, const std::string& path) {
  std::unique_ptr<PeftModel> model;
  for (const auto& [name, folder] : answers()["adapters"][path].items()) {
    const std::string adapter = golden(folder.get<std::string>());
    if (model == nullptr)
      model.reset(new PeftModel(
          PeftModel::from_pretrained(base, adapter, name, false, {.matcher = test::matcher()})));
    else
      model->load_adapter(adapter, name);
  }
  return model;
}

}  // namespace

TEST_CASE("combine compat: ranks of 8, 8 and 20 give those that PEFT gives") {
  const auto base = tiny_llama(1);
  const LoraConfig config{.r = 8, .target_modules = {"q_proj"}};
  PeftModel model(*base, config, "a");
  model.add_adapter("b", config);
  LoraConfig large = config;
  large.r = 20;
  model.add_adapter("c", large);
  for (const char* name : {"a", "b", "c"}) {
    model.set_adapter({name});
    perturb(model, static_cast<uint64_t>(name[0]));
  }
  for (const std::string& type : combination_names()) {
    CAPTURE(type);
    CombineOptions options{.combination_type = parse_combination(type), .compat = Compat::peft};
    if (prunes(options.combination_type))
      options.density = 0.5;
    const bool has_svd = is_svd(options.combination_type);
    const int64_t rank = has_svd ? 20 : type == "cat" ? 28 : 8;
    if (has_svd || type == "cat") {
      CHECK(model.add_weighted_adapter({"a", "c"}, {1, 0.5}, type, options).rank == rank);
    } else {
      CHECK(model.add_weighted_adapter({"a", "b"}, {1, 0.5}, type, options).rank == rank);
      check_contains(message_of<ConfigError>([&] {
                       model.add_weighted_adapter({"a", "c"}, {1, 0.5}, "refused", options);
                     }),
                     "rank");
    }
  }
}

TEST_CASE("combine compat: with compat the results are PEFT's") {
  for (const auto& [base_path, folders] : answers()["adapters"].items()) {
    const auto base = models::load(golden(base_path));
    const std::unique_ptr<PeftModel> model = with_golden_adapters(*base, base_path);
    for (const Json& record : answers()["cases"]) {
      if (record["base"] != base_path)
        continue;
      const std::string name = record["name"];
      CAPTURE(name);
      const CombineReport report = model->add_weighted_adapter(
          record["adapters"].get<Names>(), record["weights"].get<std::vector<double>>(), name,
          options_of(record));
      CHECK(report.rank == record["r"].get<int64_t>());
      CHECK(model->config(name).r == report.rank);
      const std::string path = answers()["layers"][base_path];
      const Factors made = factors_at(*model, path, name);
      const double change =
          test::relative_difference(product(made), tensors().load(name + ".change"));
      CHECK_MESSAGE(change < 1e-5, name, ": ", change);
      if (tensors().contains(name + ".A")) {
        CHECK(test::relative_difference(made.a, tensors().load(name + ".A")) < 1e-6);
        CHECK(test::relative_difference(made.b, tensors().load(name + ".B")) < 1e-6);
      }
      const Tensor expected = tensors().load(name + ".logits");
      const Tensor all = logits_of(*model, tensors().load("input_ids"), with_adapters({name}));
      const Tensor last = all.view({all.dim(1), all.dim(2)})
                              .slice(0, all.dim(1) - expected.dim(0), all.dim(1))
                              .contiguous();
      const double difference = test::relative_difference(last, expected);
      CHECK_MESSAGE(difference < 2e-5, name, ": ", difference);
    }
  }
}

TEST_CASE("combine compat: with compat factors are clipped as by PEFT, for signs by chance") {
  const Json& record = answers()["clamped"];
  const std::string base_path = record["base"];
  const auto base = models::load(golden(base_path));
  const std::unique_ptr<PeftModel> model = with_golden_adapters(*base, base_path);
  CombineOptions options = options_of(record);
  const auto change = [&](const std::string& name) {
    model->add_weighted_adapter(record["adapters"].get<Names>(),
                                record["weights"].get<std::vector<double>>(), name, options);
    return product(factors_at(*model, answers()["layers"][base_path], name));
  };
  options.svd_clamp = record["options"]["svd_clamp"].get<double>();
  const Tensor clipped = change("clipped");
  double nearest = 1;
  for (int i = 0; i < record["ways"]; ++i)
    nearest = std::min(nearest, test::relative_difference(
                                    clipped, tensors().load(concat("clamped_", i, ".change"))));
  CHECK(nearest < 1e-5);
  options.svd_clamp.reset();
  CHECK(test::relative_difference(change("whole"), clipped) > 1e-2);
}

TEST_CASE("combine compat: with compat, what PEFT refuses or takes no notice of is refused") {
  for (const Json& record : answers()["refused"]) {
    const std::string base_path = record["base"];
    const auto base = models::load(golden(base_path));
    const std::unique_ptr<PeftModel> model = with_golden_adapters(*base, base_path);
    const auto adapters = record["adapters"].get<Names>();
    const std::vector<double> weights(adapters.size(), 1);
    CombineOptions options{.combination_type = Combination::cat, .compat = Compat::peft};
    check_contains(message_of<ConfigError>(
                       [&] { model->add_weighted_adapter(adapters, weights, "new", options); }),
                   "which PEFT refuses; without compat they are weighted");
    options.compat = Compat::none;
    model->add_weighted_adapter(adapters, weights, "new", options);
  }
  const auto base = models::load(golden("models/biases"));
  PeftModel model(*base, {.r = 2, .target_modules = {"q_proj"}}, "a");
  model.add_adapter("b", {.r = 2, .target_modules = {"q_proj"}});
  model.add_adapter("biased", {.r = 2, .target_modules = {"q_proj"}, .bias = "all"});
  const auto refused = [&](const Names& adapters, CombineOptions options) {
    options.compat = Compat::peft;
    return message_of<ConfigError>([&] {
      model.add_weighted_adapter(adapters, std::vector<double>(adapters.size(), 1), "new", options);
    });
  };
  check_contains(refused({"a", "b"}, {.combination_type = Combination::linear, .svd_rank = 1}),
                 "svd_rank is given, of which PEFT takes no notice for linear; leave it out, or");
  check_contains(refused({"a", "b"},
                         {.combination_type = Combination::ties, .svd_clamp = 0.9, .density = 0.5}),
                 "svd_clamp is given, of which PEFT takes no notice for ties");
  check_contains(refused({"a"}, {.svd_rank = 1}),
                 "for linear, as which it combines one adapter alone; leave it out, or take no");
  for (const Names& adapters : {Names{"biased", "a"}, Names{"a", "biased"}, Names{"biased"}})
    check_contains(refused(adapters, {}), "\"biased\" has bias \"all\": PEFT trains the biases");
}

}  // namespace graft::peft
