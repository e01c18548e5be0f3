// QLoRA and graft quantize, through the command.

#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/tests/io/bytes.h"
#include "graft/tests/workflows/workflow.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

/// A short run on another model.
Arguments run_on(const fs::path& model, const fs::path& out, const Arguments& more = {}) {
  return joined({"train", "--model", model, "--data", golden("lora_runs/data.jsonl"), "--out", out,
                 "--max-steps", "4", "--learning-rate", "1e-2", "--lora-r", "4"},
                more);
}

/// The logits of a model on two records, as bytes of a file.
std::string logits(const TemporaryFolder& scratch, const fs::path& model,
                   const Arguments& more = {}) {
  std::ofstream(scratch / "ids.jsonl") << "{\"input_ids\": [1, 2, 3]}\n{\"input_ids\": [4]}\n";
  check_exit(run_graft(joined({"logits", "--model", model, "--data", scratch / "ids.jsonl", "--out",
                               scratch / "logits.safetensors"},
                              more)),
             0);
  return content_of(scratch / "logits.safetensors");
}

Arguments quantize(const fs::path& model, const fs::path& out, const Arguments& more = {}) {
  return joined({"quantize", "--model", model, "--out", out}, more);
}

void check_refused(const Arguments& arguments, const std::vector<std::string>& parts) {
  const CommandResult result = run_graft(arguments);
  check_exit(result, 2);
  for (const std::string& part : parts)
    check_contains(result.err, part);
}

}  // namespace

TEST_CASE("train: --quant holds the model in 4 bits, and says so") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  const CommandResult result =
      run_graft(run_on(golden("models/gqa"), out,
                       {"--quant", "nf4", "--dtype", "bf16", "--gradient-checkpointing"}));
  check_exit(result, 0);
  check_contains(result.err, "held as nf4 with double quantisation, blocks of");
  check_contains(result.err, "rest as bf16");
  check_contains(result.err, "QLoRA with rank 4");
  const auto steps = steps_of(out);
  REQUIRE(steps.size() == 4);
  CHECK(steps[2]["loss"].get<double>() < steps[0]["loss"].get<double>());
  const auto record = nlohmann::json::parse(content_of(out / "run.json"));
  CHECK(record["settings"]["quant"] == "nf4");
  CHECK(record["settings"]["blocksize"] == 64);
  // The same base for the adapter, quantised again or written down.
  check_exit(run_graft(quantize(golden("models/gqa"), scratch / "model", {"--dtype", "f32"})), 0);
  const Arguments adapter = {"--adapter", out};
  CHECK(logits(scratch, golden("models/gqa"), joined(adapter, {"--quant", "nf4"})) ==
        logits(scratch, scratch / "model", adapter));
}

TEST_CASE("train: a checkpoint in 4 bits is trained as QLoRA with nothing said, and resumed") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  const Arguments run = run_on(golden("qlora/nf4"), out, {"--save-steps", "2"});
  const CommandResult result = run_graft(run);
  check_exit(result, 0);
  check_contains(result.err, "held as nf4 with double quantisation, blocks of");
  check_contains(result.err, "as its files have it");
  check_contains(result.err, "QLoRA with rank 4");
  const std::string adapter = content_of(out / "adapter_model.safetensors");
  fs::remove_all(out / "checkpoints" / "step-4");
  fs::remove(out / "adapter_model.safetensors");
  check_exit(run_graft({"train", "--resume", "--out", out}), 0);
  CHECK(content_of(out / "adapter_model.safetensors") == adapter);
}

TEST_CASE("train: a run goes on only with the base it began on") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  const Arguments run = run_on(golden("models/gqa"), out, {"--quant", "nf4", "--save-steps", "2"});
  check_exit(run_graft(run), 0);
  fs::remove_all(out / "checkpoints" / "step-4");
  check_refused(joined(run, {"--resume", "--no-double-quant"}), {"quant"});
  check_refused(run_on(golden("models/gqa"), out, {"--resume", "--quant", "none"}), {"quant"});
}

TEST_CASE("quant flags: what contradicts the model or each other is refused") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out", dense = golden("models/gqa"), nf4 = golden("qlora/nf4");
  check_refused(run_on(nf4, out, {"--quant", "fp4"}),
                {"is quantised already, as nf4 with double quantisation, blocks of 64", "fp4"});
  check_exit(run_graft(run_on(nf4, out, {"--quant", "nf4", "--dry-run"})), 0);
  check_refused(run_on(dense, out, {"--no-double-quant"}),
                {"--no-double-quant", "--quant is none"});
  check_refused(run_on(dense, out, {"--blocksize", "128"}), {"--blocksize", "--quant is none"});
  check_refused(run_on(dense, out, {"--quant", "nf4", "--blocksize", "48"}),
                {"--blocksize is 48, expected a power of two"});
  const Arguments full = {"train", "--model", dense,      "--data", golden("lora_runs/data.jsonl"),
                          "--out", out,       "--method", "full"};
  check_refused(joined(full, {"--quant", "nf4"}), {"--quant nf4", "--method full trains all"});
  Arguments full_nf4 = full;
  full_nf4[2] = nf4;
  check_refused(full_nf4, {"--method full", "are in 4 bits"});
  CHECK(!fs::exists(out));
}

TEST_CASE("quantize: the folder has the logits of the model quantised while it is loaded") {
  const TemporaryFolder scratch;
  fs::create_directories(scratch / "model");
  for (const char* name : {"config.json", "model.safetensors"})
    fs::copy_file(golden("models/gqa") / name, scratch / "model" / name);
  put_bytes(scratch / "model/generation_config.json", "{\"eos_token_id\": [2, 7]}");
  const std::vector<Arguments> forms = {
      {"--quant", "nf4"},
      {"--quant", "fp4", "--no-double-quant"},
      {"--quant", "nf4", "--blocksize", "32"},
  };
  for (const Arguments& form : forms) {
    CAPTURE(form.back());
    const fs::path out = scratch / "out";
    const auto json = json_of(
        run_graft(quantize(scratch / "model", out, joined(form, {"--json", "--overwrite"}))));
    CHECK(json["parameters"].get<int64_t>() > json["quantized_parameters"].get<int64_t>());
    CHECK(json["bytes_after"].get<int64_t>() ==
          static_cast<int64_t>(fs::file_size(out / "model.safetensors")));
    CHECK(json["modules"]["q_proj"]["count"] == 2);
    const double error = json["modules"]["q_proj"]["error"].get<double>();
    CHECK(error > 0.05);
    CHECK(error < 0.15);
    CHECK(content_of(out / "generation_config.json") == "{\"eos_token_id\": [2, 7]}");
    CHECK(logits(scratch, out) == logits(scratch, scratch / "model", form));
  }
  const CommandResult shown =
      run_graft(quantize(scratch / "model", scratch / "new", {"--dtype", "bf16"}));
  check_exit(shown, 0);
  for (const char* part : {"as nf4 with double quantisation", "rest as bf16", "bits a weight",
                           "q_proj", "error: ||w - q|| / ||w||"})
    check_contains(shown.out, part);
}

TEST_CASE("quantize: a model in 4 bits, and an --out that is an input or not empty are refused") {
  const TemporaryFolder scratch;
  check_refused(quantize(golden("qlora/nf4"), scratch / "out"),
                {"is quantised already, as nf4 with double quantisation, blocks of 64"});
  CHECK(!fs::exists(scratch / "out"));
  check_exit(run_graft(quantize(golden("models/gqa"), scratch / "out")), 0);
  check_refused(quantize(golden("models/gqa"), scratch / "out"), {"out"});
  const fs::path copy = scratch / "copy";
  fs::copy(golden("models/gqa"), copy);
  const auto before = snapshot(copy);
  check_refused(quantize(copy, copy, {"--overwrite"}), {"--out"});
  CHECK(snapshot(copy) == before);
}

TEST_CASE("quantize: on a full disk nothing is left, and the exit code is 4") {
  const TemporaryFolder scratch;
  const CommandResult result =
      run_graft(quantize(golden("models/gqa"), scratch / "out"), {.max_file_bytes = 8000});
  check_exit(result, 4);
  CHECK(!fs::exists(scratch / "out"));
}
