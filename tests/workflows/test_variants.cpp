// The variants of LoRA through the command: trained, continued, read again, and refused.

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "graft/tests/workflows/workflow.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

const Arguments variants[] = {
    {"--use-dora"},
    {"--init-lora-weights", "pissa"},
    {"--init-lora-weights", "pissa_niter_4", "--use-rslora", "--subtract-mutated-init"},
    {"--init-lora-weights", "olora", "--use-dora"},
    {"--loraplus-lr-ratio", "4", "--learning-rate", "0.003"},
    {"--optim", "lorafa"},
    {"--init-lora-weights", "eva", "--eva-rho", "1.5"},
};

/// short_run with other values for some of its flags.
Arguments run_with(const fs::path& out, const Arguments& flags) {
  Arguments arguments = short_run(out);
  for (const std::string& flag : flags) {
    if (!flag.starts_with("--"))
      continue;
    const auto found = std::find(arguments.begin(), arguments.end(), flag);
    if (found != arguments.end())
      arguments.erase(found, found + 2);
  }
  return joined(arguments, flags);
}

std::string text_of(const Arguments& arguments) {
  std::string text;
  for (const std::string& argument : arguments)
    text += argument + " ";
  return text;
}

}  // namespace

TEST_CASE("variants: each learns, goes on from a checkpoint with the same bytes, and loads") {
  for (const Arguments& flags : variants) {
    CAPTURE(text_of(flags));
    const TemporaryFolder scratch;
    const fs::path out = scratch / "out";
    const auto result = json_of(run_graft(joined(run_with(out, flags), {"--json"})));
    CHECK(result["validation_after"]["loss"].get<double>() <
          result["validation_before"]["loss"].get<double>());
    const std::string adapter = content_of(out / "adapter_model.safetensors");
    fs::remove_all(out / "checkpoints" / "step-12");
    check_exit(run_graft({"train", "--resume", "--out", out}), 0);
    CHECK(content_of(out / "adapter_model.safetensors") == adapter);
    const CommandResult loss =
        run_graft({"eval", "--model", golden("models/gqa"), "--adapter", out, "--data",
                   golden("lora_runs/data.jsonl"), "--compare-base", "--json"});
    check_exit(loss, 0);
  }
}

TEST_CASE("variants: subtracted at save, the result is a plain LoRA of twice the rank") {
  const TemporaryFolder scratch;
  const auto config_of = [&](const Arguments& more, const char* name) {
    const fs::path out = scratch / name;
    check_exit(run_graft(joined(run_with(out, {"--init-lora-weights", "olora"}), more)), 0);
    return nlohmann::json::parse(content_of(out / "adapter_config.json"));
  };
  const auto plain = config_of({}, "plain");
  CHECK(plain["init_lora_weights"] == "olora");
  CHECK(plain["r"] == 4);
  const auto subtracted = config_of({"--subtract-mutated-init"}, "subtracted");
  CHECK(subtracted["init_lora_weights"] == true);
  CHECK(subtracted["r"] == 8);
  CHECK(subtracted["lora_alpha"] == 64);
}

TEST_CASE("variants: flags that do not go together are refused") {
  const TemporaryFolder scratch;
  const auto refused = [&](const Arguments& more, const std::vector<std::string>& parts) {
    const CommandResult result =
        run_graft(joined({"train", "--model", golden("models/gqa"), "--data",
                          golden("lora_runs/data.jsonl"), "--out", scratch / "out"},
                         more));
    check_exit(result, 2);
    for (const std::string& part : parts)
      check_contains(result.err, part);
    CHECK(!fs::exists(scratch / "out"));
  };
  refused({"--init-lora-weights", "pizza"},
          {"--init-lora-weights", "\"pizza\"; true, false, gaussian, orthogonal, pissa"});
  refused({"--init-lora-weights", "corda"}, {"corda", "which graft does not support"});
  refused({"--init-lora-weights", "pissa_niter_x"}, {"a number of iterations expected"});
  refused({"--init-lora-weights", "pissa", "--lora-r", "40"}, {"is 40", "needs one of"});
  refused({"--subtract-mutated-init"}, {"--subtract-mutated-init is for", "'true'"});
  refused({"--eva-rho", "3"}, {"--eva-rho is for --init-lora-weights eva", "'true'"});
  refused({"--use-dora", "--lora-bias"}, {"lora_bias and use_dora"});
  refused({"--optim", "lorafa", "--method", "full"}, {"--optim lorafa", "--method full"});
  refused({"--optim", "lorafa", "--loraplus-lr-ratio", "2"}, {"give one of them"});
  refused({"--optim", "lorafa", "--target-modules", "embed_tokens"}, {"an embedding"});
  refused({"--loraplus-lr-embedding", "1e-3"}, {"give --loraplus-lr-ratio, too"});
  refused({"--loraplus-lr-ratio", "0"}, {"--loraplus-lr-ratio is '0'"});
  refused({"--loraplus-lr-ratio", "2", "--method", "full"}, {"--loraplus-lr-ratio", "full"});
}
