// PiSSA and OLoRA: what an adapter begins with, what it leaves of the model, how it is converted.

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/io/safetensors.h"
#include "graft/peft/adapted_linear.h"
#include "graft/peft/base_parts.h"
#include "graft/tensor/linalg.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"
#include "graft/tests/peft/peft.h"
#include "graft/tests/support/threads.h"

namespace graft::peft {
namespace {

using io::Json;
using test::check_contains, test::golden, test::logits_of, test::message_of, test::same_bits,
    test::some_ids, test::tiny_llama;

/// scaling · b a
Tensor product(const BasePart& part, double scaling) {
  return ops::matmul(part.b, part.a, scaling);
}

LoraConfig with(LoraInit init, LoraConfig config = {}) {
  config.init_lora_weights = init;
  return config;
}

/// Saves an adapter that is not at its start any more; what the model answers with it.
Tensor save_trained(const LoraConfig& config, const std::filesystem::path& folder,
                    const SaveOptions& options) {
  const auto model = tiny_llama(2);
  PeftModel adapted = get_peft_model(*model, config, "default", {.matcher = test::matcher()});
  test::perturb(adapted);
  adapted.save_pretrained(folder, {"default"}, options);
  return logits_of(adapted, some_ids(2, 6));
}

const LoraConfig configs[] = {
    {.r = 2, .target_modules = Targets::all_linear(), .init_lora_weights = LoraInit::pissa},
    {.r = 3,
     .target_modules = {"q_proj", "lm_head"},
     .use_rslora = true,
     .init_lora_weights = LoraInit::pissa,
     .pissa_niter = 1,
     .rank_pattern = {{"lm_head", 4}},
     .alpha_pattern = {{"q_proj", 3}}},
    {.r = 2,
     .target_modules = {"down_proj", "embed_tokens"},
     .init_lora_weights = LoraInit::olora,
     .rank_pattern = {{"down_proj", 5}},
     .modules_to_save = {"norm"}},
    {.r = 2,
     .target_modules = {"k_proj", "up_proj"},
     .use_dora = true,
     .init_lora_weights = LoraInit::pissa},
};

}  // namespace

TEST_CASE("base parts: a new adapter begins with what PEFT's begins with") {
  const Json json = io::read_json_file(golden("peft_variants.json"));
  const io::SafetensorsFile tensors(golden("peft_variants.safetensors"), io::Access::read);
  int compared = 0;
  for (const Json& record : json["adapters"]) {
    const std::string start = record["name"].get<std::string>() + ".start.";
    Json config = record["config"];
    config["peft_type"] = "LORA";
    const auto base = models::load(golden(record["base"].get<std::string>()));
    const PeftModel adapted =
        get_peft_model(*base, parse_lora_config(io::to_text(config), "config"), "default",
                       {.matcher = test::matcher()});
    for (const Site& site : sites_of(*base)) {
      if (!tensors.contains(start + site.path))
        continue;
      CAPTURE(start + site.path);
      auto& lora = dynamic_cast<Lora&>(*dynamic_cast<AdaptedLinear&>(*site.module).find("default"));
      const Tensor found =
          ops::matmul(lora.lora_b().value(), lora.lora_a().value(), lora.scaling());
      // PEFT decomposes in f32, and is up to 1.4e-5 off what f64 gives.
      CHECK(test::relative_difference(found, tensors.load(start + site.path)) < 2e-5);
      ++compared;
    }
  }
  CHECK(compared == 10);
}

TEST_CASE("base parts: PiSSA's is the nearest of its rank, OLoRA's gives the first columns") {
  const Tensor weight = test::random_tensor({12, 9}, 1, DType::f64);
  const auto distance = [&](const LoraConfig& config) {
    const Tensor part = product(part_of(weight, 3, 1.7, config, "path"), 1.7);
    return std::sqrt(ops::sum_of_squares(ops::add(weight, part, -1)));
  };
  double rest = 0;
  for (const double value : ops::svd(weight).s.slice(0, 3, 9).contiguous().to_vector())
    rest += value * value;
  CHECK(distance(with(LoraInit::pissa)) == doctest::Approx(std::sqrt(rest)).epsilon(1e-12));
  const double near = distance(with(LoraInit::pissa, {.pissa_niter = 4}));
  CHECK(near > std::sqrt(rest));
  CHECK(near < distance(with(LoraInit::pissa, {.pissa_niter = 0})));
  const BasePart part = part_of(weight, 3, 1.7, with(LoraInit::olora), "path");
  CHECK(test::max_difference(product(part, 1).slice(1, 0, 3).contiguous(),
                             weight.slice(1, 0, 3).contiguous()) < 1e-13);
}

TEST_CASE("base parts: they depend on weight and path alone, not on the threads") {
  const Tensor weight = test::random_tensor({120, 90}, 1);
  const LoraConfig niter = with(LoraInit::pissa, {.pissa_niter = 2});
  test::check_threads_agree([&] {
    std::vector<Tensor> parts;
    for (const LoraConfig& config : {with(LoraInit::pissa), niter, with(LoraInit::olora)}) {
      const BasePart part = part_of(weight, 4, 2, config, "path");
      parts.push_back(part.a);
      parts.push_back(part.b);
    }
    return parts;
  });
  CHECK(!same_bits(part_of(weight, 4, 2, niter, "path").a, part_of(weight, 4, 2, niter, "b").a));
}

TEST_CASE("base parts: at the start the model is its base, and without the adapter to the bit") {
  for (const LoraConfig& config : configs) {
    CAPTURE(init_name(config));
    const auto model = tiny_llama(2);
    const Tensor plain = logits_of(*model, some_ids(2, 6));
    PeftModel adapted = get_peft_model(*model, config, "default", {.matcher = test::matcher()});
    const Tensor start = logits_of(adapted, some_ids(2, 6));
    // f32 sums over a few dozen terms, from which as much is taken as is added.
    CHECK(test::relative_difference(start, plain) < 1e-5);
    test::perturb(adapted);
    CHECK(test::relative_difference(logits_of(adapted, some_ids(2, 6)), plain) > 1e-2);
    const auto off = adapted.disable_adapter();
    CHECK(same_bits(logits_of(adapted, some_ids(2, 6)), plain));
  }
}

TEST_CASE("base parts: saved and loaded, an adapter is the same") {
  for (const LoraConfig& config : configs) {
    CAPTURE(init_name(config));
    const test::TemporaryFolder folder;
    const Tensor logits = save_trained(config, folder.path(), {});
    const auto model = tiny_llama(2);
    const PeftModel again = PeftModel::from_pretrained(*model, folder.path(), "default", false,
                                                       {.matcher = test::matcher()});
    CHECK(again.config("default").init_lora_weights == config.init_lora_weights);
    CHECK(same_bits(logits_of(again, some_ids(2, 6)), logits));
  }
}

TEST_CASE("base parts: subtracted at save, an adapter is an ordinary one of twice the rank") {
  for (const LoraConfig& config : configs) {
    CAPTURE(init_name(config));
    const test::TemporaryFolder folder;
    const Tensor logits = save_trained(config, folder.path(), {.subtract_mutated_init = true});
    const auto model = tiny_llama(2);
    const PeftModel again = PeftModel::from_pretrained(*model, folder.path(), "default", false,
                                                       {.matcher = test::matcher()});
    const LoraConfig& converted = again.config("default");
    CHECK(converted.init_lora_weights == LoraInit::standard);
    CHECK(converted.r == 2 * config.r);
    CHECK(scaling(converted, converted.r, converted.lora_alpha) ==
          doctest::Approx(scaling(config, config.r, config.lora_alpha)));
    CHECK(test::relative_difference(logits_of(again, some_ids(2, 6)), logits) < 1e-5);
  }
}

TEST_CASE("base parts: what cannot be taken, or subtracted, is refused") {
  const auto model = tiny_llama(1);
  check_contains(
      message_of<ConfigError>([&] {
        get_peft_model(
            *model, {.r = 64, .target_modules = {"q_proj"}, .init_lora_weights = LoraInit::pissa});
      }),
      "the rank of model.layers.0.self_attn.q_proj is 64, but init_lora_weights "
      "\"pissa\" needs one of");
  check_contains(message_of<ConfigError>([&] {
                   get_peft_model(*model, {.target_modules = {"q_proj"},
                                           .lora_alpha = 0,
                                           .init_lora_weights = LoraInit::pissa});
                 }),
                 "lora_alpha is 0 or less");
  const PeftModel plain = get_peft_model(*model, {.target_modules = {"q_proj"}});
  const test::TemporaryFolder folder;
  check_contains(message_of<ConfigError>([&] {
                   plain.save_pretrained(folder / "out", {"default"},
                                         {.subtract_mutated_init = true});
                 }),
                 "the adapter \"default\" has taken nothing out of the base model");
  CHECK(!std::filesystem::exists(folder / "out"));
}

TEST_CASE("base parts: in a combination, what was taken out counts") {
  const auto model = tiny_llama(2);
  PeftModel adapted(
      *model,
      {.r = 2, .target_modules = {"q_proj", "up_proj"}, .init_lora_weights = LoraInit::pissa},
      "pissa");
  test::perturb(adapted);
  adapted.add_adapter("lora", {.r = 3, .target_modules = {"q_proj"}});
  adapted.set_adapter({"lora"});
  test::perturb(adapted, 60);
  adapted.set_adapter({"pissa", "lora"}, true);
  const Tensor expected = logits_of(adapted, some_ids(2, 6));
  const auto refusal = message_of<ConfigError>(
      [&] { adapted.add_weighted_adapter({"pissa"}, {1}, "new", {.compat = Compat::peft}); });
  check_contains(refusal, "\"pissa\" has init_lora_weights \"pissa\", of which PEFT leaves out");
  for (const Combination type : {Combination::cat, Combination::svd}) {
    CombineOptions options{.combination_type = type};
    if (type == Combination::svd)
      options.svd_rank = 7;
    const std::string made(name(type));
    const CombineReport report =
        adapted.add_weighted_adapter({"pissa", "lora"}, {1, 1}, made, options);
    CHECK(report.rank == 7);
    CHECK(adapted.config(made).init_lora_weights == LoraInit::standard);
    adapted.set_adapter({made}, true);
    CHECK(test::relative_difference(logits_of(adapted, some_ids(2, 6)), expected) < 1e-5);
  }
  CHECK(adapted.add_weighted_adapter({"pissa"}, {1}, "alone").rank == 4);
}

TEST_CASE("base parts: merged, the model answers as with the adapter") {
  for (const LoraConfig& config : configs) {
    CAPTURE(init_name(config));
    const auto model = tiny_llama(2);
    PeftModel adapted = get_peft_model(*model, config, "default", {.matcher = test::matcher()});
    test::perturb(adapted);
    adapted.set_adapter({"default"}, true);
    const Tensor expected = logits_of(adapted, some_ids(2, 6));
    adapted.merge_adapter();
    CHECK(test::relative_difference(logits_of(adapted, some_ids(2, 6)), expected) < 2e-5);
  }
}

}  // namespace graft::peft
