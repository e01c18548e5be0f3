#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "graft/io/safetensors.h"
#include "graft/optim/adamw8bit.h"
#include "graft/quant/dynamic_map.h"
#include "graft/quant/optimizer.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/parallel.h"
#include "graft/tensor/pointwise.h"
#include "graft/tests/support/kernels.h"
#include "graft/tests/support/test.h"

namespace graft::optim {
namespace {

const std::vector<std::string> names = {"even", "ragged", "small"};
constexpr AdamWOptions golden_options{.lr = 1e-3, .weight_decay = 0.01};
constexpr int64_t steps = 10;

const io::SafetensorsFile& golden() {
  static const io::SafetensorsFile file(test::golden("adamw8bit.safetensors"));
  return file;
}

/// Number 0: the first weights; the others: the gradients of the steps.
Tensor matrix(const std::string& name, int64_t number) {
  const Tensor row = golden().load("row." + name).slice(0, number, number + 1).contiguous();
  const Tensor column = golden().load("column." + name).slice(0, number, number + 1).contiguous();
  return ops::matmul(row.view({-1, 1}), column);
}

Grads gradients(int64_t step) {
  Grads grads;
  for (const std::string& name : names)
    grads.push_back(matrix(name, step));
  return grads;
}

std::vector<NamedVariable> leaves(const std::function<Tensor(const std::string&)>& value) {
  std::vector<NamedVariable> result;
  for (const std::string& name : names)
    result.push_back({name, Variable(value(name), true)});
  return result;
}

/// bitsandbytes' optimizer after a step, as a state of ours.
State golden_state(int64_t step) {
  const std::string prefix = std::to_string(step) + ".";
  State state{{"step", Tensor::from(std::vector<int64_t>(names.size(), step), {3})}};
  for (const std::string& name : names) {
    state["exp_avg." + name] = golden().load(prefix + name + ".m");
    state["exp_avg_sq." + name] = golden().load(prefix + name + ".v");
    if (name == "small")
      continue;
    state["exp_avg_absmax." + name] = golden().load(prefix + name + ".m_absmax");
    state["exp_avg_sq_absmax." + name] = golden().load(prefix + name + ".v_absmax");
  }
  return state;
}

/// One of the moments of a parameter, as numbers.
std::vector<double> moment(const State& state, const std::string& moment, const std::string& name) {
  const quant::DynamicMap& map =
      moment == "exp_avg" ? quant::signed_dynamic_map() : quant::unsigned_dynamic_map();
  const Tensor codes = state.at(moment + "." + name);
  const Tensor absmax = state.at(moment + "_absmax." + name);
  std::vector<double> result;
  for (size_t i = 0; const uint8_t code : codes.span<uint8_t>())
    result.push_back(static_cast<double>(map[code] * absmax.span<float>()[i++ / 256]));
  return result;
}

double mean_difference(const Tensor& a, const Tensor& b) {
  const std::vector<double> left = a.to_vector();
  const std::vector<double> right = b.to_vector();
  double sum = 0;
  for (size_t i = 0; i < left.size(); ++i)
    sum += std::fabs(left[i] - right[i]);
  return sum / static_cast<double>(left.size());
}

std::vector<NamedVariable> one_leaf(const Tensor& value) {
  return {{"w", Variable(value.clone(), true)}};
}

const Tensor& weight_of(const Optimizer& optimizer) {
  return optimizer.parameters()[0].variable.value();
}

}  // namespace

TEST_CASE("adamw8bit: from bitsandbytes' state, a step gives its weights and its scales") {
  AdamW8bit ours(leaves([](const std::string& name) { return golden().load("9." + name).clone(); }),
                 golden_options);
  ours.load_state(golden_state(9));
  ours.step(gradients(10));
  const State theirs = golden_state(10);
  for (size_t i = 0; i < names.size(); ++i) {
    CAPTURE(names[i]);
    // A few roundings of the largest weights, which are near 10 and move by 1e-3.
    CHECK(test::relative_difference(ours.parameters()[i].variable.value(),
                                    golden().load("10." + names[i])) < 3e-7);
  }
  for (const auto& [key, tensor] : ours.state()) {
    if (key.find("absmax") != std::string::npos || key.ends_with("small"))
      CHECK_MESSAGE(test::relative_difference(tensor, theirs.at(key)) < 1e-6, key);
  }
}

TEST_CASE("adamw8bit: moments are rounded to the nearest codes, so closer than bitsandbytes'") {
  AdamW8bit ours(leaves([](const std::string& name) { return golden().load("9." + name).clone(); }),
                 golden_options);
  const State before = golden_state(9);
  ours.load_state(before);
  ours.step(gradients(10));
  for (const std::string name : {"even", "ragged"}) {
    for (const std::string which : {"exp_avg", "exp_avg_sq"}) {
      CAPTURE(name);
      CAPTURE(which);
      const bool is_first = which == "exp_avg";
      const quant::DynamicMap& map =
          is_first ? quant::signed_dynamic_map() : quant::unsigned_dynamic_map();
      const double beta = is_first ? golden_options.beta1 : golden_options.beta2;
      const std::vector<double> old = moment(before, which, name);
      const std::vector<double> rounded = moment(ours.state(), which, name);
      const std::vector<double> theirs = moment(golden_state(10), which, name);
      const std::vector<double> grad = matrix(name, 10).to_vector();
      const auto scale = ours.state().at(which + "_absmax." + name).span<float>();
      double our_error = 0;
      double their_error = 0;
      for (size_t i = 0; i < old.size(); ++i) {
        const double exact = beta * old[i] + (1 - beta) * (is_first ? grad[i] : grad[i] * grad[i]);
        const double absmax = scale[i / 256];
        double nearest = std::numeric_limits<double>::infinity();
        for (const float value : map) {
          // A second moment above zero stays above it.
          if (is_first || value > 0 || exact == 0)
            nearest = std::min(nearest, std::fabs(value * absmax - exact));
        }
        CHECK(std::fabs(rounded[i] - exact) <= nearest + 1e-6 * absmax);  // f32 against f64
        our_error += std::fabs(rounded[i] - exact);
        their_error += std::fabs(theirs[i] - exact);
      }
      CHECK(our_error <= their_error);
    }
  }
}

TEST_CASE("adamw8bit: after ten steps closer to torch's AdamW than bitsandbytes is") {
  AdamW8bit ours(leaves([](const std::string& name) { return matrix(name, 0); }), golden_options);
  for (int64_t step = 1; step <= steps; ++step)
    ours.step(gradients(step));
  for (size_t i = 0; i < names.size(); ++i) {
    const Tensor torch = golden().load("torch." + names[i]);
    const Tensor theirs = golden().load("10." + names[i]);
    const Tensor& value = ours.parameters()[i].variable.value();
    MESSAGE(names[i], ": mean difference from torch ", mean_difference(value, torch), ", of ",
            "bitsandbytes ", mean_difference(theirs, torch), "; largest ",
            test::max_difference(value, torch), ", ", test::max_difference(theirs, torch),
            "; from bitsandbytes ", test::max_difference(value, theirs));
    if (names[i] == "small") {
      CHECK(test::relative_difference(value, torch) < 0x1p-22);
      continue;
    }
    CHECK(mean_difference(value, torch) <= mean_difference(theirs, torch));
    // An update is about lr, and ten of them with moments that are some percent off.
    CHECK(test::max_difference(value, torch) < 1e-3);
    CHECK(test::max_difference(value, theirs) < 1e-3);
  }
}

TEST_CASE("adamw8bit: ten steps of 8192 normal numbers stay within 3.0e-4 of AdamW") {
  const Tensor start = test::random_tensor({128, 64}, 1);
  AdamW8bit small(one_leaf(start), {.lr = 1e-3});
  AdamW whole(one_leaf(start), {.lr = 1e-3});
  for (uint64_t step = 0; step < 10; ++step) {
    const Grads grads = {test::random_tensor({128, 64}, 100 + step)};
    small.step(grads);
    whole.step(grads);
  }
  // What bitsandbytes' own is off.
  CHECK(test::max_difference(weight_of(small), weight_of(whole)) <= 3.0e-4);
}

TEST_CASE("adamw8bit: two bytes a number and the scales, small parameters and f64 whole") {
  const auto state_bytes = [](const Shape& shape, DType dtype) {
    const AdamW8bit adamw(one_leaf(Tensor::zeros(shape, dtype)));
    int64_t bytes = -adamw.state().at("step").nbytes();
    for (const auto& [name, tensor] : adamw.state())
      bytes += tensor.nbytes();
    return bytes;
  };
  CHECK(state_bytes({256, 1024}, DType::f32) == 2 * 262144 + 2 * 4 * 1024);  // 2.03 a number
  CHECK(state_bytes({256, 1024}, DType::bf16) == 2 * 262144 + 2 * 4 * 1024);
  CHECK(state_bytes({4096}, DType::f32) == 2 * 4096 + 2 * 4 * 16);
  CHECK(state_bytes({4097}, DType::f32) == 2 * 4097 + 2 * 4 * 17);
  CHECK(state_bytes({4095}, DType::f32) == 8 * 4095);
  CHECK(state_bytes({5000}, DType::f64) == 16 * 5000);
  const AdamW8bit adamw(one_leaf(Tensor::zeros({100, 50})));
  CHECK(adamw.state().at("exp_avg.w").dtype() == DType::u8);
  CHECK(adamw.state().at("exp_avg.w").shape() == Shape{100, 50});
  CHECK(adamw.state().at("exp_avg_sq_absmax.w").shape() == Shape{20});
}

TEST_CASE("adamw8bit: small parameters and f64 ones are updated as by AdamW, bit for bit") {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64}) {
    const Shape shape = dtype == DType::f64 ? Shape{80, 64} : Shape{63, 65};
    const Tensor start = test::random_tensor(shape, 1, dtype);
    AdamW8bit small(one_leaf(start), {.lr = 1e-2, .weight_decay = 0.1});
    AdamW whole(one_leaf(start), {.lr = 1e-2, .weight_decay = 0.1});
    for (uint64_t step = 0; step < 3; ++step) {
      const Grads grads = {test::random_tensor(shape, 10 + step, dtype)};
      small.step(grads, 0.5);
      whole.step(grads, 0.5);
    }
    CHECK(test::same_bits(weight_of(small), weight_of(whole)));
  }
}

TEST_CASE("adamw8bit: the first step is AdamW's, bit for bit, for every dtype of weights") {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const Tensor start = test::random_tensor({70, 60}, 1, dtype);
    const Grads grads = {test::random_tensor({70, 60}, 2, dtype)};
    AdamW8bit small(one_leaf(start), {.lr = 1e-2, .weight_decay = 0.1});
    AdamW whole(one_leaf(start), {.lr = 1e-2, .weight_decay = 0.1});
    small.step(grads, 0.5);
    whole.step(grads, 0.5);
    CHECK(test::same_bits(weight_of(small), weight_of(whole)));
  }
}

TEST_CASE("adamw8bit: a gradient far below the largest of its block does not blow its weight up") {
  // v of the small one is 1e-8 of the largest and would be rounded to 0; the momentum divided by
  // eps alone would then move the weight by thousands of learning rates.
  Tensor grad = Tensor::full({4096}, 1e-4);
  grad.data<float>()[0] = 1;
  AdamW8bit adamw(one_leaf(Tensor::zeros({4096})), {.lr = 1e-3});
  adamw.step({grad});
  grad = Tensor::zeros({4096});
  grad.data<float>()[0] = 1;
  for (int step = 0; step < 5; ++step)
    adamw.step({grad});
  CHECK(test::max_difference(weight_of(adamw), Tensor::zeros({4096})) < 10e-3);
}

TEST_CASE("adamw8bit: a NaN or an infinity in a gradient stays in sight") {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    AdamW8bit adamw(one_leaf(Tensor::zeros({4096})), {.lr = 1e-3});
    Tensor grad = test::random_tensor({4096}, 1);
    adamw.step({grad});
    Tensor broken = grad.clone();
    broken.data<float>()[300] = bad;
    adamw.step({broken});
    CHECK_FALSE(std::isfinite(adamw.state().at("exp_avg_absmax.w").span<float>()[1]));
    CHECK(std::isfinite(adamw.state().at("exp_avg_absmax.w").span<float>()[0]));
    adamw.step({grad});
    CHECK(std::isnan(weight_of(adamw).span<float>()[400]));  // of the same block
    CHECK(std::isfinite(weight_of(adamw).span<float>()[100]));
  }
}

TEST_CASE("adamw8bit: gradients of zeros leave weights and moments at rest") {
  const Tensor start = test::random_tensor({4096}, 1);
  AdamW8bit adamw(one_leaf(start), {.lr = 1e-3});
  for (int step = 0; step < 3; ++step)
    adamw.step({Tensor::zeros({4096})});
  CHECK(test::same_bits(weight_of(adamw), start));
  CHECK(test::max_difference(adamw.state().at("exp_avg_sq_absmax.w"), Tensor::zeros({16})) == 0);
}

TEST_CASE("adamw8bit and adamw: the same bits with every instruction set") {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Tensor start = test::random_tensor({70, 61}, 1, dtype);
    const auto trained = [&]<class Kind>(SlotBase& slot) {
      std::vector<Tensor> results;
      test::for_each_kernel(slot, [&] {
        Kind adamw(one_leaf(start), {.lr = 1e-2, .beta1 = 0.3, .weight_decay = 0.1});
        for (uint64_t step = 0; step < 3; ++step)
          adamw.step({test::random_tensor({70, 61}, 10 + step, dtype)});
        results.push_back(weight_of(adamw));
      });
      for (const Tensor& result : results)
        CHECK(test::same_bits(result, results[0]));
    };
    trained.operator()<AdamW>(adamw_slot);
    trained.operator()<AdamW8bit>(quant::adamw8bit_slot);
  }
}

TEST_CASE("adamw8bit: it continues from a state, with the same bits on any number of threads") {
  const Tensor start = test::random_tensor({300, 101}, 1, DType::bf16);
  const auto grads = [](uint64_t step) {
    return Grads{test::random_tensor({300, 101}, 10 + step, DType::bf16)};
  };
  const int before = thread_count();
  set_thread_count(1);
  AdamW8bit first(one_leaf(start));
  first.step(grads(0));
  State saved;
  for (const auto& [name, tensor] : first.state())
    saved.emplace(name, tensor.clone());
  AdamW8bit second(one_leaf(weight_of(first)));
  second.load_state(saved);
  first.step(grads(1));
  set_thread_count(3);
  second.step(grads(1));
  set_thread_count(before);
  CHECK(test::same_bits(weight_of(first), weight_of(second)));
  for (const auto& [name, tensor] : first.state())
    CHECK_MESSAGE(test::same_bits(tensor, second.state().at(name)), name);
}

TEST_CASE("adamw8bit: the state of AdamW is refused, and settings out of range are") {
  AdamW8bit adamw(one_leaf(Tensor::zeros({4096})));
  const AdamW whole(one_leaf(Tensor::zeros({4096})));
  const std::string message =
      test::message_of<ConfigError>([&] { adamw.load_state(whole.state()); });
  test::check_contains(message, "'exp_avg.w' is f32 (4096), u8 (4096) expected");
  test::check_contains(message, "'exp_avg_absmax.w' is missing");
  test::check_contains(
      test::message_of<ConfigError>([] { AdamW8bit(one_leaf(Tensor::zeros({2})), {.beta1 = 1}); }),
      "adamw8bit: a beta is 1");
}

}  // namespace graft::optim
