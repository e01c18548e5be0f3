// Adapters that are invoked by tokens, against PEFT's.

#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/io/safetensors.h"
#include "graft/models/generate.h"
#include "graft/nn/kv_cache.h"
#include "graft/nn/loss.h"
#include "graft/peft/alora.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using io::Json;
using test::check_contains, test::golden, test::logits_of, test::message_of, test::same_bits,
    test::tiny_llama, test::with_adapters;

using Ids = std::vector<int64_t>;
using Names = std::vector<std::string>;

// f32 sums over a few dozen terms in two orders, over two layers.
constexpr double tolerance = 2e-5;

const Json& answers() {
  static const Json json = io::read_json_file(golden("alora.json"));
  return json;
}
const io::SafetensorsFile& tensors() {
  static const io::SafetensorsFile file(golden("alora.safetensors"), io::Access::read);
  return file;
}

std::unique_ptr<nn::CausalLM> base_of_answers() {
  return models::load(golden(answers()["base"].get<std::string>()));
}

/// PEFT's adapters on `base`, the first of them active.
struct Loaded {
  Loaded(nn::CausalLM& base, const Names& names)
      : model(PeftModel::from_pretrained(base, folder_of(names[0]), names[0])) {
    for (size_t i = 1; i < names.size(); ++i)
      model.load_adapter(folder_of(names[i]), names[i]);
  }
  static std::filesystem::path folder_of(const std::string& name) {
    return golden(concat("alora/", name));
  }

  PeftModel model;
};

nn::AdapterSelection row_by_row(const Names& names) {
  return {.names = {}, .by_row = names};
}

/// Tokens [begin, end) of one row.
Tensor part_of(const Tensor& logits, int64_t row, int64_t begin, int64_t end) {
  return logits.slice(0, row, row + 1).slice(1, begin, end).contiguous();
}

LoraConfig invoked_by(Ids tokens) {
  return {.target_modules = {"q_proj", "down_proj"}, .alora_invocation_tokens = std::move(tokens)};
}

}  // namespace

TEST_CASE("alora: an invocation is found where it stands for the last time") {
  const auto from = [](const Ids& text, const Ids& invocation) {
    return invoked_from(text, invocation);
  };
  CHECK(from({1, 2, 3}, {2, 3}) == 1);
  CHECK(from({2, 3, 2, 3, 4}, {2, 3}) == 2);
  CHECK(from({2, 2, 2}, {2, 2}) == 1);
  CHECK(from({1, 2}, {2, 3}) == nn::AdapterPart::nowhere);
  CHECK(from({2}, {2, 3}) == nn::AdapterPart::nowhere);
  CHECK(from({}, {2}) == nn::AdapterPart::nowhere);
}

TEST_CASE("alora: PEFT's adapters give PEFT's logits, and the base model's before them") {
  const Tensor ids = tensors().load("input_ids");
  const auto base = base_of_answers();
  const Tensor plain = logits_of(*base, ids);
  for (const std::string name : {"three", "one", "parts"}) {
    CAPTURE(name);
    const Loaded loaded(*base, {name});
    const PeftModel& model = loaded.model;
    const Tensor logits = logits_of(model, ids);
    CHECK(test::relative_difference(logits, tensors().load(name)) < tolerance);
    if (name == "parts")  // its copy of a token applies wherever that token stands, as in PEFT
      continue;
    CHECK(same_bits(part_of(logits, 0, 0, 10), part_of(plain, 0, 0, 10)));
    const int64_t start = name == "three" ? 4 : 2;
    CHECK(same_bits(part_of(logits, 1, 0, start), part_of(plain, 1, 0, start)));
    for (int64_t t = start; t < 10; ++t)
      CHECK(test::relative_difference(part_of(logits, 1, t, t + 1), part_of(plain, 1, t, t + 1)) >
            1e-3);
  }
}

TEST_CASE("alora: rows of a batch use adapters of both kinds, as in PEFT") {
  const Tensor ids = tensors().load("input_ids");
  const auto base = base_of_answers();
  const Loaded loaded(*base, {"three", "one", "plain"});
  const PeftModel& model = loaded.model;
  nn::Context context;
  context.adapters = row_by_row(answers()["mixed"].get<Names>());
  CHECK(test::relative_difference(logits_of(model, ids, context), tensors().load("mixed")) <
        tolerance);
}

TEST_CASE("alora: with a cache, generation is PEFT's, in any batch") {
  const auto base = base_of_answers();
  const auto prompts = answers()["prompts"].get<std::vector<Ids>>();
  for (const std::string name : {"three", "one", "parts", "mixed"}) {
    CAPTURE(name);
    const bool is_mixed = name == "mixed";
    const Loaded loaded(*base, is_mixed ? Names{"three", "one", "plain"} : Names{name});
    const PeftModel& model = loaded.model;
    const Names names = is_mixed ? answers()["mixed"].get<Names>() : Names(prompts.size(), name);
    const auto expected = answers()["generated"][name].get<std::vector<Ids>>();
    models::GenerateOptions options{.max_new_tokens = std::ssize(expected[0]),
                                    .adapters = row_by_row(names)};
    const auto together = models::generate(model, prompts, options);
    for (size_t row = 0; row < prompts.size(); ++row) {
      CHECK(together[row].ids == expected[row]);
      models::GenerateOptions alone = options;
      alone.adapters = row_by_row({names[row]});
      CHECK(models::generate(model, {prompts[row]}, alone)[0].ids == expected[row]);
    }
    // A row that ends early takes its place in the batch along.
    options.on_token = [](int64_t row, int64_t) {
      return row == 0 ? models::Verdict::end_row : models::Verdict::go_on;
    };
    const auto without_first = models::generate(model, prompts, options);
    for (size_t row = 1; row < prompts.size(); ++row)
      CHECK(without_first[row].ids == expected[row]);
  }
}

TEST_CASE("alora: an invocation that the model writes itself changes nothing, as in PEFT") {
  const auto prompt = answers()["prompts"][0].get<Ids>();
  const auto expected = answers()["generated"]["three"][0].get<Ids>();  // "three" is not invoked
  const auto base = base_of_answers();
  PeftModel model(*base, invoked_by({expected[0]}));
  test::perturb(model);
  const models::GenerateOptions options{.max_new_tokens = std::ssize(expected)};
  CHECK(models::generate(model, {prompt}, options)[0].ids == expected);
}

TEST_CASE("alora: what the whole texts settle holds for forwards of their pieces") {
  const auto base = tiny_llama(2);
  PeftModel model(*base, invoked_by({5, 6}));
  test::perturb(model);
  const std::vector<Ids> texts{{1, 5, 6, 7, 2, 3}, {4, 4, 4, 4, 5, 6}};
  const Tensor ids = Tensor::from(Ids{1, 5, 6, 7, 2, 3, 4, 4, 4, 4, 5, 6}, {2, 6});
  const Tensor expected = logits_of(model, ids);
  const nn::Context settled = model.resolve({}, texts);
  const auto in_pieces = [&](const Tensor& all, const Ids& ends) {
    nn::KvCache cache(2, 2, 16);
    nn::Context context = settled;
    context.cache = &cache;
    std::vector<Tensor> found;
    for (int64_t begin = 0; const int64_t end : ends) {
      found.push_back(logits_of(model, all.slice(1, begin, end).contiguous(), context));
      cache.advance(Ids(2, end - begin));
      begin = end;
    }
    return found;
  };
  const std::vector<Tensor> pieces = in_pieces(ids, {2, 3, 6});
  for (size_t i = 0; const auto& [begin, end] : {std::pair(0, 2), std::pair(2, 3), std::pair(3, 6)})
    CHECK(test::relative_difference(pieces[i++], expected.slice(1, begin, end).contiguous()) <
          1e-5);  // attention over a cache adds in another order
  // The texts go on with an invocation, and then through the model again from their beginning.
  const Tensor more = Tensor::from(Ids{1, 5, 6, 7, 2, 3, 5, 6, 4, 4, 4, 4, 5, 6, 5, 6}, {2, 8});
  const std::vector<Tensor> grown = in_pieces(more, {6, 8});
  CHECK(test::relative_difference(in_pieces(more, {8})[0].slice(1, 6, 8).contiguous(), grown[1]) <
        1e-5);
}

TEST_CASE("alora: several at once apply each from its own invocation on, merged ones everywhere") {
  const Tensor ids = tensors().load("input_ids").slice(0, 1, 2).contiguous();  // "one" at 2
  const auto base = base_of_answers();                                         // "three" at 4
  Loaded loaded(*base, {"three", "one", "plain"});
  PeftModel& model = loaded.model;
  const auto logits = [&](const Names& names) {
    return logits_of(model, ids, with_adapters(names));
  };
  const Tensor both = logits({"three", "one"});
  CHECK(same_bits(part_of(both, 0, 0, 2), part_of(logits({}), 0, 0, 2)));
  CHECK(same_bits(part_of(both, 0, 2, 4), part_of(logits({"one"}), 0, 2, 4)));
  for (const char* alone : {"one", "three"})
    CHECK(test::relative_difference(part_of(both, 0, 4, 10), part_of(logits({alone}), 0, 4, 10)) >
          1e-3);
  const Tensor expected = logits({"three", "plain"});
  model.merge_adapter({"plain"});
  const Tensor merged = logits({"three", "plain"});
  CHECK(test::relative_difference(merged, expected) < 1e-5);  // the sum is rounded
  CHECK(!same_bits(merged, expected));                        // so the merged layers were used
}

TEST_CASE("alora: beside DoRA, what is invoked applies as another adapter would") {
  const auto base = tiny_llama(2);
  LoraConfig dora{.target_modules = {"q_proj", "down_proj"},
                  .use_dora = true,
                  .init_lora_weights = LoraInit::random};
  LoraConfig invoked = invoked_by({1});
  invoked.init_lora_weights = LoraInit::random;  // the same numbers at each path
  invoked.lora_bias = true;
  LoraConfig plain = invoked;
  plain.alora_invocation_tokens.reset();
  PeftModel model(*base, invoked, "invoked");
  model.add_adapter("plain", plain);
  model.add_adapter("dora", dora);
  model.add_adapter("invoked later", invoked);
  model.add_adapter("plain later", plain);
  const Tensor ids = Tensor::from(Ids{1, 5, 6, 7, 2, 3, 4, 1, 8, 9}, {2, 5});
  const auto logits = [&](const Names& names) {
    return logits_of(model, ids, with_adapters(names));
  };
  for (const std::string when : {"", " later"}) {
    const Tensor some = logits({"dora", "invoked" + when});
    const Tensor all = logits({"dora", "plain" + when});
    CHECK(test::relative_difference(part_of(some, 0, 0, 5), part_of(all, 0, 0, 5)) < 1e-5);
    CHECK(test::relative_difference(part_of(some, 1, 0, 2), part_of(logits({"dora"}), 1, 0, 2)) <
          1e-5);  // sums in another order
    CHECK(test::relative_difference(part_of(some, 1, 2, 5), part_of(logits({"dora"}), 1, 2, 5)) >
          1e-3);
  }
}

TEST_CASE("alora: documents that share a row are texts of their own, in gradients too") {
  const auto base = tiny_llama(2);
  PeftModel model(*base, invoked_by({5, 6}));
  test::perturb(model);
  const Tensor apart = Tensor::from(Ids{1, 5, 6, 2, 3, 4, 8, 9, 5, 6, 7, 1}, {3, 4});
  nn::Context packed;
  packed.segments = Tensor::from(Ids{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2}, {1, 12});
  packed.positions = Tensor::from(Ids{0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3}, {1, 12});
  const Tensor expected = logits_of(model, apart).view({1, 12, -1});
  CHECK(test::relative_difference(logits_of(model, apart.view({1, 12}), packed), expected) < 1e-5);
  const auto gradients = [&](bool checkpoint) {
    const nn::Context context{.train = true, .checkpoint_blocks = checkpoint};
    nn::causal_lm_loss(model, apart, apart, context).total.backward();
    std::vector<Tensor> found;
    for (const NamedVariable& parameter : model.trainable_parameters())
      found.push_back(Variable(parameter.variable).take_grad());
    return found;
  };
  const std::vector<Tensor> plain = gradients(false), again = gradients(true);
  for (size_t i = 0; i < plain.size(); ++i)
    CHECK(same_bits(plain[i], again[i]));
}

TEST_CASE("alora: layers and tokens that cannot be are refused") {
  const auto base = tiny_llama(1);
  for (const char* target : {"lm_head", "embed_tokens"}) {
    LoraConfig config = invoked_by({5, 6});
    config.target_modules = {"q_proj", target};
    check_contains(message_of<ConfigError>([&] { PeftModel(*base, config); }),
                   concat(std::string(target) == "lm_head" ? "" : "model.", target,
                          "; an adapter that is invoked by tokens"));
  }
  const int64_t beyond = base->info().vocab_size;
  const std::string problem = concat("alora_invocation_tokens: the model has no token ", beyond);
  check_contains(message_of<ConfigError>([&] {
                   PeftModel(*base, invoked_by({5, beyond}));
                 }),
                 problem);
  test::Warnings warnings;
  const PeftModel lenient(*base, invoked_by({5, beyond}), "default",
                          {.observer = warnings.observer(), .strict = false});
  REQUIRE(warnings.texts.size() == 1);
  check_contains(warnings.texts[0], problem);
}

TEST_CASE("alora: neither a weight nor a combination can hold it") {
  const auto base = base_of_answers();
  Loaded loaded(*base, {"one", "plain"});
  PeftModel& model = loaded.model;
  const Tensor ids = tensors().load("input_ids");
  const Tensor before = logits_of(model, ids);
  const char* problem = "merge: \"one\" has alora_invocation_tokens";
  check_contains(message_of<ConfigError>([&] { model.merge_adapter({"plain", "one"}); }), problem);
  check_contains(message_of<ConfigError>([&] { model.merge_and_unload(); }), problem);
  CHECK(model.merged_adapters().empty());
  for (const Combination type : {Combination::svd, Combination::cat, Combination::linear})
    check_contains(
        message_of<ConfigError>([&] {
          model.add_weighted_adapter({"plain", "one"}, {1, 1}, "new", {.combination_type = type});
        }),
        "combine: \"one\" has alora_invocation_tokens");
  CHECK(same_bits(logits_of(model, ids), before));
}

TEST_CASE("alora: a forward that cannot know where it applies is refused") {
  const auto base = tiny_llama(1);
  PeftModel model(*base, invoked_by({5, 6}), "invoked");
  test::perturb(model);
  const Tensor ids = Tensor::from(Ids{1, 5, 6, 2}, {1, 4});
  const Tensor before = logits_of(model, ids);
  const char* problem = "\"invoked\" applies from its invocation tokens on, and this forward does";
  check_contains(message_of<ConfigError>([&] { base->forward(ids, with_adapters({"invoked"})); }),
                 problem);
  nn::Context rows;
  rows.adapters = row_by_row({"invoked", "__base__"});
  check_contains(message_of<ConfigError>([&] {
                   base->forward(Tensor::from(Ids{1, 5, 6, 5, 6, 2}, {2, 3}), rows);
                 }),
                 problem);
  nn::KvCache cache(1, 1, 8);
  const nn::Context cached{.cache = &cache};
  model.forward(ids, cached);
  cache.advance({4});
  check_contains(message_of<ConfigError>([&] { model.forward(ids, cached); }),
                 "the text began in an earlier forward");
  const std::vector<Ids> two{{1, 5, 6, 2}, {1, 2}};
  check_contains(message_of<ShapeError>([&] { model.forward(ids, model.resolve({}, two)); }),
                 "where \"invoked\" is invoked is known for 2 rows, but there are 1");
  CHECK(same_bits(logits_of(model, ids), before));
}

}  // namespace graft::peft
