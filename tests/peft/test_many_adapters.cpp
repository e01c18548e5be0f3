// Many adapters on one base: none of them is paid for twice.

#include <string>
#include <vector>

#include "graft/peft/sites.h"
#include "graft/tensor/allocator.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using test::Growth, test::growth_of;

}  // namespace

TEST_CASE(
    "many adapters: each takes the memory of its own numbers, and no more while it is loaded") {
  const test::TemporaryFolder folder;
  const auto base = test::wide_llama(2, 64);
  PeftModel model(*base, {.r = 16, .target_modules = Targets::all_linear()});
  model.save_pretrained(folder.path());
  const int64_t numbers = model.count_parameters().trainable;
  const Growth second = growth_of([&] { model.load_adapter(folder.path(), "second"); });
  CHECK(second.lasting >= 4 * numbers);
  CHECK(second.lasting < 5 * numbers);  // blocks are rounded up
  for (int i = 0; i < 50; ++i)
    CHECK(growth_of([&] { model.load_adapter(folder.path(), concat("more_", i)); }) == second);
  for (int i = 0; i < 50; ++i)
    CHECK(growth_of([&] { model.set_adapter({concat("more_", i)}, true); }) == Growth{});
  for (int i = 0; i < 50; ++i)
    CHECK(growth_of([&] { model.delete_adapter(concat("more_", i)); }).lasting == -second.lasting);
}

TEST_CASE("many adapters: forwards and logits of one do not depend on the others") {
  const test::TemporaryFolder folder;
  const auto base = test::tiny_llama(2);
  PeftModel model(*base, {.r = 2, .target_modules = Targets::all_linear()});
  test::perturb(model);
  model.save_pretrained(folder.path());
  const Tensor ids = test::some_ids(2, 4);
  const Tensor alone = test::logits_of(model, ids);
  const auto forward_peak = [&] { return growth_of([&] { test::logits_of(model, ids); }).peak; };
  const int64_t peak = forward_peak();
  for (int i = 0; i < 20; ++i)
    model.load_adapter(folder.path(), concat("more_", i));
  CHECK(test::same_bits(test::logits_of(model, ids), alone));
  CHECK(forward_peak() == peak);
  CHECK(base_parameters(*base).size() == base_parameters(*test::tiny_llama(2)).size());
}

TEST_CASE("many adapters: they apply as they were added, in whatever order they are named") {
  const auto base = test::tiny_llama(2);
  PeftModel model(*base, {.r = 2, .target_modules = {"q_proj", "embed_tokens"}}, "z");
  model.add_adapter("m", {.r = 2, .target_modules = {"q_proj", "embed_tokens"}, .use_dora = true});
  model.add_adapter("a", {.r = 2, .target_modules = {"q_proj", "embed_tokens"}});
  uint64_t seed = 0;
  for (const char* name : {"z", "m", "a"}) {
    model.set_adapter({name});
    test::perturb(model, seed += 100);
  }
  const Tensor ids = test::some_ids(2, 4);
  const auto logits = [&](std::vector<std::string> names) {
    return test::logits_of(model, ids, test::with_adapters(std::move(names)));
  };
  CHECK(test::same_bits(logits({"a", "m", "z"}), logits({"z", "m", "a"})));
  // Those before DoRA are scaled by it, those behind it are not.
  CHECK(test::max_difference(logits({"z", "m"}), logits({"m", "a"})) > 1e-3);
  CHECK(test::same_bits(test::logits_of(model, ids, test::by_row({"a", "a"})), logits({"a"})));
}

}  // namespace graft::peft
