// Adapters that tokens invoke (aLoRA), through the command: used, shown and refused.

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/io/safetensors.h"
#include "graft/models/load.h"
#include "graft/peft/peft_model.h"
#include "graft/tests/workflows/workflow.h"
#include "graft/text/tokenizer.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

constexpr const char* invoking = "Once upon a time";
constexpr const char* other = "Lily";

/// An adapter on stories260k that "a time" invokes, at the end of a text.
void save_adapter(const fs::path& folder) {
  const fs::path model = data("models/stories260k/hf");
  const auto base = models::load(model);
  const std::vector<int64_t> ids = text::Tokenizer::load(model).encode(invoking);
  peft::PeftModel adapted(*base, {.target_modules = {"q_proj", "v_proj", "down_proj"},
                                  .lora_alpha = 64,
                                  .init_lora_weights = peft::LoraInit::random,
                                  .alora_invocation_tokens = {{ids.end()[-2], ids.end()[-1]}}});
  adapted.save_pretrained(folder);
}

Arguments generate(const Arguments& more) {
  return joined(
      {"generate", "--model", data("models/stories260k/hf"), "--raw", "--max-new-tokens", "8"},
      more);
}

}  // namespace

TEST_CASE("alora: generate follows the invocation, and says which prompts have none") {
  const TemporaryFolder scratch;
  save_adapter(scratch / "invoked");
  const Arguments adapter = {"--adapter", scratch / "invoked"};
  const CommandResult used = run_graft(generate(joined(adapter, {"--prompt", invoking})));
  check_exit(used, 0);
  CHECK(used.err == "");
  CHECK(used.out != run_graft(generate({"--prompt", invoking})).out);
  const CommandResult unused = run_graft(generate(joined(adapter, {"--prompt", other})));
  check_exit(unused, 0);
  CHECK(unused.out == run_graft(generate({"--prompt", other})).out);
  check_contains(unused.err,
                 "the adapter default changes nothing for this prompt: the tokens that");
  std::ofstream(scratch / "p.txt") << invoking << "\n" << other << "\n" << invoking << "\n";
  const CommandResult several =
      run_graft(generate(joined(adapter, {"--prompts", scratch / "p.txt", "--json"})));
  check_contains(several.err, "the adapter default changes nothing for 1 of 3 prompts");
  const auto results = json_of(several)["results"];
  CHECK(results[0]["text"].get<std::string>() + "\n" == used.out);
  CHECK(results[1]["text"].get<std::string>() + "\n" == unused.out);
}

TEST_CASE("alora: chat says of each message whether it invokes the adapter") {
  const TemporaryFolder scratch;
  save_adapter(scratch / "invoked");
  CommandOptions options;
  options.input =
      std::string(other) + "\n/adapter off\n" + other + "\n/adapter on\n" + invoking + "\n/exit\n";
  const CommandResult result =
      run_graft({"chat", "--model", data("models/stories260k/hf"), "--adapter", scratch / "invoked",
                 "--max-new-tokens", "4"},
                options);
  check_exit(result, 0);
  const std::string note = "changes nothing for this prompt";
  const size_t first = result.err.find(note);
  CHECK(first != std::string::npos);
  CHECK(result.err.find(note, first + 1) == std::string::npos);
}

TEST_CASE("alora: logits and eval compute what PEFT does") {
  const TemporaryFolder scratch;
  const io::SafetensorsFile answers(golden("alora.safetensors"), io::Access::read);
  const Tensor ids = answers.load("input_ids");
  std::ofstream lines(scratch / "ids.jsonl");
  for (int64_t row = 0; row < ids.dim(0); ++row) {
    const Tensor text = ids.slice(0, row, row + 1).contiguous();
    lines << nlohmann::json{{"input_ids", std::vector<int64_t>(text.span<int64_t>().begin(),
                                                               text.span<int64_t>().end())}}
          << "\n";
  }
  lines.close();
  const Arguments model = {"--model", golden("models/gqa"), "--adapter", golden("alora/three")};
  check_exit(run_graft(joined({"logits", "--data", scratch / "ids.jsonl", "--out",
                               scratch / "logits.safetensors"},
                              model)),
             0);
  const io::SafetensorsFile logits(scratch / "logits.safetensors", io::Access::read);
  const Tensor expected = answers.load("three");
  for (int64_t row = 0; row < ids.dim(0); ++row)
    CHECK(relative_difference(logits.load(concat("logits.", row)),
                              expected.slice(0, row, row + 1).contiguous().view({ids.dim(1), -1})) <
          2e-5);
  const auto loss = json_of(run_graft(
      joined({"eval", "--data", scratch / "ids.jsonl", "--compare-base", "--json"}, model)));
  CHECK(loss["loss"] != loss["base"]["loss"]);
}

TEST_CASE("alora: inspect shows the tokens") {
  const CommandResult shown = run_graft({"inspect", golden("alora/three")});
  check_exit(shown, 0);
  check_contains(shown.out, "tokens 5, 6, 7 (aLoRA)");
  const auto json = json_of(run_graft({"inspect", golden("alora/three"), "--json"}));
  CHECK(json["alora_invocation_tokens"] == std::vector<int64_t>{5, 6, 7});
  CHECK(!json_of(run_graft({"inspect", golden("alora/plain"), "--json"}))
             .contains("alora_invocation_tokens"));
}

TEST_CASE("alora: verbs that cannot do with it say so and write nothing") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  const Arguments model = {"--model", golden("models/gqa")};
  const auto refused = [&](const Arguments& arguments, const std::string& problem) {
    const CommandResult result = run_graft(arguments);
    check_exit(result, 2);
    check_contains(result.err, problem);
    check_contains(result.err, "alora_invocation_tokens");
    CHECK(fs::is_empty(scratch.path()));
  };
  const Arguments adapter = {"--adapter", golden("alora/one")};
  refused(joined(joined({"merge", "--out", out}, model), adapter), "merge: \"default\" has");
  const Arguments combine =
      joined({"combine", "--out", out, "--adapter", golden("alora/plain")}, adapter);
  refused(combine, "combine: \"one\" has");
  refused(joined(combine, model), "combine: \"one\" has");
  refused(
      joined({"convert", "--from", golden("alora/one"), "--out", out.string() + ".gguf"}, model),
      "graft writes no such adapter as GGUF");
  refused(joined(joined({"train", "--data", golden("lora_runs/data.jsonl"), "--out", out}, model),
                 adapter),
          "graft uses such adapters and does not train them");
}
