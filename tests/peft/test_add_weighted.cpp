// add_weighted_adapter: adapters of a model become one.

#include <cmath>

#include "graft/tensor/pointwise.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using test::check_contains, test::factors_at, test::logits_of, test::message_of, test::perturb,
    test::same_bits, test::some_ids, test::tiny_llama, test::with_adapters;

using Names = std::vector<std::string>;

/// Adapters that differ in all that adapters can differ in, all trained away from their starts.
struct Different {
  std::unique_ptr<nn::CausalLM> base;
  PeftModel model;
  Names names{"plain", "rslora", "patterns"};

  explicit Different(bool tied = false)
      : base(tiny_llama(2, tied)),
        model(*base, {.r = 3, .target_modules = {"q_proj", "embed_tokens"}, .lora_alpha = 6},
              "plain", {.matcher = test::matcher()}) {
    model.add_adapter("rslora", {.r = 4,
                                 .target_modules = Targets::regex(".*(q_proj|up_proj)"),
                                 .lora_alpha = 2,
                                 .use_rslora = true});
    model.add_adapter("patterns", {.r = 2,
                                   .target_modules = {"q_proj", "v_proj", "embed_tokens"},
                                   .lora_alpha = 16,
                                   .lora_bias = false,
                                   .rank_pattern = {{"v_proj", 5}},
                                   .alpha_pattern = {{"layers.1.self_attn.q_proj", 3}}});
    uint64_t seed = 10;
    for (const std::string& name : names) {
      model.set_adapter({name});
      perturb(model, seed += 100);
    }
  }

  /// Logits of all adapters together, each weighted.
  Tensor weighted_logits(const std::vector<double>& weights, const Tensor& ids) {
    for (size_t i = 0; i < weights.size(); ++i)
      model.set_scale(names[i], weights[i]);
    Tensor logits =
        logits_of(model, ids, with_adapters({names.begin(), names.begin() + std::ssize(weights)}));
    for (const std::string& name : names)
      model.set_scale(name, 1);
    return logits;
  }
};

}  // namespace

TEST_CASE("add_weighted_adapter: the result is the weighted sum, whatever differs") {
  Different all;
  const Tensor ids = some_ids(2, 6);
  const std::vector<double> weights = {0.5, -1.5, 1};
  const Tensor expected = all.weighted_logits(weights, ids);
  for (const Combination type : {Combination::cat, Combination::svd, Combination::linear}) {
    const std::string name = concat("new_", peft::name(type));
    CAPTURE(name);
    CombineOptions options{.combination_type = type};
    if (type != Combination::cat)
      options.svd_rank = 16;
    const CombineReport report = all.model.add_weighted_adapter(all.names, weights, name, options);
    CHECK(report.rank == (type == Combination::cat ? 3 + 4 + 5 : 16));
    CHECK(report.layers.size() == 7);  // q_proj, v_proj, up_proj twice, the embedding
    CHECK(report.discarded_share() < 1e-12);
    CHECK(all.model.active_adapters() == Names{"patterns"});
    CHECK(test::relative_difference(logits_of(all.model, ids, with_adapters({name})), expected) <
          1e-5);

    const test::TemporaryFolder folder;
    all.model.save_pretrained(folder.path(), {name});
    const auto base = tiny_llama(2);
    const PeftModel again = PeftModel::from_pretrained(*base, folder / name);
    CHECK(test::relative_difference(logits_of(again, ids), expected) < 1e-5);
  }
}

TEST_CASE("add_weighted_adapter: what a rank costs is reported by layer") {
  Different all;
  const CombineReport report =
      all.model.add_weighted_adapter(all.names, {1, 1, 1}, "new", {.svd_rank = 2});
  CHECK(report.rank == 2);
  CHECK(report.discarded_share() > 0);
  for (const CombineReport::Layer& layer : report.layers) {
    CAPTURE(layer.path);
    Tensor exact;
    for (const std::string& name : all.names) {
      const Names& modules = all.model.targeted_modules(name);
      if (std::ranges::find(modules, layer.path) == modules.end())
        continue;
      // The scalings, worked out by hand.
      double scaling = name == "plain" ? 2 : name == "rslora" ? 1 : 8;
      if (name == "patterns" && layer.path.ends_with("v_proj"))
        scaling = 16.0 / 5;
      if (name == "patterns" && layer.path == "model.layers.1.self_attn.q_proj")
        scaling = 1.5;
      const Tensor change = ops::scale(product(factors_at(all.model, layer.path, name)), scaling);
      exact = exact.defined() ? ops::add(exact, change) : change;
    }
    const Tensor made = product(factors_at(all.model, layer.path, "new"));
    const auto squares = [](const Tensor& x) {
      double sum = 0;
      for (const double value : x.to_vector())
        sum += value * value;
      return sum;
    };
    // Where one adapter of that rank or less is alone, nothing is discarded and nothing counted.
    const double lost = squares(ops::add(exact, made, -1));
    CHECK(layer.discarded == doctest::Approx(lost).epsilon(1e-4).scale(1e-6));
    CHECK((layer.energy == 0 || layer.energy == doctest::Approx(squares(exact)).epsilon(1e-5)));
  }
}

TEST_CASE("add_weighted_adapter: sums of low-rank changes take no memory of a layer's size") {
  constexpr int64_t hidden = 512;
  constexpr int64_t smallest = 4 * hidden * hidden;  // bytes of the smallest matrix
  const auto base = test::wide_llama(1, hidden);
  PeftModel model(*base, {.r = 2, .target_modules = Targets::all_linear()}, "a");
  perturb(model, 1);
  model.add_adapter("b", {.r = 3, .target_modules = {"q_proj", "down_proj"}});
  model.set_adapter({"b"});
  perturb(model, 50);
  const auto peak_of = [&](const std::string& name, const CombineOptions& options) {
    return test::growth_of([&] {
             model.add_weighted_adapter({"a", "b"}, {1, -0.5}, name, options);
           })
        .peak;
  };
  for (const Combination type : {Combination::linear, Combination::svd, Combination::cat}) {
    const int64_t peak = peak_of(std::string(name(type)), {.combination_type = type});
    MESSAGE(name(type), ": ", peak, " bytes; the smallest matrix has ", smallest);
    CHECK(peak < smallest);
  }
  // Pruning looks at single numbers of the change, which has to be there for it.
  CHECK(peak_of("ties", {.combination_type = Combination::ties, .svd_rank = 2, .density = 0.5}) >
        smallest);
}

TEST_CASE("add_weighted_adapter: one adapter alone is only weighted, by every type") {
  const Tensor ids = some_ids(1, 6);
  for (const std::string& type : combination_names()) {
    CAPTURE(type);
    Different all;
    for (const double weight : {1.0, -2.0}) {
      CombineOptions options{.combination_type = parse_combination(type)};
      if (type != "cat" && type != "linear" && type != "svd")
        options.density = 0.3;
      const std::string name = weight > 0 ? "same" : "opposite";
      all.model.add_weighted_adapter({"plain"}, {weight}, name, options);
      CHECK(test::relative_difference(logits_of(all.model, ids, with_adapters({name})),
                                      all.weighted_logits({weight}, ids)) < 1e-6);
    }
  }
}

TEST_CASE("add_weighted_adapter: an adapter of weight zero adds nothing") {
  const Tensor ids = some_ids(1, 6);
  for (const Combination type : {Combination::cat, Combination::svd, Combination::linear}) {
    CAPTURE(peft::name(type));
    Different all;
    all.model.add_weighted_adapter({"plain", "rslora"}, {0.5, 0}, "half",
                                   {.combination_type = type});
    CHECK(test::relative_difference(logits_of(all.model, ids, with_adapters({"half"})),
                                    all.weighted_logits({0.5}, ids)) < 1e-6);  // f32 sums
  }
}

TEST_CASE("add_weighted_adapter: an adapter and its opposite are nothing") {
  Different all;
  const Tensor ids = some_ids(1, 6);
  all.model.add_weighted_adapter({"rslora"}, {-1}, "opposite");
  all.model.add_weighted_adapter({"rslora", "opposite"}, {1, 1}, "nothing");
  CHECK(test::relative_difference(logits_of(all.model, ids, with_adapters({"nothing"})),
                                  logits_of(all.model, ids, with_adapters({}))) < 1e-6);
}

TEST_CASE("add_weighted_adapter: biases, whole modules and tokens are weighted too") {
  const auto base = tiny_llama(2, true);
  PeftModel model(*base,
                  {.r = 2,
                   .target_modules = {"q_proj"},
                   .lora_bias = true,
                   .modules_to_save = {"norm"},
                   .trainable_token_indices = {{"embed_tokens", {2, 5}}}},
                  "a");
  perturb(model, 1);
  model.add_adapter("b", {.target_modules = {"q_proj", "v_proj"},
                          .trainable_token_indices = {{"embed_tokens", {5, 7}}}});
  model.set_adapter({"b"});
  perturb(model, 50);
  const Tensor ids = some_ids(2, 6);
  // Alone and with a weight of 1, each is what it was.
  for (const char* name : {"a", "b"}) {
    const std::string alone = concat(name, "_alone");
    model.add_weighted_adapter({name}, {1}, alone);
    CHECK(test::relative_difference(logits_of(model, ids, with_adapters({alone})),
                                    logits_of(model, ids, with_adapters({name}))) < 1e-6);
  }
  model.add_weighted_adapter({"a", "b"}, {1, 0.5}, "both", {.combination_type = Combination::cat});
  const auto rows = [&](const std::string& name) {
    const nn::Member* table = base_parameters(*base)[0].member;
    const nn::Override* found = const_cast<nn::Member*>(table)->overrides()->find(name);
    std::map<int64_t, std::vector<double>> values;
    for (int64_t i = 0; i < found->rows.numel(); ++i)
      values[found->rows.data<int64_t>()[i]] =
          found->value.value().slice(0, i, i + 1).contiguous().to_vector();
    return values;
  };
  const auto a = rows("a"), b = rows("b"), both = rows("both");
  const Tensor table = base_parameters(*base)[0].member->value();
  CHECK(both.size() == 3);
  for (const auto& [id, row] : both) {
    const std::vector<double> start = table.slice(0, id, id + 1).contiguous().to_vector();
    for (size_t i = 0; i < row.size(); ++i) {
      double expected = start[i];
      if (a.contains(id))
        expected += a.at(id)[i] - start[i];
      if (b.contains(id))
        expected += 0.5 * (b.at(id)[i] - start[i]);
      CHECK(row[i] == doctest::Approx(expected).epsilon(1e-5));
    }
  }
  CHECK(model.config("both").lora_bias);
  CHECK(model.config("both").modules_to_save == Names{"norm"});
}

TEST_CASE("add_weighted_adapter: adapters of tied matrices stay tied") {
  const auto base = tiny_llama(1, true);
  const LoraConfig tied{
      .r = 2, .target_modules = {"lm_head", "q_proj"}, .ensure_weight_tying = true};
  PeftModel model(*base, tied, "a");
  perturb(model, 1);
  model.add_adapter("b", tied);
  model.set_adapter({"b"});
  perturb(model, 60);
  model.add_weighted_adapter({"a", "b"}, {1, 1}, "both", {.combination_type = Combination::cat});
  const Tensor ids = some_ids(1, 6);
  CHECK(test::relative_difference(logits_of(model, ids, with_adapters({"both"})),
                                  logits_of(model, ids, with_adapters({"a", "b"}))) < 1e-5);
  model.add_adapter("untied", {.target_modules = {"q_proj"}});
  check_contains(message_of<ConfigError>([&] {
                   model.add_weighted_adapter({"a", "untied"}, {1, 1}, "new");
                 }),
                 "one has ensure_weight_tying and the other has not");
}

TEST_CASE("add_weighted_adapter: DoRA counts with its magnitudes, exactly at full rank") {
  const auto base = tiny_llama(2);
  const Targets targets{"q_proj", "down_proj", "embed_tokens"};
  PeftModel model(*base, {.r = 2, .target_modules = targets, .use_dora = true}, "dora");
  perturb(model, 1);
  model.add_adapter("lora", {.r = 3, .target_modules = {"q_proj"}});
  model.set_adapter({"lora"});
  perturb(model, 50);
  const Tensor ids = some_ids(2, 6);
  const int64_t full = 16;  // the smaller size of every layer
  CombineReport report = model.add_weighted_adapter({"dora"}, {1}, "same", {.svd_rank = full});
  CHECK(report.discarded_share() < 1e-12);
  CHECK(!model.config("same").use_dora);
  CHECK(test::relative_difference(logits_of(model, ids, with_adapters({"same"})),
                                  logits_of(model, ids, with_adapters({"dora"}))) < 1e-5);
  // The change of DoRA comes first and then that of the LoRA: as if DoRA came first in the layer.
  report = model.add_weighted_adapter({"lora", "dora"}, {1, 1}, "both", {.svd_rank = full});
  CHECK(report.discarded_share() < 1e-12);
  CHECK(test::relative_difference(logits_of(model, ids, with_adapters({"both"})),
                                  logits_of(model, ids, with_adapters({"dora", "lora"}))) < 1e-5);
  model.add_weighted_adapter({"dora", "same"}, {1, -1}, "nothing",
                             {.combination_type = Combination::magnitude_prune, .density = 1});
  CHECK(test::relative_difference(logits_of(model, ids, with_adapters({"nothing"})),
                                  logits_of(model, ids, with_adapters({}))) < 1e-5);
  report = model.add_weighted_adapter({"dora", "lora"}, {1, 1}, "low", {.svd_rank = 2});
  CHECK(report.discarded_share() > 1e-3);
  const auto refusal = [&](const CombineOptions& options) {
    return message_of<ConfigError>([&] {
      model.add_weighted_adapter({"lora", "dora"}, {1, 1}, "new", options);
    });
  };
  check_contains(refusal({.combination_type = Combination::cat}),
                 "\"dora\" has use_dora: what it changes has no factors that cat");
  check_contains(refusal({.compat = Compat::peft}),
                 "\"dora\" has use_dora, of which PEFT leaves out the magnitudes");
}

TEST_CASE("add_weighted_adapter: random pruning is the seed's") {
  Different all;
  const Tensor ids = some_ids(1, 6);
  const auto made = [&](const std::string& name, uint64_t seed) {
    all.model.add_weighted_adapter(
        {"plain", "rslora"}, {1, 1}, name,
        {.combination_type = Combination::dare_ties, .density = 0.5, .seed = seed});
    return logits_of(all.model, ids, with_adapters({name}));
  };
  const Tensor first = made("first", 1);
  CHECK(same_bits(first, made("again", 1)));
  CHECK(!same_bits(first, made("other", 2)));
}

TEST_CASE("add_weighted_adapter: a name that is not taken is found for the result") {
  Different all;
  CHECK(all.model.unused_name("new") == "new");
  for (const char* name : {"plain_", "plain__"}) {
    CHECK(all.model.unused_name("plain") == name);
    all.model.add_weighted_adapter({"plain"}, {1}, name);
  }
}

TEST_CASE("add_weighted_adapter: what is wrong is refused, and changes nothing") {
  Different all;
  const Tensor ids = some_ids(1, 5);
  const Tensor before = logits_of(all.model, ids);
  const auto refused = [&](const Names& names, const std::vector<double>& weights,
                           const std::string& name, CombineOptions options = {}) {
    const std::string message = message_of<ConfigError>(
        [&] { all.model.add_weighted_adapter(names, weights, name, options); });
    CHECK(all.model.available_adapters() == all.names);
    CHECK(same_bits(logits_of(all.model, ids), before));
    if (name == "new")  // nothing wrong with the name
      CHECK(message_of<ConfigError>(
                [&] { all.model.check_combination(names, weights, options); }) == message);
    return message;
  };
  check_contains(refused({"plain", "rslroa"}, {1, 1}, "new"),
                 "adapter \"rslroa\" does not exist; there are: plain, rslora, patterns (did you "
                 "mean 'rslora'?)");
  check_contains(refused({"plain", "rslora"}, {1}, "new"),
                 "1 weights are given for 2 adapters; one for each expected");
  check_contains(refused({}, {}, "new"), "no adapters are given");
  check_contains(refused({"plain", "plain"}, {1, 1}, "new"), "\"plain\" is given twice");
  check_contains(refused({"plain"}, {std::nan("")}, "new"), "a finite one expected");
  check_contains(refused({"plain"}, {1}, "rslora"), "there is one called \"rslora\" already");
  check_contains(refused({"plain"}, {1}, "new.one"), "is no name for an adapter");
  check_contains(
      refused({"plain", "rslora"}, {1, 1}, "new", {.combination_type = Combination::ties}),
      "density is not given");
  all.model.check_combination({"plain", "rslora"}, {1, -2}, {});
  check_contains(refused({"plain", "rslora"}, {1, 1}, "new",
                         {.combination_type = Combination::linear, .compat = Compat::peft}),
                 "linear as PEFT does it needs adapters of one rank, but \"plain\" has 3 and "
                 "\"rslora\" 4; without compat they may differ");

  all.model.set_adapter({"rslora"});
  for (const NamedVariable& parameter : all.model.trainable_parameters()) {
    Variable variable = parameter.variable;
    if (parameter.name.ends_with("layers.1.mlp.up_proj.rslora.lora_B.weight"))
      variable.set_value(Tensor::full(variable.shape(), std::nan("")));
  }
  check_contains(message_of<NonFiniteError>([&] {
                   all.model.add_weighted_adapter({"plain", "rslora"}, {1, 1}, "new");
                 }),
                 "the adapter \"rslora\" has a NaN or an infinite number at "
                 "model.layers.1.mlp.up_proj");
  CHECK(all.model.available_adapters() == all.names);
}

}  // namespace graft::peft
