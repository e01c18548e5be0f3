// LoftQ, and merging on a base in 4 bits, through the command.

#include <cmath>
#include <nlohmann/json.hpp>

#include "graft/io/safetensors.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"
#include "graft/tests/io/bytes.h"
#include "graft/tests/workflows/workflow.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

const char* const dense = "qlora/dense";
const char* const nf4 = "qlora/nf4";
const char* const adapter = "qlora/final";

Arguments merge(const fs::path& out, const Arguments& more) {
  return joined({"merge", "--adapter", golden(adapter), "--out", out, "--verify"}, more);
}

Arguments loftq_run(const fs::path& out, const Arguments& more = {}) {
  return joined({"train", "--model", golden(dense), "--quant", "nf4", "--init-lora-weights",
                 "loftq", "--lora-r", "4", "--lora-alpha", "12", "--max-steps", "2", "--data",
                 golden("lora_runs/data.jsonl"), "--out", out},
                more);
}

/// How far the weights of a model with its adapter are from those of the dense one, of their size:
/// the mean over all layers that LoftQ starts.
double distance_of_weights(const TemporaryFolder& scratch, const Arguments& model) {
  check_exit(run_graft(joined({"merge", "--out", scratch / "sum", "--dtype", "f32", "--overwrite"},
                              model)),
             0);
  const io::SafetensorsFile merged(scratch / "sum" / "model.safetensors", io::Access::read);
  const io::SafetensorsFile exact(fs::path(golden(dense)) / "model.safetensors", io::Access::read);
  double sum = 0;
  int64_t count = 0;
  for (const std::string& name : exact.names()) {
    if (!name.ends_with("_proj.weight"))
      continue;
    const Tensor w = exact.load(name).to(DType::f32);
    sum +=
        std::sqrt(ops::sum_of_squares(ops::add(merged.load(name), w, -1)) / ops::sum_of_squares(w));
    ++count;
  }
  return sum / static_cast<double>(count);
}

bool is_in_4_bits(const fs::path& model) {
  const std::string weight = "model.layers.1.mlp.up_proj.weight";
  return io::SafetensorsFile(model / "model.safetensors").contains(weight + ".absmax");
}

void check_refused(const Arguments& arguments, const std::string& part) {
  const CommandResult result = run_graft(arguments);
  check_exit(result, 2);
  check_contains(result.err, part);
}

}  // namespace

TEST_CASE("train: LoftQ begins nearer to the model than 4 bits alone, and nearer still in turns") {
  const TemporaryFolder scratch;
  const Tensor whole = command_logits(scratch, golden(dense));
  const double before =
      relative_difference(command_logits(scratch, golden(dense), {"--quant", "nf4"}), whole);
  // A learning rate of 0 leaves the start as it is.
  const Arguments as_it_starts = {"--learning-rate", "0"};
  const CommandResult once = run_graft(loftq_run(scratch / "once", as_it_starts));
  check_exit(once, 0);
  check_contains(once.err, "away from those of the model");
  check_contains(once.out, "next: ");
  check_contains(once.out, "--quant nf4 --adapter");
  const Arguments with_once = {"--model", golden(dense), "--quant",
                               "nf4",     "--adapter",   scratch / "once"};
  CHECK(relative_difference(command_logits(scratch, golden(dense),
                                           {"--quant", "nf4", "--adapter", scratch / "once"}),
                            whole) < before);
  CHECK(!fs::exists(scratch / "once" / "base"));

  const fs::path turns = scratch / "turns";
  const CommandResult several =
      run_graft(loftq_run(turns, joined(as_it_starts, {"--loftq-iter", "5"})));
  check_exit(several, 0);
  check_contains(several.out, (turns / "base").string());
  CHECK(is_in_4_bits(turns / "base"));
  // Logits of a model of noise say little of how near a weight is.
  CHECK(distance_of_weights(scratch, {"--model", turns / "base", "--adapter", turns}) <
        distance_of_weights(scratch, with_once));
}

TEST_CASE("train: a LoftQ run is resumed with the same bits") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  check_exit(run_graft(loftq_run(
                 out, {"--loftq-iter", "3", "--learning-rate", "1e-2", "--save-steps", "1"})),
             0);
  const std::string written = content_of(out / "adapter_model.safetensors");
  const auto base = snapshot(out / "base");
  fs::remove_all(out / "checkpoints" / "step-2");
  fs::remove_all(out / "base");
  fs::remove(out / "adapter_model.safetensors");
  check_exit(run_graft({"train", "--resume", "--out", out}), 0);
  CHECK(content_of(out / "adapter_model.safetensors") == written);
  CHECK(snapshot(out / "base") == base);
}

TEST_CASE("train: LoftQ needs weights that are put in 4 bits now") {
  const TemporaryFolder scratch;
  const Arguments run = {
      "train",       "--data", golden("lora_runs/data.jsonl"), "--out", scratch / "out",
      "--max-steps", "1",      "--init-lora-weights",          "loftq"};
  check_refused(joined(run, {"--model", golden(dense)}), "give --quant nf4 or fp4");
  check_refused(joined(run, {"--model", golden(nf4), "--quant", "nf4"}), "is in 4 bits already");
  check_refused({"train", "--data", golden("lora_runs/data.jsonl"), "--out", scratch / "out",
                 "--model", golden(dense), "--loftq-iter", "2"},
                "--loftq-iter is for --init-lora-weights loftq");
  CHECK(!fs::exists(scratch / "out"));
}

TEST_CASE("merge: on a base in 4 bits the result is what base and adapter compute") {
  const TemporaryFolder scratch;
  const Tensor apart = command_logits(scratch, golden(nf4), {"--adapter", golden(adapter)});
  const fs::path out = scratch / "out";
  const auto json =
      json_of(run_graft(merge(out, {"--model", golden(nf4), "--dtype", "f32", "--json"})));
  CHECK(relative_difference(command_logits(scratch, out), apart) < 1e-5);
  CHECK(!is_in_4_bits(out));
  CHECK(!nlohmann::json::parse(content_of(out / "config.json")).contains("quantization_config"));
  CHECK(json["layers"].size() == 14);
  for (const auto& layer : json["layers"])
    CHECK(layer["error_of_change"] == 0);
  // The base of a run with --quant, which its files have dense.
  const fs::path again = scratch / "again";
  check_exit(
      run_graft(merge(again, {"--model", golden(dense), "--quant", "nf4", "--dtype", "f32"})), 0);
  CHECK(relative_difference(command_logits(scratch, again),
                            command_logits(scratch, golden(dense),
                                           {"--quant", "nf4", "--adapter", golden(adapter)})) <
        1e-5);
}

TEST_CASE("merge: --requantize writes 4 bits, --original takes the weights as they were") {
  const TemporaryFolder scratch;
  const Arguments model = {"--model", golden(nf4), "--json"};
  const Arguments original = joined(model, {"--original", golden(dense)});
  const auto error = [](const nlohmann::json& json) {
    double sum = 0;
    for (const auto& layer : json["layers"])
      sum += layer["error"].get<double>();
    return sum / static_cast<double>(json["layers"].size());
  };
  const auto small = json_of(run_graft(merge(scratch / "small", joined(model, {"--requantize"}))));
  CHECK(is_in_4_bits(scratch / "small"));
  CHECK(error(small) > 0.02);
  CHECK(error(small) < 0.15);
  const auto on_original = json_of(run_graft(merge(scratch / "original", original)));
  CHECK(!is_in_4_bits(scratch / "original"));
  CHECK(error(on_original) < 0x1p-8);  // bf16
  CHECK(relative_difference(
            command_logits(scratch, scratch / "original"),
            command_logits(scratch, golden(dense), {"--adapter", golden(adapter)})) < 2e-2);
  // Each rounding is a good part of the logits of a model of noise.
  const auto both = json_of(run_graft(
      merge(scratch / "both", joined(original, {"--requantize", "--verify-limit", "1"}))));
  CHECK(is_in_4_bits(scratch / "both"));
  CHECK(on_original["verify"]["largest_difference"].get<double>() < on_original["verify"]["limit"]);
  CHECK(small["verify"]["limit"].is_null());
  CHECK(small["verify"]["lost"] < 1);
  CHECK(both["verify"]["largest_difference"].get<double>() < both["verify"]["limit"]);
  const CommandResult refused =
      run_graft(merge(scratch / "refused", joined(original, {"--requantize"})));
  check_exit(refused, 1);
  check_contains(refused.err, "4 bits are too coarse for what the adapters change");
  CHECK(!fs::exists(scratch / "refused"));

  const CommandResult shown = run_graft(
      merge(scratch / "shown", {"--model", golden(nf4), "--requantize", "--dtype", "bf16"}));
  check_exit(shown, 0);
  for (const char* part : {"in 4 bits with 1 adapter merged", "lost of the change", "up_proj"})
    check_contains(shown.out, part);
}

TEST_CASE("merge: a result beyond --verify-limit is not kept") {
  const TemporaryFolder scratch;
  const CommandResult result = run_graft(
      merge(scratch / "out", {"--model", golden(nf4), "--requantize", "--verify-limit", "1e-6"}));
  check_exit(result, 1);
  check_contains(result.err, "the logits of the merged model are off by");
  check_contains(result.err, "Without --requantize");
  CHECK(!fs::exists(scratch / "out"));
}

TEST_CASE("merge: flags for 4 bits are refused where the base is dense, or the original is not") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  check_refused(merge(out, {"--model", golden(dense), "--requantize"}),
                "--requantize is for a base in 4 bits");
  check_refused(merge(out, {"--model", golden(dense), "--original", golden(dense)}),
                "--original is for a base in 4 bits");
  check_refused(merge(out, {"--model", golden(nf4), "--original", golden(nf4)}),
                "is in 4 bits itself");
  check_refused(merge(out, {"--model", golden(nf4), "--original", golden("models/untied")}),
                "--original");
  check_refused({"merge", "--model", golden(dense), "--adapter", golden(adapter), "--out", out,
                 "--verify-limit", "1"},
                "--verify-limit is for --verify");
  CHECK(!fs::exists(out));
}
