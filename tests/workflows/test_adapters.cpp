// merge, combine, and several adapters at once, as the command does them.

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/io/safetensors.h"
#include "graft/tests/io/bytes.h"
#include "graft/tests/workflows/workflow.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

const char* const base = "models/gqa";
const char* const one = "peft_files/q_v";
const char* const other = "peft_files/all_linear";

/// The logits of a model with adapters, as the command writes them.
Tensor adapted_logits(const TemporaryFolder& scratch, const fs::path& model,
                      const Arguments& adapters) {
  Arguments flags;
  for (const std::string& adapter : adapters)
    flags = joined(flags, {"--adapter", adapter});
  return command_logits(scratch, model, flags);
}

Arguments merge(const fs::path& out, const Arguments& more) {
  return joined({"merge", "--model", golden(base), "--out", out}, more);
}

Arguments combine(const fs::path& out, const Arguments& more) {
  return joined({"combine", "--out", out}, more);
}

std::string at(const char* folder, const char* scale = "") {
  return golden(folder).string() + scale;
}

}  // namespace

TEST_CASE("merge: the model that is written has the logits of model and adapters") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "merged";
  const auto result = json_of(run_graft(merge(out, {"--adapter", at(one, "@0.5"), "--adapter",
                                                    "second=" + at(other), "--verify", "--json"})));
  CHECK(result["adapters"][0]["name"] == "q_v");
  CHECK(result["adapters"][0]["scale"] == 0.5);
  CHECK(result["adapters"][1]["name"] == "second");
  CHECK(result["dtype"] == "f32");
  const auto& verify = result["verify"];
  CHECK(verify["largest_difference"].get<double>() < verify["limit"].get<double>());
  CHECK(verify["effect_of_adapters"].get<double>() > 100 * verify["limit"].get<double>());
  CHECK(verify["same_likeliest"] == verify["tokens"]);
  const Tensor apart = adapted_logits(scratch, golden(base), {at(one, "@0.5"), at(other)});
  CHECK(relative_difference(command_logits(scratch, out), apart) < 1e-5);
  CHECK(relative_difference(command_logits(scratch, golden(base)), apart) > 1e-2);
}

TEST_CASE("merge: keep writes the model's own format, and others are written on request") {
  const TemporaryFolder scratch;
  const auto dtype = [&](const char* model, const Arguments& more) {
    const fs::path out = scratch / concat("out", std::rand());
    check_exit(run_graft(joined({"merge", "--model", golden(model), "--adapter", at(one), "--out",
                                 out, "--verify"},
                                more)),
               0);
    return io::SafetensorsFile(out / "model.safetensors").info("model.norm.weight").dtype;
  };
  CHECK(dtype("models/gqa", {}) == DType::f32);
  CHECK(dtype("models/gqa", {"--dtype", "bf16"}) == DType::bf16);
  CHECK(dtype("models/bf16", {}) == DType::bf16);
  CHECK(dtype("models/f16", {}) == DType::f16);
  CHECK(dtype("models/f16", {"--dtype", "f32"}) == DType::f32);
}

TEST_CASE("merge: a head of its own is written as one") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "merged";
  check_exit(run_graft(merge(out, {"--adapter", at("peft_files/lm_head_tied"), "--verify"})), 0);
  CHECK(nlohmann::json::parse(content_of(out / "config.json"))["tie_word_embeddings"] == false);
  CHECK(relative_difference(
            command_logits(scratch, out),
            adapted_logits(scratch, golden(base), {at("peft_files/lm_head_tied")})) < 1e-5);
}

TEST_CASE("merge: a broken adapter, a full disk and a folder in use leave nothing behind") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "merged";
  const fs::path broken = scratch / "broken";
  fs::copy(golden(one), broken);
  std::string bytes = content_of(broken / "adapter_model.safetensors");
  const float nan = std::nanf("");
  bytes.replace(bytes.size() - sizeof nan, sizeof nan, reinterpret_cast<const char*>(&nan),
                sizeof nan);
  put_bytes(broken / "adapter_model.safetensors", bytes);
  const auto before = snapshot(scratch.path());
  const CommandResult refused = run_graft(merge(out, {"--adapter", broken}));
  check_exit(refused, 5);
  check_contains(refused.err, "has a NaN or an infinite number at model.layers.1.self_attn.v_proj");
  CHECK(snapshot(scratch.path()) == before);

  CommandOptions small_disk;
  small_disk.max_file_bytes = 10'000;
  check_exit(run_graft(merge(out, {"--adapter", at(one)}), small_disk), 4);
  CHECK(snapshot(scratch.path()) == before);

  check_exit(run_graft(merge(out, {"--adapter", at(one)})), 0);
  const auto written = snapshot(out);
  check_exit(run_graft(merge(out, {"--adapter", at(one)})), 2);
  check_exit(run_graft(merge(out, {"--adapter", at(other), "--overwrite"}), small_disk), 4);
  CHECK(snapshot(out) == written);
  check_exit(run_graft(merge(out, {"--adapter", at(one), "--overwrite"})), 0);
  CHECK(snapshot(out) == written);
}

TEST_CASE("combine: the new adapter is the weighted sum, with and without the model") {
  const TemporaryFolder scratch;
  const Arguments adapters = {"--adapter", "a=" + at(one, "@0.7"), "--adapter", at(other, "@-0.4")};
  const Tensor expected =
      adapted_logits(scratch, golden(base), {at(one, "@0.7"), at(other, "@-0.4")});
  for (const bool with_model : {false, true}) {
    const fs::path out = scratch / (with_model ? "with" : "without");
    const Arguments more = with_model ? Arguments{"--model", golden(base)} : Arguments{};
    const auto result = json_of(
        run_graft(combine(out, joined(joined(adapters, more), {"--method", "cat", "--json"}))));
    CHECK(result["rank"] == 8);
    CHECK(result["discarded"] == 0);
    CHECK(result["layers"].size() == 14);
    CHECK(relative_difference(adapted_logits(scratch, golden(base), {out}), expected) < 1e-5);
    CHECK(snapshot(out).size() == 3);
  }
  // In a lower rank something is lost, and said.
  const CommandResult small =
      run_graft(combine(scratch / "small", joined(adapters, {"--rank", "2"})));
  check_exit(small, 0);
  check_contains(small.out, "rank 2 leaves out ");
}

TEST_CASE("combine: with and without the model every method gives the same") {
  const TemporaryFolder scratch;
  const Arguments adapters = {"--adapter", at(one), "--adapter", at("peft_files/patterns")};
  for (const Arguments& method :
       {Arguments{"svd"}, {"ties", "--density", "0.5"}, {"dare_ties", "--density", "0.4"}}) {
    Tensor found[2];
    for (const bool with_model : {false, true}) {
      const fs::path out = scratch / (method[0] + (with_model ? "-with" : "-without"));
      Arguments arguments = joined(adapters, joined({"--method"}, method));
      if (with_model)
        arguments = joined(arguments, {"--model", golden(base)});
      check_exit(run_graft(combine(out, arguments)), 0);
      found[with_model] = adapted_logits(scratch, golden(base), {out});
    }
    CHECK(relative_difference(found[0], found[1]) < 1e-6);
  }
}

TEST_CASE("combine: what needs the model says so, and is combined with it") {
  const TemporaryFolder scratch;
  const Arguments adapters = {"--adapter", at("peft_parts/tokens_of_tied"), "--adapter", at(one)};
  const CommandResult refused = run_graft(combine(scratch / "out", adapters));
  check_exit(refused, 2);
  check_contains(refused.err, "which is no low-rank matrix");
  check_contains(refused.err, "give that (--model)");
  CHECK(!fs::exists(scratch / "out"));
  check_exit(run_graft(combine(scratch / "out", joined(adapters, {"--model", golden(base)}))), 0);
  // Whatever the adapters are called.
  check_exit(run_graft(combine(scratch / "named",
                               {"--model", golden(base), "--adapter", "combined=" + at(one),
                                "--adapter", "default=" + at(other)})),
             0);
  CHECK(snapshot(scratch / "named").size() == 3);
}

TEST_CASE("combine: wrong settings are refused by name") {
  const TemporaryFolder scratch;
  const auto refused = [&](const Arguments& more, const char* part) {
    const CommandResult result = run_graft(
        combine(scratch / "out", joined({"--adapter", at(one), "--adapter", at(other)}, more)));
    check_exit(result, 2);
    check_contains(result.err, part);
    CHECK(!fs::exists(scratch / "out"));
  };
  refused({"--method", "tie"}, "did you mean 'ties'?");
  refused({"--method", "ties"}, "density is not given");
  refused({"--method", "ties", "--density", "0"}, "--density");
  refused({"--majority-sign", "most"}, "total or frequency expected");
  refused({"--adapter", at(one)}, "two adapters are called 'q_v'; give them names");
}

TEST_CASE("diff: two adapters, or one, in a table or as JSON") {
  const auto found = json_of(run_graft({"diff", at(one), at(other), "--json"}));
  CHECK(found["adapters"][1] == at(other));
  CHECK(found["modules"].size() == 14);
  CHECK(found["all"]["cosine"].get<double>() < 1);
  CHECK(found["modules"][0]["a"].is_null());  // of q_v, which has not this layer
  CHECK(found["modules"][0]["b"]["rank"] == 4);
  const CommandResult table = run_graft({"diff", at(one), at(other)});
  check_exit(table, 0);
  check_contains(table.out, "cosine");
  check_contains(table.out, "model.layers.1.self_attn.v_proj");
  const CommandResult alone = run_graft({"diff", at("peft_files/modules_to_save")});
  check_exit(alone, 0);
  check_contains(alone.err, "no low-rank matrices");
  CHECK(alone.out.find("cosine") == std::string::npos);
  const CommandResult bias = run_graft({"diff", at("peft_files/lora_bias")});
  check_contains(bias.err, "lora_B.bias; they are not compared");
  check_exit(run_graft({"diff", at(one), at(one), at(one)}), 2);
  check_exit(run_graft({"diff"}), 2);
}

TEST_CASE("diff: adapters that depend on the model need it") {
  const std::string dora = at("peft_variants/dora"), pissa = at("peft_variants/pissa");
  const CommandResult refused = run_graft({"diff", dora, pissa});
  check_exit(refused, 2);
  check_contains(refused.err, "made with use_dora");
  check_contains(refused.err, "(--model)");
  const CommandResult result =
      run_graft({"diff", dora, pissa, "--model", golden("models/untied"), "--json"});
  const auto found = json_of(result);
  CHECK(result.err.empty());
  CHECK(found["modules"].size() == 4);
  for (const auto& module : found["modules"]) {
    CHECK(!module["a"].contains("rank"));
    CHECK(module["b"]["rank"] == 4);  // B A, and what was taken out
  }
}

TEST_CASE("diff: an adapter that took a part out of the model, and the same on the whole model") {
  const TemporaryFolder scratch;
  const Arguments pissa = {"--init-lora-weights", "pissa"};
  check_exit(run_graft(joined(short_run(scratch / "taken"), pissa)), 0);
  check_exit(
      run_graft(joined(joined(short_run(scratch / "whole"), pissa), {"--subtract-mutated-init"})),
      0);
  const auto found = json_of(
      run_graft({"diff", scratch / "taken", scratch / "whole", "--model", golden(base), "--json"}));
  for (const auto& module : found["modules"]) {
    CHECK(module["difference"].get<double>() < 1e-5 * module["a"]["norm"].get<double>());
    CHECK(module["cosine"].get<double>() == doctest::Approx(1));
    CHECK(module["b"]["rank"] == 8);
  }
}

TEST_CASE("several adapters: names, scales and sums") {
  const TemporaryFolder scratch;
  const Tensor plain = command_logits(scratch, golden(base));
  const Tensor once = adapted_logits(scratch, golden(base), {at(one)});
  CHECK(relative_difference(adapted_logits(scratch, golden(base), {at(one, "@0")}), plain) == 0);
  CHECK(relative_difference(
            adapted_logits(scratch, golden(base), {"x=" + at(one, "@0.5"), "y=" + at(one, "@0.5")}),
            once) < 1e-5);
  // A folder whose name looks like more than a folder is one.
  fs::copy(golden(one), scratch / "a=b@2");
  CHECK(relative_difference(adapted_logits(scratch, golden(base), {scratch / "a=b@2"}), once) == 0);
}

TEST_CASE("several adapters: generate and eval use them as a merged model does") {
  const TemporaryFolder scratch;
  const std::string model = data("models/stories260k/hf");
  std::ofstream(scratch / "data.jsonl") << "{\"text\": \"Once upon a time a robot ate soup.\"}\n"
                                        << "{\"text\": \"Lily saw a blue whale at sea.\"}\n";
  Arguments adapters;
  for (const auto& [name, seed, scale] :
       {std::tuple("poet", "1", "@1.5"), std::tuple("pirate", "2", "@-0.5")}) {
    check_exit(
        run_graft({"train", "--model", model, "--data", scratch / "data.jsonl", "--out",
                   scratch / name, "--max-steps", "6", "--learning-rate", "0.02", "--seed", seed}),
        0);
    adapters = joined(adapters, {"--adapter", concat(name, "=", (scratch / name).string(), scale)});
  }
  const fs::path merged = scratch / "merged";
  check_exit(run_graft(joined({"merge", "--model", model, "--out", merged}, adapters)), 0);
  const auto loss = [&](const fs::path& of, const Arguments& more) {
    return json_of(run_graft(
        joined({"eval", "--model", of, "--data", scratch / "data.jsonl", "--json"}, more)))["loss"]
        .get<double>();
  };
  // Sums in two orders, in f32.
  CHECK(loss(model, adapters) == doctest::Approx(loss(merged, {})).epsilon(1e-5));
  CHECK(std::fabs(loss(model, adapters) / loss(model, {}) - 1) > 1e-2);
  const auto text = [&](const fs::path& of, const Arguments& more) {
    return json_of(run_graft(joined({"generate", "--model", of, "--prompt", "Once upon a time",
                                     "--raw", "--max-new-tokens", "24", "--json"},
                                    more)))["text"];
  };
  CHECK(text(model, adapters) == text(merged, {}));
  CHECK(text(model, adapters) != text(model, {}));
}

TEST_CASE("several adapters: chat chooses among them") {
  const TemporaryFolder scratch;
  const std::string model = data("models/stories260k/hf");
  std::ofstream(scratch / "data.jsonl") << "{\"text\": \"Once upon a time a robot ate soup.\"}\n";
  for (const char* name : {"poet", "pirate"})
    check_exit(run_graft({"train", "--model", model, "--data", scratch / "data.jsonl", "--out",
                          scratch / name, "--max-steps", "1"}),
               0);
  CommandOptions options;
  options.input =
      "/adapter\n/adapter poet\n/adapter off\n/adapter poet pirate\n/adapter pirat\n/exit\n";
  const CommandResult result = run_graft(
      {"chat", "--model", model, "--adapter", scratch / "poet", "--adapter", scratch / "pirate"},
      options);
  check_exit(result, 0);
  for (const char* part : {"you (poet + pirate)> ", "adapters: poet, pirate\n", "you (poet)> ",
                           "you (base)> ", "adapter \"pirat\" does not exist"})
    check_contains(result.err, part);
}
