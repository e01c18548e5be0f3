// Everything PEFT's LoRA can train and its variants, against what PEFT made of them: logits, files,
// five steps.

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "graft/io/file.h"
#include "graft/io/json.h"
#include "graft/io/safetensors.h"
#include "graft/nn/loss.h"
#include "graft/optim/adamw.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using io::Json;
using test::golden, test::logits_of, test::same_bits;

constexpr const char* sets[] = {"peft_parts", "peft_variants"};

/// The adapters of all sets; each has its "set" and that set's "adamw".
const std::vector<Json>& records() {
  static const std::vector<Json> all = [] {
    std::vector<Json> found;
    for (const char* set : sets) {
      const Json json = io::read_json_file(golden(concat(set, ".json")));
      for (Json record : json["adapters"]) {
        record["set"] = set;
        record["adamw"] = json["adamw"];
        found.push_back(std::move(record));
      }
    }
    return found;
  }();
  return all;
}
const io::SafetensorsFile& tensors(const Json& record) {
  static std::map<std::string, io::SafetensorsFile> files;
  const std::string set = record["set"].get<std::string>();
  return files.try_emplace(set, golden(set + ".safetensors"), io::Access::read).first->second;
}

std::unique_ptr<nn::CausalLM> base_of(const Json& record) {
  return models::load(golden(record["base"].get<std::string>()));
}

PeftModel loaded(nn::CausalLM& base, const Json& record, bool is_trainable) {
  return PeftModel::from_pretrained(base, golden(record["folder"].get<std::string>()), "default",
                                    is_trainable, {.matcher = test::matcher()});
}

std::string text_of(const std::filesystem::path& file) {
  return io::read_file(file, 1 << 24);
}

Tensor step_of(const Json& record, const char* name, int64_t step) {
  const Tensor all = tensors(record).load(name);
  return all.slice(0, step, step + 1).view({all.dim(1), all.dim(2)}).clone();
}

/// The ids that the logits in the file are of.
Tensor first_ids(const Json& record) {
  const Tensor ids = step_of(record, "input_ids", 0);
  return ids.slice(0, 0, 1).contiguous();
}

double relative_norm(const Tensor& a, const Tensor& b) {
  return std::sqrt(ops::sum_of_squares(ops::add(a, b, -1)) / ops::sum_of_squares(b));
}

/// The bits of all parameters of a model.
std::map<std::string, Tensor> snapshot(nn::Module& model) {
  std::map<std::string, Tensor> values;
  for (const nn::NamedMember& parameter : base_parameters(model))
    values[parameter.path] = parameter.member->value().clone();
  return values;
}

/// A training context for rows of one sample each: dropout, where there is any, is on.
nn::Context training(const Tensor& ids) {
  nn::Context context;
  context.train = true;
  context.dropout.sample = Tensor::zeros({ids.numel()}, DType::i64);
  context.dropout.position = Tensor::zeros({ids.numel()}, DType::i64);
  return context;
}

/// Largest relative difference of the losses of five steps.
double train_five_steps(PeftModel& model, const Json& record) {
  const Json& settings = record["adamw"];
  optim::AdamW adamw(model.trainable_parameters(),
                     {.lr = settings["lr"], .weight_decay = settings["weight_decay"]});
  double worst = 0;
  for (size_t step = 0; step < record["losses"].size(); ++step) {
    const Tensor ids = step_of(record, "input_ids", static_cast<int64_t>(step));
    const Tensor labels = step_of(record, "labels", static_cast<int64_t>(step));
    const nn::Loss loss = nn::causal_lm_loss(model, ids, labels, training(ids));
    const auto tokens = static_cast<double>(loss.tokens);
    loss.total.backward();
    adamw.step(adamw.take_grads(), 1 / tokens);
    const double mean = loss.total.value().item() / tokens;
    worst = std::max(worst, std::fabs(mean / record["losses"][step].get<double>() - 1));
  }
  return worst;
}

}  // namespace

TEST_CASE("peft parts: PEFT's adapters give PEFT's logits and counts") {
  for (const Json& record : records()) {
    const std::string name = record["name"].get<std::string>();
    CAPTURE(name);
    const auto base = base_of(record);
    const PeftModel adapted = loaded(*base, record, true);
    const Tensor expected = tensors(record).load(name + ".logits");
    const Tensor all = logits_of(adapted, first_ids(record));
    const Tensor logits = all.view({all.dim(1), all.dim(2)})
                              .slice(0, all.dim(1) - expected.dim(0), all.dim(1))
                              .contiguous();
    const double difference = test::relative_difference(logits, expected);
    // f32 sums over a few dozen terms in two orders, over two layers.
    CHECK_MESSAGE(difference < 2e-5, name, ": ", difference);
    // Where head and embedding share low-rank matrices, PEFT counts them twice.
    const int64_t once = record["trained_once"].get<int64_t>();
    const int64_t twice = record["trainable_parameters"].get<int64_t>() - once;
    CHECK(adapted.count_parameters().trainable == once);
    CHECK(adapted.count_parameters().all == record["all_parameters"].get<int64_t>() - twice);
  }
}

TEST_CASE("peft parts: what was loaded from PEFT is saved as PEFT saved it, byte for byte") {
  for (const Json& record : records()) {
    CAPTURE(record["name"].get<std::string>());
    const std::filesystem::path original = golden(record["folder"].get<std::string>());
    const auto base = base_of(record);
    const PeftModel adapted = loaded(*base, record, false);
    const test::TemporaryFolder folder;
    adapted.save_pretrained(folder.path());
    CHECK(text_of(folder / "adapter_model.safetensors") ==
          text_of(original / "adapter_model.safetensors"));
    Json ours = io::read_json_file(folder / "adapter_config.json");
    Json theirs = io::read_json_file(original / "adapter_config.json");
    for (Json* config : {&ours, &theirs}) {
      if ((*config)["target_modules"].is_array())
        std::sort((*config)["target_modules"].begin(), (*config)["target_modules"].end());
    }
    CHECK(ours == theirs);
  }
}

TEST_CASE("peft parts: a new adapter has the keys, the shapes and the settings of PEFT's") {
  for (const Json& record : records()) {
    CAPTURE(record["name"].get<std::string>());
    Json json = record["config"];
    json["peft_type"] = "LORA";
    const auto base = base_of(record);
    const PeftModel adapted = get_peft_model(*base, parse_lora_config(io::to_text(json), "config"),
                                             "default", {.matcher = test::matcher()});
    const test::TemporaryFolder folder;
    adapted.save_pretrained(folder.path());
    const io::SafetensorsFile file(folder / "adapter_model.safetensors", io::Access::read);
    CHECK(file.names().size() == record["tensors"].size());
    for (const auto& [key, sizes] : record["tensors"].items()) {
      REQUIRE_MESSAGE(file.contains(key), key);
      CHECK(file.entry(key).shape == Shape(sizes.get<std::vector<int64_t>>()));
    }
    const LoraConfig theirs =
        read_lora_config(golden(record["folder"].get<std::string>() + "/adapter_config.json"));
    const LoraConfig ours = read_lora_config(folder / "adapter_config.json");
    CHECK(ours.modules_to_save == theirs.modules_to_save);
    CHECK(ours.trainable_token_indices == theirs.trainable_token_indices);
    const auto sorted = [](const Targets& targets) {
      std::vector<std::string> names = targets.names();
      std::ranges::sort(names);
      return targets.pattern() + concat(Targets(names));
    };
    CHECK(sorted(ours.target_modules) == sorted(theirs.target_modules));
  }
}

TEST_CASE("peft parts: five steps are PEFT's, and the model itself keeps its bits") {
  for (const Json& record : records()) {
    const std::string name = record["name"].get<std::string>();
    CAPTURE(name);
    const auto base = base_of(record);
    const std::map<std::string, Tensor> before = snapshot(*base);
    const Tensor plain = logits_of(*base, first_ids(record));
    const test::TemporaryFolder folder;
    double loss = 0;
    {
      PeftModel adapted = loaded(*base, record, true);
      loss = train_five_steps(adapted, record);
      CHECK_MESSAGE(loss < 1e-5, name, " loss: ", loss);
      adapted.save_pretrained(folder.path());
      CHECK(!same_bits(logits_of(adapted, first_ids(record)), plain));
      const auto off = adapted.disable_adapter();
      CHECK(same_bits(logits_of(adapted, first_ids(record)), plain));
    }
    CHECK(same_bits(logits_of(*base, first_ids(record)), plain));
    for (const auto& [path, value] : snapshot(*base))
      CHECK_MESSAGE(same_bits(value, before.at(path)), path);

    const io::SafetensorsFile ours(folder / "adapter_model.safetensors", io::Access::read);
    const io::SafetensorsFile start(
        golden(record["folder"].get<std::string>() + "/adapter_model.safetensors"),
        io::Access::read);
    double worst = 0;
    for (const auto& [key, sizes] : record["tensors"].items()) {
      // The bias of keys has no gradient but rounding, of which AdamW makes whole steps.
      if (key.ends_with("c_attn.bias") || key.ends_with("c_attn.base_layer.bias"))
        continue;
      const std::string moved = name + "." + key;
      if (tensors(record).contains(moved))
        worst = std::max(worst, relative_norm(ours.load(key), tensors(record).load(moved)));
      else if (key.find("lm_head") == std::string::npos)
        CHECK_MESSAGE(same_bits(ours.load(key), start.load(key)), key);
    }
    CHECK_MESSAGE(worst < 1e-3, name, " tensors: ", worst);
    MESSAGE(name, ": losses ", loss, " of 1e-5, tensors ", worst, " of 1e-3");
  }
}

TEST_CASE("peft parts: what a checkpoint holds goes on as if there had been none") {
  for (const char* name :
       {"save_tied", "targets_tied", "bias_all", "tokens_of_tied", "dora_of_tied"}) {
    CAPTURE(name);
    Json record;
    for (const Json& each : records()) {
      if (each["name"] == name)
        record = each;
    }
    const test::TemporaryFolder folder;
    Tensor expected;
    {
      const auto base = base_of(record);
      PeftModel adapted = loaded(*base, record, true);
      train_five_steps(adapted, record);
      adapted.save_pretrained(folder.path());
      train_five_steps(adapted, record);
      expected = logits_of(adapted, first_ids(record));
    }
    const auto base = base_of(record);
    PeftModel again = loaded(*base, record, true);
    again.load_weights(folder.path());
    train_five_steps(again, record);
    CHECK(same_bits(logits_of(again, first_ids(record)), expected));
  }
}

}  // namespace graft::peft
