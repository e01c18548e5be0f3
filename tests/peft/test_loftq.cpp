#include <cmath>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "graft/io/file.h"
#include "graft/io/safetensors.h"
#include "graft/peft/loftq.h"
#include "graft/peft/peft_model.h"
#include "graft/tensor/linalg.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/parallel.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"
#include "graft/tests/peft/peft.h"
#include "graft/tests/support/test.h"

namespace graft::peft {
namespace {

using test::check_contains;
using test::message_of;
using test::random_tensor;

/// PEFT's: blocks of 64, scales whole.
constexpr quant::Format plain_nf4{.double_quant = false};

double norm(const Tensor& x) {
  return std::sqrt(ops::sum_of_squares(x));
}

/// ‖W - (Q + change)‖ / ‖W‖.
double residual(const Tensor& w, const Tensor& q, const Tensor& change) {
  return norm(ops::add(w, ops::add(q, change), -1)) / norm(w);
}

double residual(const Tensor& w, const LoftQ& start, double scaling) {
  return residual(w, quant::dequantize(start.weight, DType::f32),
                  ops::matmul(start.lora_b, start.lora_a, scaling));
}

/// Logits of some ids.
Tensor logits_of(const nn::CausalLM& model) {
  const nn::Context context = model.resolve({});
  const Variable hidden = model.forward(test::some_ids(2, 9), context);
  return model.head().forward(hidden, context).value();
}

LoraConfig loftq_config(int64_t iterations = 1) {
  return {.r = 8,
          .target_modules = Targets::all_linear(),
          .lora_alpha = 24,
          .init_lora_weights = LoraInit::loftq,
          .loftq_config = LoftQConfig{.loftq_iter = iterations}};
}

/// Calls body(path, weight) for the weights of the layers that `all-linear` means.
template <class Body>
void for_each_target(nn::CausalLM& model, const Body& body) {
  nn::for_each_member(model, [&](const std::string& path, nn::Member& member) {
    if (auto* weight = dynamic_cast<nn::Weight*>(&member); weight && path.ends_with("_proj.weight"))
      body(path, *weight);
  });
}

/// Quantises them as PEFT does, and returns what they were.
std::map<std::string, Tensor> quantize_targets(nn::CausalLM& model) {
  std::map<std::string, Tensor> before;
  for_each_target(model, [&](const std::string& path, nn::Weight& weight) {
    before[path] = weight.value().clone();
    weight.load(quant::to_panels(quant::quantize(before[path], plain_nf4)));
  });
  return before;
}

int64_t dense_targets(nn::CausalLM& model) {
  int64_t count = 0;
  for_each_target(model, [&](const std::string&, nn::Weight& weight) {
    count += !weight.form().format.has_value();
  });
  return count;
}

double residual_of_quantising(const Tensor& w, const quant::Format& format) {
  return norm(ops::add(w, quant::dequantize(quant::quantize(w, format), DType::f32), -1)) / norm(w);
}

}  // namespace

TEST_CASE("loftq: with a scaling of 1 it is PEFT's") {
  const io::SafetensorsFile golden(test::golden("loftq.safetensors"));
  for (const std::string name : {"tall", "wide"}) {
    for (const int64_t iterations : {1, 3}) {
      CAPTURE(name);
      CAPTURE(iterations);
      const std::string prefix = concat(name, ".", iterations, ".");
      const Tensor w = golden.load(name + ".w");
      const Tensor change = golden.load(prefix + "ba");
      const Tensor q = golden.load(prefix + "q");
      const LoftQ ours =
          loftq(w, {.r = 4, .scaling = 1, .iterations = iterations, .format = plain_nf4});
      CHECK(ours.residual == doctest::Approx(residual(w, q, change)).epsilon(1e-5));
      // In turns behind the first, scales are those of differences that are rounded otherwise.
      const double distance = norm(ops::add(quant::dequantize(ours.weight, DType::f32), q, -1));
      MESSAGE(prefix, " weights ", distance / norm(q));
      CHECK(distance <= (iterations == 1 ? 0 : 1e-6) * norm(q));
      // f32, and singular vectors that are as far apart as their values are.
      const double of_lora =
          test::relative_difference(ops::matmul(ours.lora_b, ours.lora_a), change);
      MESSAGE(prefix, " product ", of_lora);
      CHECK(of_lora < 1e-4);
    }
  }
}

TEST_CASE("loftq: for any alpha the start is nearer to the weight than nf4, and than before") {
  const Tensor w = random_tensor({96, 160}, 1);
  for (const bool double_quant : {false, true}) {
    const quant::Format format{.double_quant = double_quant};
    const double plain = residual_of_quantising(w, format);
    double with_one = 0;
    for (const double scaling : {0.25, 1.0, 2.0, 16.0}) {
      CAPTURE(scaling);
      double before = plain;
      for (const int64_t iterations : {1, 2, 5}) {
        const LoftQ start =
            loftq(w, {.r = 8, .scaling = scaling, .iterations = iterations, .format = format});
        CHECK(start.lora_a.shape() == Shape{8, 160});
        CHECK(start.lora_b.shape() == Shape{96, 8});
        CHECK(start.residual == doctest::Approx(residual(w, start, scaling)).epsilon(1e-4));
        CHECK(start.residual < before);
        before = start.residual;
        if (iterations > 1)
          continue;
        // What the first iteration is worth does not depend on alpha.
        if (scaling == 0.25)
          with_one = start.residual;
        CHECK(start.residual == doctest::Approx(with_one).epsilon(1e-5));
        CHECK(test::same_bits(start.weight.codes, quant::quantize(w, format).codes));
      }
    }
  }
}

TEST_CASE("loftq: more iterations are never worse") {
  const Tensor w = random_tensor({64, 64}, 2);
  double before = 1;
  for (int64_t iterations = 1; iterations < 12; ++iterations) {
    const LoftQ start = loftq(w, {.r = 32, .iterations = iterations, .format = {}});
    CHECK(start.residual <= before);
    before = start.residual;
  }
}

TEST_CASE("loftq: a large matrix loses no more than a hundredth of what the best rank holds") {
  const Tensor w = random_tensor({300, 500}, 3);
  // Of rank 16 and 300: the first searches a small space, the second is the whole decomposition.
  const LoftQ start = loftq(w, {.r = 16, .format = plain_nf4});
  const Tensor lost = ops::add(w, quant::dequantize(quant::quantize(w, plain_nf4), DType::f32), -1);
  const Tensor values = ops::svd(lost).s;
  double kept = 0;
  for (int64_t i = 0; i < 16; ++i)
    kept += std::pow(static_cast<double>(values.span<float>()[static_cast<size_t>(i)]), 2);
  const double size = ops::sum_of_squares(lost);
  const double held = size - std::pow(start.residual * norm(w), 2);
  CHECK(held > 0.99 * kept);
  CHECK(held < 1.0001 * kept);
}

TEST_CASE("loftq: what is exact already needs no adapter") {
  std::vector<float> values;
  const auto codes = quant::codebook(quant::QuantType::nf4);
  for (int i = 0; i < 64 * 64; ++i)
    values.push_back(codes[static_cast<size_t>(i % 16)]);
  const LoftQ start =
      loftq(Tensor::from(values, {64, 64}), {.r = 4, .iterations = 3, .format = plain_nf4});
  CHECK(start.residual == 0);
  CHECK(ops::all_finite(start.lora_a));
  CHECK(norm(ops::matmul(start.lora_b, start.lora_a)) == 0);
  const LoftQ zero = loftq(Tensor::zeros({64, 64}), {.r = 4, .format = {}});
  CHECK(zero.residual == 0);
}

TEST_CASE("loftq: the bits do not depend on the number of threads; 16-bit weights are taken") {
  const Tensor w = random_tensor({200, 320}, 4, DType::bf16);
  const int before = thread_count();
  set_thread_count(1);
  const LoftQ one = loftq(w, {.r = 8, .iterations = 2, .format = {}});
  set_thread_count(3);
  const LoftQ three = loftq(w, {.r = 8, .iterations = 2, .format = {}});
  set_thread_count(before);
  CHECK(test::same_bits(one.lora_a, three.lora_a));
  CHECK(test::same_bits(one.lora_b, three.lora_b));
  CHECK(test::same_bits(one.weight.codes, three.weight.codes));
  CHECK(one.weight.dtype == DType::bf16);
}

TEST_CASE("loftq: what cannot be is refused") {
  const Tensor w = random_tensor({32, 64}, 5);
  const auto refusal = [&](const LoftQOptions& options) {
    return message_of<ConfigError>([&] { loftq(w, options); });
  };
  check_contains(refusal({.r = 33, .format = {}}),
                 "from 1 to 32 expected for a weight of (32, 64)");
  check_contains(refusal({.scaling = 0, .format = {}}), "lora_alpha");
  check_contains(refusal({.iterations = 0, .format = {}}), "0 iterations");
  Tensor bad = w.clone();
  bad.data<float>()[7] = NAN;
  CHECK_THROWS_AS(loftq(bad, {.r = 2, .format = {}}), NonFiniteError);
}

TEST_CASE("loftq: a model starts nearer to itself than in nf4, nearer still after iterations") {
  const Tensor exact = logits_of(*test::tiny_llama(2));
  const auto plain = test::tiny_llama(2);
  quantize_targets(*plain);
  double before = test::relative_difference(logits_of(*plain), exact);
  for (const int64_t iterations : {1, 5}) {
    const auto base = test::tiny_llama(2);
    const PeftModel model(*base, loftq_config(iterations), "default", {.matcher = test::matcher()});
    CHECK(dense_targets(*base) == 0);
    const double now = test::relative_difference(logits_of(model), exact);
    CHECK(now < before);
    before = now;
  }
}

TEST_CASE("loftq: a model in 4 bits already keeps its weights, and asks what they were") {
  const auto dense = test::tiny_llama(2);
  const PeftModel from_dense(*dense, loftq_config());
  const auto base = test::tiny_llama(2);
  const std::map<std::string, Tensor> originals = quantize_targets(*base);
  test::check_contains(message_of<ConfigError>([&] { PeftModel(*base, loftq_config()); }),
                       "is in 4 bits already, and what it was before is not known");
  const PeftOptions options{
      .original_weight = [&](const std::string& path) { return originals.at(path); }};
  const PeftModel model(*base, loftq_config(), "default", options);
  CHECK(test::same_bits(logits_of(model), logits_of(from_dense)));
}

TEST_CASE(
    "loftq: what is saved says true, loads on the quantised base, and is warned of on others") {
  const test::TemporaryFolder folder;
  const auto base = test::tiny_llama(2);
  const PeftModel model(*base, loftq_config());
  model.save_pretrained(folder.path());
  LoraConfig saved = read_lora_config(folder / "adapter_config.json");
  CHECK(saved.init_lora_weights == LoraInit::standard);
  CHECK(!saved.loftq_config);
  const auto again = test::tiny_llama(2);
  quantize_targets(*again);
  CHECK(test::same_bits(logits_of(PeftModel::from_pretrained(*again, folder.path())),
                        logits_of(model)));
  // PEFT's own file says "loftq".
  saved.init_lora_weights = LoraInit::loftq;
  io::write_file_atomically(folder / "adapter_config.json", to_json(saved));
  test::Warnings warnings;
  const auto dense = test::tiny_llama(2);
  PeftModel::from_pretrained(*dense, folder.path(), "default", false,
                             {.observer = warnings.observer()});
  REQUIRE(warnings.texts.size() == 1);
  check_contains(warnings.texts[0], "is not in 4 bits");
}

TEST_CASE("loftq: layers that it cannot start are refused, and nothing is quantised") {
  const auto base = test::tiny_llama(1, true);
  const auto refusal = [&](const Targets& targets) {
    LoraConfig config = loftq_config();
    config.target_modules = targets;
    return message_of<ConfigError>([&] { PeftModel(*base, config); });
  };
  check_contains(refusal({"q_proj", "embed_tokens"}), "embed_tokens is an embedding");
  check_contains(refusal({"q_proj", "lm_head"}), "lm_head shares its weight with another layer");
  LoraConfig large = loftq_config();
  large.r = 1000;
  check_contains(message_of<ConfigError>([&] { PeftModel(*base, large); }), "the rank is 1000");
  CHECK(dense_targets(*base) == 7);
  PeftModel model(*base, {.r = 2, .target_modules = {"q_proj"}});
  LoraConfig second = loftq_config();
  second.target_modules = {"q_proj"};
  check_contains(message_of<ConfigError>([&] { model.add_adapter("second", second); }),
                 "has an adapter already");
}

}  // namespace graft::peft
