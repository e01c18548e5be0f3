// Training on a base in 4 bits.

#include <map>

#include "graft/nn/loss.h"
#include "graft/peft/kbit.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

std::unique_ptr<nn::CausalLM> load_nf4(DType dtype) {
  return models::load(test::golden("qlora/nf4"), {.dtype = dtype});
}

PeftModel adapted(nn::CausalLM& model) {
  return get_peft_model(model, {.r = 4, .target_modules = Targets::all_linear(), .lora_alpha = 8});
}

/// The gradient of each adapter matrix, by its path.
std::map<std::string, Tensor> gradients(PeftModel& model, bool checkpointing) {
  const Tensor ids = test::some_ids(2, 9);
  const nn::Context context{.train = true, .checkpoint_blocks = checkpointing};
  const nn::Loss loss = nn::causal_lm_loss(model, ids, ids, context);
  loss.total.backward();
  std::map<std::string, Tensor> found;
  for (NamedVariable& parameter : model.trainable_parameters())
    found[parameter.name] = parameter.variable.take_grad();
  return found;
}

std::map<std::string, DType> dtypes(nn::CausalLM& model) {
  std::map<std::string, DType> found;
  for (const nn::NamedMember& parameter : nn::named_parameters(model))
    found[parameter.path] = parameter.member->value().dtype();
  return found;
}

}  // namespace

TEST_CASE("kbit: under checkpointing the first block's adapters get their gradients, hook or no") {
  const auto base = load_nf4(DType::f32);
  prepare_model_for_kbit_training(*base);
  PeftModel model = adapted(*base);
  test::perturb(model);
  const std::map<std::string, Tensor> plain = gradients(model, false);
  const std::map<std::string, Tensor> checkpointed = gradients(model, true);
  CHECK(plain.size() == 2 * 14);
  int64_t first_block = 0;
  for (const auto& [name, gradient] : plain) {
    CAPTURE(name);
    REQUIRE(checkpointed.at(name).defined());
    CHECK(test::same_bits(checkpointed.at(name), gradient));
    CHECK(test::max_difference(gradient, Tensor::zeros(gradient.shape())) > 0);
    first_block += name.find("layers.0.") != std::string::npos;
  }
  CHECK(first_block == 14);
}

TEST_CASE("kbit: norms and biases are f32, embedding and head only in PEFT's way") {
  const auto base = load_nf4(DType::bf16);
  prepare_model_for_kbit_training(*base);
  const std::map<std::string, DType> ours = dtypes(*base);
  CHECK(ours.at("model.norm.weight") == DType::f32);
  CHECK(ours.at("model.layers.0.input_layernorm.weight") == DType::f32);
  CHECK(ours.at("model.embed_tokens.weight") == DType::bf16);
  CHECK(ours.at("lm_head.weight") == DType::bf16);

  const auto like_peft = load_nf4(DType::bf16);
  prepare_model_for_kbit_training(*like_peft, {.compat = Compat::peft});
  const std::map<std::string, DType> theirs = dtypes(*like_peft);
  CHECK(theirs.at("model.embed_tokens.weight") == DType::f32);
  CHECK(theirs.at("lm_head.weight") == DType::f32);

  // bf16 numbers are f32 numbers, so the two compute the same, in f32 between the products.
  const Tensor ids = test::some_ids(2, 9);
  const Tensor logits = test::logits_of(*base, ids);
  CHECK(logits.dtype() == DType::f32);
  CHECK(test::relative_difference(logits, test::logits_of(*like_peft, ids)) < 1e-5);
  PeftModel model = adapted(*base);
  for (const NamedVariable& parameter : model.trainable_parameters())
    CHECK(parameter.variable.dtype() == DType::f32);
}

TEST_CASE("kbit: everything is frozen, and a model with adapters is refused") {
  const auto base = test::tiny_llama(1);
  nn::set_requires_grad(*base, true);
  prepare_model_for_kbit_training(*base);
  CHECK(nn::trainable_parameters(*base).empty());
  const PeftModel model = adapted(*base);
  test::check_contains(
      test::message_of<ConfigError>([&] { prepare_model_for_kbit_training(*base); }),
      "carries adapters already");
}

}  // namespace graft::peft
