// SmolLM2-135M-Instruct from its GGUF file against transformers reading the same file
// (tests/golden/make_smollm2.py). GRAFT_SMOLLM2_GGUF names the file; tools/model gets it.

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/models/generate.h"
#include "graft/nn/loss.h"
#include "graft/tests/models/models.h"

namespace graft {

TEST_CASE("models: SmolLM2 from GGUF says what transformers says") {
  const char* file = std::getenv("GRAFT_SMOLLM2_GGUF");
  if (file == nullptr || *file == '\0')
    test::skip("GRAFT_SMOLLM2_GGUF is not set");
  const io::Json golden = io::read_json_file(test::golden("smollm2.json"));
  const io::SafetensorsFile answers(test::golden("smollm2.safetensors"));
  const auto model = models::load(file);
  CHECK(model->info().tied_head);
  CHECK(model->info().eos_token_ids == std::vector<int64_t>{2});
  std::vector<std::vector<int64_t>> prompts;
  std::vector<std::vector<int64_t>> expected;
  for (const io::Json& record : golden["conversations"]) {
    const std::string name = record["name"];
    CAPTURE(name);
    prompts.push_back(record["prompt_ids"]);
    expected.push_back(record["new_ids"]);
    const Tensor ids = test::ids_of(prompts.back());
    const Tensor logits = test::row_of(test::logits_of(*model, ids), 0);
    const Tensor last = logits.slice(0, logits.dim(0) - 1, logits.dim(0)).contiguous();
    const Tensor stored = answers.load(name + ".logits");
    double difference = 0;
    for (int64_t i = 0; i < stored.numel(); ++i)
      difference =
          std::max(difference, std::fabs(static_cast<double>(
                                   stored.data<float>()[i] -
                                   last.data<float>()[i * golden["logit_stride"].get<int64_t>()])));
    MESSAGE(name, ": ", difference / record["largest_absolute_logit"].get<double>(), " of 2e-5");
    // f32 through 30 layers, relative to the largest logit.
    CHECK(difference < 2e-5 * record["largest_absolute_logit"].get<double>());
    const NoGrad no_grad;
    const nn::Loss loss = nn::causal_lm_loss(*model, ids, ids, nn::Context());
    CHECK(loss.total.value().item() / static_cast<double>(loss.tokens) ==
          doctest::Approx(record["prompt_loss"].get<double>()).epsilon(1e-5));
  }
  // All three together: rows of different lengths, one of which stops early.
  const auto continued = models::generate(
      *model, prompts,
      {.max_new_tokens = golden["new_tokens"], .stop_ids = model->info().eos_token_ids});
  for (size_t row = 0; row < prompts.size(); ++row) {
    CAPTURE(row);
    const bool stopped = expected[row].back() == 2;
    if (stopped)
      expected[row].pop_back();
    CHECK(continued[row].ids == expected[row]);
    CHECK(continued[row].reason ==
          (stopped ? models::StopReason::stop_id : models::StopReason::length));
  }
}

}  // namespace graft
