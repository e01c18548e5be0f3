// graft extract: adapters out of models that `graft train --method full` made.

#include <filesystem>
#include <nlohmann/json.hpp>

#include "graft/tests/workflows/workflow.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

const char* const data_file = "lora_runs/data.jsonl";

/// A model that was trained as a whole.
void train_full(const char* model, const fs::path& out) {
  check_exit(run_graft({"train", "--method", "full", "--model", golden(model), "--data",
                        golden(data_file), "--out", out, "--max-steps", "12", "--learning-rate",
                        "0.01", "--max-seq-len", "64", "--seed", "5"}),
             0);
}

Arguments extract(const char* base, const fs::path& tuned, const fs::path& out,
                  const Arguments& more) {
  return joined({"extract", "--base", golden(base), "--tuned", tuned, "--out", out}, more);
}

double loss(const fs::path& model, const Arguments& more = {}) {
  return json_of(run_graft(
      joined({"eval", "--model", model, "--data", golden(data_file), "--json"}, more)))["loss"];
}

}  // namespace

TEST_CASE("extract: at full rank model and adapter have the logits of the tuned model") {
  for (const char* base : {"models/gqa", "models/biases"}) {
    CAPTURE(base);
    const TemporaryFolder scratch;
    const fs::path tuned = scratch / "tuned", out = scratch / "adapter";
    train_full(base, tuned);
    const CommandResult result =
        run_graft(extract(base, tuned, out, {"--energy", "1", "--save-rest", "--json"}));
    const auto found = json_of(result);
    CHECK(result.err.empty());
    CHECK(found["kept"].get<double>() > 1 - 1e-12);
    CHECK(found["modules"].size() == 14);
    CHECK(found["others"][0]["saved"] == true);
    CHECK(snapshot(out).size() == 3);
    const Tensor expected = command_logits(scratch, tuned);
    CHECK(relative_difference(command_logits(scratch, golden(base), {"--adapter", out}), expected) <
          2e-5);
    CHECK(relative_difference(command_logits(scratch, golden(base)), expected) > 1e-2);
  }
}

TEST_CASE("extract: at a lower rank the loss lies between those of the two models") {
  const TemporaryFolder scratch;
  const fs::path tuned = scratch / "tuned";
  train_full("models/untied", tuned);
  const double before = loss(golden("models/untied")), after = loss(tuned);
  double last = before;
  for (const char* rank : {"1", "4", "16"}) {
    CAPTURE(rank);
    const fs::path out = scratch / (std::string("rank-") + rank);
    check_exit(run_graft(extract(
                   "models/untied", tuned, out,
                   {"--rank", rank, "--target-modules", "re:.*_proj|.*embed_tokens|lm_head"})),
               0);
    const double extracted = loss(golden("models/untied"), {"--adapter", out});
    CHECK(extracted < last);
    CHECK(extracted > after);
    last = extracted;
  }
}

TEST_CASE("extract: what the adapter has not is named, with its size") {
  const TemporaryFolder scratch;
  const fs::path tuned = scratch / "tuned", out = scratch / "adapter";
  train_full("models/gqa", tuned);
  const CommandResult result =
      run_graft(extract("models/gqa", tuned, out, {"--energy", "0.9", "--max-rank", "3"}));
  check_exit(result, 0);
  for (const char* part :
       {"6 parameters that differ are not in the adapter: model.embed_tokens.weight (",
        "model.norm.weight", "--save-rest keeps them", "with --max-rank 3, ",
        "keep less than --energy 0.9"})
    check_contains(result.err, part);
  for (const char* part : {"of the weight", "model.layers.1.input_layernorm.weight", "discarded",
                           "wrote ", ": 14 layers, "})
    check_contains(result.out, part);
  const auto config = nlohmann::json::parse(content_of(out / "adapter_config.json"));
  CHECK(config["r"] == 3);
  CHECK(config["lora_alpha"] == 3);
  CHECK(config["target_modules"].size() == 7);  // "q_proj" and so on
  CHECK(config["base_model_name_or_path"] == golden("models/gqa").string());
  check_exit(run_graft(extract("models/gqa", tuned, out, {"--rank", "2"})), 2);
  const auto again = json_of(
      run_graft(extract("models/gqa", tuned, out, {"--rank", "2", "--overwrite", "--json"})));
  CHECK(again["rank"] == 2);
  CHECK(again["modules"][0]["rank"] == 2);
  CHECK(again["modules"][0]["kept"].get<double>() +
            again["modules"][0]["discarded"].get<double>() ==
        doctest::Approx(1));
  // The adapter can be trained further, as any other.
  check_exit(run_graft({"train", "--model", golden("models/gqa"), "--adapter", out, "--data",
                        golden(data_file), "--max-steps", "1", "--out", scratch / "more"}),
             0);
}

TEST_CASE("extract: what cannot be extracted is refused, and nothing is written") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "adapter";
  const auto refused = [&](const char* base, const fs::path& tuned, const Arguments& more,
                           const char* part) {
    const CommandResult result = run_graft(extract(base, tuned, out, more));
    check_exit(result, 2);
    check_contains(result.err, part);
    CHECK(!fs::exists(out));
  };
  const fs::path tuned = golden("models/untied");
  refused("models/untied", tuned, {"--rank", "2"}, "nothing to extract");
  refused("models/untied", tuned, {}, "give --rank or --energy");
  refused("models/untied", tuned, {"--rank", "2", "--energy", "1"}, "--energy");
  refused("models/untied", tuned, {"--rank", "2", "--max-rank", "3"}, "--max-rank is for --energy");
  refused("models/untied", tuned, {"--energy", "0"}, "--energy is '0'");
  refused("models/untied", tuned, {"--rank", "2", "--target-modules", "re:("}, "--target-modules");
  refused("models/gqa", tuned, {"--rank", "2"}, "num_key_value_heads is ");
  refused("models/gqa", golden("families/gpt2"), {"--rank", "2"}, "of different architectures");
  refused("qlora/nf4", golden("qlora/dense"), {"--rank", "2"}, "of the base is in 4 bits");
  refused("qlora/dense", golden("qlora/nf4"), {"--rank", "2"}, "of the tuned model is in 4 bits");
  refused("peft_files/q_v", tuned, {"--rank", "2"}, "holds an adapter");
  check_exit(run_graft({"extract", "--base", golden("models/gqa"), "--rank", "2"}), 2);

  const fs::path blocks = scratch / "blocks.gguf";
  check_exit(
      run_graft({"convert", "--from", golden("models/untied"), "--out", blocks, "--dtype", "q8_0"}),
      0);
  refused("models/untied", blocks, {"--rank", "2"}, "is quantised (");
}
