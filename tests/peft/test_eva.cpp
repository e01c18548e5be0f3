// EVA: incremental principal components, and PEFT's ranks and directions.

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/io/safetensors.h"
#include "graft/nn/loss.h"
#include "graft/peft/eva.h"
#include "graft/peft/incremental_pca.h"
#include "graft/tensor/copy.h"
#include "graft/tensor/linalg.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/pointwise.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using io::Json;
using test::check_contains, test::golden, test::logits_of, test::message_of, test::random_tensor,
    test::same_bits, test::some_ids, test::tiny_llama;

Tensor step_of(const Tensor& all, int64_t step) {
  return all.slice(0, step, step + 1).view({all.dim(1), all.dim(2)}).clone();
}

/// The tokens whose labels are not the one to be passed over; all of them without a mask.
Tensor counting(const Tensor& labels, bool use_label_mask) {
  std::vector<int64_t> tokens;
  for (int64_t i = 0; i < labels.numel(); ++i) {
    if (!use_label_mask || labels.data<int64_t>()[i] != nn::ignored_label)
      tokens.push_back(i);
  }
  return Tensor::from(tokens, {std::ssize(tokens)});
}

/// The batches of the golden file, over and over.
std::function<EvaBatch(int64_t)> golden_batches(const io::SafetensorsFile& file,
                                                bool use_label_mask) {
  const Tensor ids = file.load("input_ids"), labels = file.load("labels");
  return [=](int64_t number) {
    const int64_t step = number % ids.dim(0);
    return EvaBatch{.ids = step_of(ids, step),
                    .tokens = counting(step_of(labels, step), use_label_mask)};
  };
}

LoraConfig config_of(const Json& record) {
  Json json = record["config"];
  json["peft_type"] = "LORA";
  json["init_lora_weights"] = "eva";
  if (!record["eva_config"].empty())
    json["eva_config"] = record["eva_config"];
  return parse_lora_config(io::to_text(json), "config");
}

/// Batches of the ids that some_ids gives, all of which count.
EvaBatch small_batch(int64_t) {
  return {.ids = some_ids(4, 9)};
}

const LoraConfig small{
    .r = 2, .target_modules = {"q_proj", "v_proj", "o_proj"}, .init_lora_weights = LoraInit::eva};

/// Rows about their mean.
Tensor centred(const Tensor& rows) {
  Tensor result = rows.clone();
  for (int64_t j = 0; j < rows.dim(1); ++j) {
    double sum = 0;
    for (int64_t i = 0; i < rows.dim(0); ++i)
      sum += rows.data<float>()[i * rows.dim(1) + j];
    for (int64_t i = 0; i < rows.dim(0); ++i)
      result.data<float>()[i * rows.dim(1) + j] -=
          static_cast<float>(sum / static_cast<double>(rows.dim(0)));
  }
  return result;
}

}  // namespace

TEST_CASE("incremental pca: with all components, batches give what all their rows give at once") {
  IncrementalPca pca(6, 0);
  const Tensor rows =
      ops::concatenate({{random_tensor({9, 6}, 1), ops::scale(random_tensor({20, 6}, 2), 3),
                         random_tensor({7, 6}, 3)}},
                       0);
  int64_t begin = 0;
  for (const int64_t count : {9, 20, 7}) {
    pca.add(rows.slice(0, begin, begin + count));
    begin += count;
  }
  const ops::Svd whole = ops::svd(centred(rows));
  CHECK(test::relative_difference(pca.singular_values(), whole.s) < 1e-5);
  for (int64_t i = 0; i < 6; ++i) {
    const Tensor found = pca.components().slice(0, i, i + 1);
    const Tensor expected = whole.vt.slice(0, i, i + 1);
    const double cosine = ops::matmul(found, expected.transpose(0, 1)).item();
    CHECK(std::fabs(cosine) == doctest::Approx(1).epsilon(1e-5));
    double largest = 0;
    for (const double value : found.to_vector())
      largest = std::fabs(value) > std::fabs(largest) ? value : largest;
    CHECK(largest > 0);
  }
  double shares = 0;
  for (const double share : pca.explained_variance_ratio().to_vector())
    shares += share;
  CHECK(shares == doctest::Approx(1).epsilon(1e-5));
}

TEST_CASE("incremental pca: rows that it cannot take are refused") {
  IncrementalPca pca(4, 0);
  check_contains(message_of<ShapeError>([&] {
                   pca.add(random_tensor({3, 6}, 1));
                 }),
                 "with at least 4 rows and columns");
  pca.add(random_tensor({5, 6}, 1));
  check_contains(message_of<ShapeError>([&] {
                   pca.add(random_tensor({5, 7}, 1));
                 }),
                 "those before had 6 columns");
}

TEST_CASE("eva: ranks, scalings and directions are PEFT's") {
  const Json json = io::read_json_file(golden("eva.json"));
  const io::SafetensorsFile tensors(golden("eva.safetensors"), io::Access::read);
  for (const Json& record : json["cases"]) {
    const std::string name = record["name"].get<std::string>();
    CAPTURE(name);
    const LoraConfig config = config_of(record);
    const bool use_label_mask = config.eva_config.value_or(EvaConfig()).use_label_mask;
    const auto base = models::load(golden(record["base"].get<std::string>()));
    const EvaStart start = eva_start(*base, config, golden_batches(tensors, use_label_mask));
    std::map<std::string, int64_t> ranks;
    int compared = 0;
    for (const auto& [path, a] : start.a) {
      ranks[path] = a.dim(0);
      if (!tensors.contains(name + "." + path))
        continue;
      // f32 sums in two orders, over as many batches as it takes.
      CHECK_MESSAGE(test::relative_difference(a, tensors.load(name + "." + path)) < 2e-3, path);
      ++compared;
    }
    CHECK(compared > 0);
    CHECK(ranks == record["ranks"].get<std::map<std::string, int64_t>>());
    std::vector<std::string> targets = start.config.target_modules.names();
    std::ranges::sort(targets);
    CHECK(targets == record["target_modules"].get<std::vector<std::string>>());
    const auto& rank_pattern = start.config.rank_pattern;
    CHECK(std::map(rank_pattern.begin(), rank_pattern.end()) ==
          record["rank_pattern"].get<std::map<std::string, int64_t>>());
    const auto& alpha_pattern = start.config.alpha_pattern;
    CHECK(std::map(alpha_pattern.begin(), alpha_pattern.end()) ==
          record["alpha_pattern"].get<std::map<std::string, double>>());
  }
}

TEST_CASE("eva: a new adapter has the directions, starts as its base, is saved and read again") {
  const auto base = tiny_llama(2);
  const Tensor plain = logits_of(*base, some_ids(2, 6));
  const EvaStart start = eva_start(*base, small, small_batch);
  CHECK(same_bits(logits_of(*base, some_ids(2, 6)), plain));
  CHECK(sites_of(*base).size() == sites_of(*tiny_llama(2)).size());
  PeftModel model(*base, start.config);
  start.put_into(model, "default");
  CHECK(same_bits(logits_of(model, some_ids(2, 6)), plain));
  int found = 0;
  for (const NamedVariable& parameter : model.trainable_parameters()) {
    const std::string ending = ".default.lora_A.weight";
    if (!parameter.name.ends_with(ending))
      continue;
    const std::string path = parameter.name.substr(0, parameter.name.size() - ending.size());
    CHECK(same_bits(parameter.variable.value(), start.a.at(path)));
    CHECK(parameter.variable.requires_grad());
    ++found;
  }
  CHECK(found == std::ssize(start.a));
  test::perturb(model);
  const Tensor expected = logits_of(model, some_ids(2, 6));
  const test::TemporaryFolder folder;
  model.save_pretrained(folder.path());
  const auto other = tiny_llama(2);
  const PeftModel again = PeftModel::from_pretrained(*other, folder.path());
  CHECK(same_bits(logits_of(again, some_ids(2, 6)), expected));
  CHECK(again.config("default").init_lora_weights == LoraInit::eva);
}

TEST_CASE("eva: the weights may be in panels, and what is no linear layer begins as without it") {
  const auto base = tiny_llama(2);
  const EvaStart dense = eva_start(*base, small, small_batch);
  nn::set_requires_grad(*base, false);
  nn::pack(*base);
  test::Warnings warnings;
  LoraConfig more = small;
  more.target_modules = {"q_proj", "v_proj", "o_proj", "embed_tokens"};
  const EvaStart packed = eva_start(*base, more, small_batch, {.observer = warnings.observer()});
  for (const auto& [path, a] : dense.a)
    CHECK(test::relative_difference(packed.a.at(path), a) < 1e-3);
  REQUIRE(warnings.texts.size() == 1);
  check_contains(warnings.texts[0], "eva: model.embed_tokens begins as without it");
}

TEST_CASE("eva: what cannot be searched for is refused, and the model stays as it was") {
  const auto base = tiny_llama(1);
  const auto refusal = [&](const LoraConfig& config, EvaBatch (*batch)(int64_t)) {
    const std::string message = message_of<ConfigError>([&] { eva_start(*base, config, batch); });
    PeftModel(*base, {.target_modules = {"q_proj"}});  // has no adapters
    return message;
  };
  check_contains(refusal({.target_modules = {"q_proj"}}, small_batch),
                 "init_lora_weights is \"true\", eva expected");
  LoraConfig config = small;
  config.r = 9;
  check_contains(refusal(config, small_batch),
                 "the rank of model.layers.0.self_attn.q_proj is 9, and rho is 2, but its inputs "
                 "have no more than 16 directions");
  config = small;
  config.target_modules = {"embed_tokens"};
  check_contains(refusal(config, small_batch), "targets no linear layer");
  check_contains(
      refusal(small, [](int64_t) { return EvaBatch{.ids = some_ids(1, 3), .tokens = {}}; }),
      "eva: of 100 batches none has 4 tokens that count");
}

TEST_CASE("eva: directions that never stand still are taken after a thousand batches") {
  const auto base = tiny_llama(1);
  LoraConfig config = small;
  config.eva_config = EvaConfig{.tau = 1};
  test::Warnings warnings;
  const auto batch = [](int64_t number) {
    Tensor ids = some_ids(2, 4);
    for (int64_t& id : ids.span<int64_t>())
      id = (id + number * number) % 32;
    return EvaBatch{.ids = ids};
  };
  const EvaStart start = eva_start(*base, config, batch, {.observer = warnings.observer()});
  CHECK(start.batches == 1000);
  REQUIRE(warnings.texts.size() == 1);
  check_contains(warnings.texts[0], "eva: after 1000 batches the directions of");
}

}  // namespace graft::peft
