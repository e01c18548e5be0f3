// Models that the gguf package wrote (tests/golden/make_gguf_models.py), one of each architecture,
// against the Hugging Face folders they were made from and against transformers.

#include <nlohmann/json.hpp>
#include <string>

#include "graft/models/save.h"
#include "graft/tests/models/models.h"
#include "graft/tests/support/families.h"

namespace graft {
namespace {

using test::check_contains, test::FamilyCase;

/// f32 sums in two orders; transformers' own logits are up to 3e-6 away from f64.
constexpr double tolerance = 2e-5;

const io::Json& records() {
  static const io::Json json = io::read_json_file(test::golden("gguf_models.json"));
  return json["cases"];
}

/// What a config.json holds that a GGUF file says nothing of.
io::Json without_training_keys(const std::string& config_json) {
  io::Json json = io::parse_json(config_json, "config.json");
  for (const char* key : {"resid_pdrop", "embd_pdrop", "attn_pdrop"})
    json.erase(key);
  return json;
}

void check_same_parameters(nn::CausalLM& given, nn::CausalLM& expected) {
  const auto parameters = nn::named_parameters(given);
  const auto originals = nn::named_parameters(expected);
  REQUIRE(parameters.size() == originals.size());
  for (size_t i = 0; i < parameters.size(); ++i) {
    CAPTURE(parameters[i].path);
    CHECK(parameters[i].path == originals[i].path);
    CHECK(test::same_bits(parameters[i].member->value(), originals[i].member->value()));
  }
}

}  // namespace

TEST_CASE("gguf models: weights, configuration and logits are those of the Hugging Face folder") {
  const io::SafetensorsFile answers(test::golden("gguf_models.safetensors"));
  const Tensor ids = answers.load("input_ids");
  for (const io::Json& record : records()) {
    const FamilyCase entry(record);
    CAPTURE(entry.name);
    const auto original = models::load(entry.folder.path());
    const auto model = models::load(test::golden(record["file"].get<std::string>()));
    check_same_parameters(*model, *original);
    const Tensor logits = test::row_of(test::logits_of(*model, ids), 0);
    const double difference =
        test::relative_difference(logits, answers.load(entry.name + ".logits"));
    MESSAGE(entry.name, ": ", difference, " of ", tolerance);
    CHECK(difference < tolerance);
    if (entry.name == "llama3_other")  // whose settings the file does not give
      continue;
    CHECK(without_training_keys(model->info().config_json) ==
          without_training_keys(original->info().config_json));
    CHECK(test::same_bits(logits, test::row_of(test::logits_of(*original, ids), 0)));
  }
}

TEST_CASE("gguf models: what is saved as a Hugging Face folder is the same model") {
  const Tensor ids = io::SafetensorsFile(test::golden("gguf_models.safetensors")).load("input_ids");
  for (const io::Json& record : records()) {
    CAPTURE(record["name"].get<std::string>());
    const auto model = models::load(test::golden(record["file"].get<std::string>()));
    const test::TemporaryFolder out;
    models::save_pretrained(*model, out.path());
    const auto again = models::load(out.path());
    CHECK(without_training_keys(again->info().config_json) ==
          without_training_keys(model->info().config_json));
    CHECK(test::same_bits(test::logits_of(*again, ids), test::logits_of(*model, ids)));
  }
}

TEST_CASE("gguf models: any part of a split model stands for the whole") {
  const auto folder = test::golden("gguf_models");
  const auto first = models::load(folder / "llama3_other-00001-of-00003.gguf");
  const auto last = models::load(folder / "llama3_other-00003-of-00003.gguf");
  check_same_parameters(*last, *first);
  const models::Description about = models::describe(folder / "llama3_other-00002-of-00003.gguf");
  CHECK(about.parameters == nn::count_parameters(*first));
}

}  // namespace graft
