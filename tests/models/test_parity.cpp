// The numbers of models against those of transformers (tests/golden/make_models.py).

#include <map>
#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/nn/loss.h"
#include "graft/tests/models/models.h"

namespace graft {
namespace {

using test::golden_answers, test::golden_model, test::logit_difference, test::logits_of,
    test::logit_tolerance;

const std::vector<std::string> names{"tied",   "untied",  "gqa",  "odd", "head_dim",
                                     "biases", "sharded", "bf16", "f16"};

const io::Json& record_of(const io::Json& list, const std::string& name) {
  for (const io::Json& record : list) {
    if (record["name"] == name)
      return record;
  }
  FAIL("no record of ", name);
  return list;
}

}  // namespace

TEST_CASE("models: logits of tiny models are those of transformers") {
  for (const std::string& name : names) {
    CAPTURE(name);
    const io::SafetensorsFile answers = golden_answers(name);
    const auto model = golden_model(name);
    const double difference =
        logit_difference(logits_of(*model, answers.load("input_ids")), answers, "logits");
    MESSAGE(name, ": ", difference, " of ", logit_tolerance);
    CHECK(difference < logit_tolerance);
  }
}

TEST_CASE("models: losses of tiny models are those of transformers") {
  const io::Json records = io::read_json_file(test::golden("models.json"));
  for (const std::string& name : names) {
    CAPTURE(name);
    const io::SafetensorsFile answers = golden_answers(name);
    const auto model = golden_model(name);
    const NoGrad no_grad;
    const nn::Loss loss = nn::causal_lm_loss(*model, answers.load("input_ids"),
                                             answers.load("labels"), nn::Context());
    const io::Json& record = record_of(records["models"], name);
    CHECK(loss.tokens == record["trained_tokens"].get<int64_t>());
    const double mean = loss.total.value().item() / static_cast<double>(loss.tokens);
    // Relative to a loss of about 6: the rounding of logits of about 6.
    CHECK(mean == doctest::Approx(record["loss"].get<double>()).epsilon(1e-5));
    // per_token[t] predicts labels[t+1], the golden file has it at t+1.
    const Tensor expected = answers.load("token_losses");
    const int64_t length = expected.dim(1);
    CHECK(test::relative_difference(loss.per_token.slice(1, 0, length - 1),
                                    expected.slice(1, 1, length)) < logit_tolerance);
  }
}

TEST_CASE("models: gradients of every parameter are those of torch") {
  for (const std::string name : {"gqa", "untied"}) {
    const io::SafetensorsFile answers = golden_answers(name);
    const io::SafetensorsFile gradients(test::golden("models/" + name + "_gradients.safetensors"));
    const auto model = golden_model(name);
    nn::set_requires_grad(*model, true);
    const nn::Loss loss = nn::causal_lm_loss(*model, answers.load("input_ids"),
                                             answers.load("labels"), nn::Context());
    loss.total.backward(Tensor::full({}, 1 / static_cast<double>(loss.tokens)));
    const std::vector<nn::NamedMember> parameters = nn::named_parameters(*model);
    CHECK(parameters.size() == gradients.names().size());
    for (const nn::NamedMember& parameter : parameters) {
      CAPTURE(parameter.path);
      const Tensor grad = parameter.member->variable()->grad();
      REQUIRE(grad.defined());
      // Sums over 28 tokens in another order, through two layers.
      CHECK(test::relative_difference(grad, gradients.load(parameter.path)) < 2e-5);
    }
  }
}

TEST_CASE("models: bf16 weights and activations stay near f32") {
  const io::SafetensorsFile answers = golden_answers("bf16");
  const auto model = golden_model("bf16", DType::bf16);
  const Tensor logits = logits_of(*model, answers.load("input_ids"));
  CHECK(logits.dtype() == DType::bf16);
  // 8 bits of mantissa, about 30 roundings on the way.
  CHECK(logit_difference(logits, answers, "logits") < 3e-2);
}

TEST_CASE("models: logits and loss of real models are those of transformers") {
  const io::Json records = io::read_json_file(test::golden("models.json"));
  const io::SafetensorsFile answers(test::golden("real_models.safetensors"));
  for (const io::Json& record : records["real_models"]) {
    const std::string name = record["name"];
    CAPTURE(name);
    const auto model = models::load(test::data(record["folder"]));
    const Tensor ids = test::ids_of(record["input_ids"].get<std::vector<int64_t>>());
    const Tensor logits = test::row_of(logits_of(*model, ids), 0);
    const Tensor last = logits.slice(0, logits.dim(0) - 4, logits.dim(0));
    CHECK(test::relative_difference(last, answers.load(name + ".logits")) < logit_tolerance);
    const NoGrad no_grad;
    const nn::Loss loss = nn::causal_lm_loss(*model, ids, ids, nn::Context());
    CHECK(loss.total.value().item() / static_cast<double>(loss.tokens) ==
          doctest::Approx(record["loss"].get<double>()).epsilon(1e-5));
  }
}

TEST_CASE("models: both spellings of one checkpoint are one model") {
  const auto model = models::load(test::data("models/tinystories-656k/fp32"));
  const auto other = models::load(test::data("models/tinystories-656k/bf16"));
  std::map<std::string, Tensor> values;
  for (const nn::NamedMember& parameter : nn::named_parameters(*model))
    values[parameter.path] = parameter.member->value();
  for (const nn::NamedMember& parameter : nn::named_parameters(*other)) {
    CAPTURE(parameter.path);
    CHECK(test::same_bits(parameter.member->value(), values.at(parameter.path)));
  }
}

}  // namespace graft
