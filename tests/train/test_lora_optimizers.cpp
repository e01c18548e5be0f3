// LoRA+ and LoRA-FA against PEFT's optimizers (tests/golden/make_lora_optimizers.py).

#include <cmath>
#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/io/safetensors.h"
#include "graft/nn/loss.h"
#include "graft/optim/adamw.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"
#include "graft/tests/models/models.h"
#include "graft/tests/support/test.h"
#include "graft/train/lora_optimizers.h"

namespace graft::train {
namespace {

using io::Json;
using test::check_contains, test::golden, test::message_of;

const Json& answers() {
  static const Json json = io::read_json_file(golden("lora_optimizers.json"));
  return json;
}
const io::SafetensorsFile& tensors() {
  static const io::SafetensorsFile file(golden("lora_optimizers.safetensors"), io::Access::read);
  return file;
}

Tensor step_of(const char* name, int64_t step) {
  const Tensor all = tensors().load(name);
  return all.slice(0, step, step + 1).view({all.dim(1), all.dim(2)}).clone();
}

/// The optimizer of a record, as a user would set it up.
std::unique_ptr<optim::Optimizer> optimizer_of(const Json& settings, peft::PeftModel& model) {
  if (settings["kind"] == "lorafa") {
    optim::AdamWOptions options = optim::LoraFa::defaults;
    options.lr = settings["lr"];
    options.weight_decay = settings["weight_decay"];
    return make_lorafa(model, options);
  }
  auto adamw = std::make_unique<optim::AdamW>(
      model.trainable_parameters(),
      optim::AdamWOptions{.lr = settings["lr"], .weight_decay = settings["loraplus_weight_decay"]});
  set_loraplus(*adamw, model,
               {.lr_ratio = settings["loraplus_lr_ratio"],
                .lr_embedding = settings.value("loraplus_lr_embedding", 1e-6)});
  return adamw;
}

double relative_norm(const Tensor& a, const Tensor& b) {
  return std::sqrt(ops::sum_of_squares(ops::add(a, b, -1)) / ops::sum_of_squares(b));
}

peft::PeftModel adapter_of(nn::CausalLM& base, const Json& record) {
  return peft::PeftModel::from_pretrained(base, golden(record["folder"].get<std::string>()),
                                          "default", true);
}

}  // namespace

TEST_CASE("lora optimizers: five steps of LoRA+ and LoRA-FA are PEFT's") {
  for (const Json& record : answers()["adapters"]) {
    const std::string name = record["name"].get<std::string>();
    CAPTURE(name);
    const auto base = models::load(golden(record["base"].get<std::string>()));
    peft::PeftModel model = adapter_of(*base, record);
    const auto optimizer = optimizer_of(record["optimizer"], model);
    for (size_t step = 0; step < record["losses"].size(); ++step) {
      const Tensor ids = step_of("input_ids", static_cast<int64_t>(step));
      const Tensor labels = step_of("labels", static_cast<int64_t>(step));
      const nn::Loss loss = nn::causal_lm_loss(model, ids, labels, {.train = true});
      const auto tokens = static_cast<double>(loss.tokens);
      loss.total.backward();
      optimizer->step(optimizer->take_grads(), 1 / tokens);
      // Sums in f32 in two orders.
      CHECK(loss.total.value().item() / tokens ==
            doctest::Approx(record["losses"][step].get<double>()).epsilon(1e-5));
    }
    const test::TemporaryFolder folder;
    model.save_pretrained(folder.path());
    const io::SafetensorsFile ours(folder / "adapter_model.safetensors", io::Access::read);
    const io::SafetensorsFile start(
        golden(record["folder"].get<std::string>() + "/adapter_model.safetensors"),
        io::Access::read);
    int moved = 0;
    for (const auto& [key, sizes] : record["tensors"].items()) {
      CAPTURE(key);
      if (key.ends_with("c_attn.base_layer.bias"))
        continue;  // of keys: a gradient of rounding alone, of which AdamW makes whole steps
      if (tensors().contains(name + "." + key)) {
        CHECK(relative_norm(ours.load(key), tensors().load(name + "." + key)) < 1e-3);
        ++moved;
      } else {
        CHECK(test::same_bits(ours.load(key), start.load(key)));
      }
    }
    CHECK(moved > 1);
  }
}

TEST_CASE("lora optimizers: what they cannot step is refused") {
  const Json& record = answers()["adapters"][0];
  const auto base = models::load(golden(record["base"].get<std::string>()));
  {
    peft::PeftModel model = adapter_of(*base, record);
    optim::AdamW adamw(model.trainable_parameters(), {.lr = 0});
    check_contains(message_of<ConfigError>([&] { set_loraplus(adamw, model, {.lr_ratio = 2}); }),
                   "the learning rate 0");
    adamw.set_lr(1e-3);
    check_contains(message_of<ConfigError>([&] { set_loraplus(adamw, model, {.lr_ratio = 0}); }),
                   "lora+: the ratio is 0");
  }
  peft::PeftModel model = peft::get_peft_model(*base, {.target_modules = {"embed_tokens"}});
  check_contains(message_of<ConfigError>([&] { make_lorafa(model); }),
                 "is on model.embed_tokens, an embedding, whose A starts at zero");
}

TEST_CASE("lora optimizers: LoRA-FA freezes A and its optimizer has no state for it") {
  const Json& record = answers()["adapters"][5];
  REQUIRE(record["name"] == "fa");
  const auto base = models::load(golden(record["base"].get<std::string>()));
  peft::PeftModel model = adapter_of(*base, record);
  const size_t all = model.trainable_parameters().size();
  const auto optimizer = make_lorafa(model);
  CHECK(optimizer->parameters().size() == all / 2);
  for (const NamedVariable& parameter : model.trainable_parameters())
    CHECK(parameter.name.ends_with("lora_B.weight"));
}

}  // namespace graft::train
