// LoRA fine-tuning from data to answers, through the command and through the library.

#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/io/safetensors.h"
#include "graft/models/generate.h"
#include "graft/models/load.h"
#include "graft/optim/adamw.h"
#include "graft/peft/peft_model.h"
#include "graft/tests/workflows/workflow.h"
#include "graft/text/dataset.h"
#include "graft/train/trainer.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

TEST_CASE("train: writes an adapter, a log, a record and checkpoints, and says so") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  const CommandResult result = run_graft(short_run(out));
  check_exit(result, 0);
  for (const char* part : {"finished: 12 of 12 steps", "validation before", "validation after",
                           "next: graft chat --model"})
    check_contains(result.out, part);
  for (const char* part : {"trainable", "LoRA with rank 4, alpha 32,", "3 samples x 2 = 6 a step",
                           "step  1/12", "validation after step 4"})
    check_contains(result.err, part);
  for (const char* file : {"adapter_config.json", "adapter_model.safetensors", "README.md",
                           "run.json", "run.toml", "log.jsonl", "checkpoints/step-12"})
    CHECK_MESSAGE(fs::exists(out / file), file);
  const auto steps = steps_of(out);
  REQUIRE(steps.size() == 12);
  CHECK(steps.back()["step"] == 12);
  CHECK(steps.back()["loss"].get<double>() < steps.front()["loss"].get<double>());
  CHECK(steps[3].contains("eval_loss"));
  CHECK(!steps[4].contains("eval_loss"));
}

TEST_CASE("train: a data folder's valid.jsonl is the validation data, unless another was chosen") {
  const TemporaryFolder scratch;
  const fs::path data = scratch / "data";
  fs::create_directories(data);
  fs::copy_file(golden("lora_runs/data.jsonl"), data / "train.jsonl");
  fs::copy_file(golden("lora_runs/data.jsonl"), data / "valid.jsonl");
  const Arguments run = {"train",
                         "--model",
                         golden("models/gqa"),
                         "--data",
                         data,
                         "--max-steps",
                         "2",
                         "--eval-steps",
                         "1",
                         "--dtype",
                         "f32",
                         "--json",
                         "--target-modules",
                         "q_proj,v_proj"};
  const auto validated = [&](const Arguments& more, const char* out) {
    const CommandResult result = run_graft(joined(joined(run, more), {"--out", scratch / out}));
    check_exit(result, 0);
    return json_of(result)["validation_after"]["tokens"].get<int64_t>();
  };
  CHECK(validated({}, "a") > validated({"--val-split", "0.1"}, "b"));
}

TEST_CASE("train: the command that is shown next can be typed, whatever the folder's name") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "größe of it's";
  const CommandResult result = run_graft(short_run(out));
  check_exit(result, 0);
  check_contains(result.out, " --adapter '" + (scratch / "größe of it").string() + "'\\''s'\n");
}

TEST_CASE("train: run.json holds settings, checksums and the result") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  check_exit(run_graft(short_run(out)), 0);
  const auto record = nlohmann::json::parse(content_of(out / "run.json"));
  CHECK(record["format_version"] == 1);
  CHECK(record["settings"]["lora-r"] == 4);
  CHECK(record["settings"]["lr-schedule"] == "cosine");
  CHECK(record["settings"]["warmup-steps"].is_null());
  CHECK(!record["settings"].contains("dry-run"));
  check_contains(record["plan"]["model"]["checksum"], "xxh64:");
  check_contains(record["plan"]["data"]["checksum"], "xxh64:");
  CHECK(record["plan"]["data"]["format"] == "input_ids/labels");
  CHECK(record["result"]["end"] == "completed");
  CHECK(record["result"]["validation_after"]["loss"].get<double>() <
        record["validation_before"]["loss"].get<double>());
}

TEST_CASE("train: --json prints exactly one object, and the panel stays off stdout") {
  const TemporaryFolder scratch;
  const CommandResult result = run_graft(joined(short_run(scratch / "out"), {"--json"}));
  check_exit(result, 0);
  const auto json = json_of(result);
  CHECK(json["end"] == "completed");
  CHECK(json["step"] == 12);
  CHECK(json["loss"].is_number());
  CHECK(json["validation_after"]["loss"].get<double>() <
        json["validation_before"]["loss"].get<double>());
}

TEST_CASE("train: the run's own settings file repeats it to the byte") {
  const TemporaryFolder scratch;
  check_exit(run_graft(short_run(scratch / "a")), 0);
  check_exit(run_graft({"train", "--config", scratch / "a" / "run.toml", "--out", scratch / "b"}),
             0);
  CHECK(content_of(scratch / "a" / "adapter_model.safetensors") ==
        content_of(scratch / "b" / "adapter_model.safetensors"));
}

TEST_CASE("train: one thread and two give the same bytes") {
  const TemporaryFolder scratch;
  check_exit(run_graft(joined(short_run(scratch / "a"), {"--threads", "1"})), 0);
  check_exit(run_graft(joined(short_run(scratch / "b"), {"--threads", "2"})), 0);
  CHECK(content_of(scratch / "a" / "adapter_model.safetensors") ==
        content_of(scratch / "b" / "adapter_model.safetensors"));
  CHECK(steps_of(scratch / "a") == steps_of(scratch / "b"));
}

TEST_CASE("train: the dry run prints the plan with its modules and writes nothing") {
  const TemporaryFolder scratch;
  const Arguments arguments = joined(short_run(scratch / "out"), {"--dry-run"});
  const CommandResult result = run_graft(arguments);
  check_exit(result, 0);
  for (const char* part : {"12 steps", "q_proj", "32 -> 16", "nothing was trained or written"})
    check_contains(result.out, part);
  CHECK(!fs::exists(scratch / "out"));
  const auto plan = json_of(run_graft(joined(arguments, {"--json"})));
  CHECK(plan["modules"].size() == 14);
  CHECK(plan["modules"][0]["path"] == "model.layers.0.self_attn.q_proj");
  CHECK(plan["modules"][0]["r"] == 4);
  CHECK(plan["modules"][0]["scale"] == 8.0);
  int64_t parameters = 0;
  for (const auto& module : plan["modules"])
    parameters += module["parameters"].get<int64_t>();
  CHECK(plan["trainable_parameters"] == parameters);
  CHECK(!fs::exists(scratch / "out"));
}

TEST_CASE("train: --max-seq-len cuts samples, and the plan says how many") {
  const TemporaryFolder scratch;
  std::ofstream(scratch / "data.jsonl") << "{\"input_ids\": [1, 2, 3, 4, 5, 6]}\n"
                                        << "{\"input_ids\": [7, 8, 9]}\n";
  const auto plan = [&](const std::string& length) {
    return json_of(run_graft({"train", "--model", golden("models/gqa"), "--data",
                              scratch / "data.jsonl", "--out", scratch / "out", "--dry-run",
                              "--json", "--max-seq-len", length}))["data"];
  };
  CHECK(plan("6")["cut"] == 0);
  CHECK(plan("6")["tokens"] == 9);
  CHECK(plan("4")["cut"] == 1);
  CHECK(plan("4")["tokens"] == 7);
  CHECK(plan("4")["longest"] == 4);
}

TEST_CASE("train: --loss-on decides what is learnt") {
  const TemporaryFolder scratch;
  const fs::path model = data("models/stories260k/hf");
  std::ofstream(scratch / "data.jsonl")
      << "{\"prompt\": \"Once upon a time\", \"completion\": \" a robot ate soup.\"}\n";
  const auto plan = [&](const Arguments& more) {
    return json_of(run_graft(joined({"train", "--model", model, "--data", scratch / "data.jsonl",
                                     "--out", scratch / "out", "--dry-run", "--json"},
                                    more)))["data"];
  };
  const auto usual = plan({}), all = plan({"--loss-on", "all"});
  CHECK(usual["loss_on"] == "completion");
  CHECK(usual["tokens"] == all["tokens"]);
  CHECK(usual["trained_tokens"].get<int64_t>() < all["trained_tokens"].get<int64_t>());
}

TEST_CASE("train: --keep is how many checkpoints stay") {
  const TemporaryFolder scratch;
  check_exit(
      run_graft({"train", "--model", golden("models/gqa"), "--data", golden("lora_runs/data.jsonl"),
                 "--out", scratch / "out", "--max-steps", "8", "--save-steps", "1", "--keep", "5"}),
      0);
  const auto checkpoints = fs::directory_iterator(scratch / "out" / "checkpoints");
  CHECK(std::distance(begin(checkpoints), end(checkpoints)) == 5);
}

TEST_CASE("eval: the adapter that was trained has a lower loss than its base") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  check_exit(run_graft(short_run(out)), 0);
  const Arguments arguments = {"eval", "--model", golden("models/gqa"),           "--adapter",
                               out,    "--data",  golden("lora_runs/data.jsonl"), "--compare-base"};
  const auto both = json_of(run_graft(joined(arguments, {"--json"})));
  CHECK(both["loss"].get<double>() < both["base"]["loss"].get<double>());
  CHECK(both["perplexity"].get<double>() == doctest::Approx(std::exp(both["loss"].get<double>())));
  CHECK(both["tokens"] == both["base"]["tokens"]);
  const CommandResult shown = run_graft(arguments);
  check_exit(shown, 0);
  for (const char* part : {"adapter", "base", "difference", "perplexity"})
    check_contains(shown.out, part);
  // The base alone, evaluated by itself, is the same number.
  const auto base = json_of(run_graft({"eval", "--model", golden("models/gqa"), "--data",
                                       golden("lora_runs/data.jsonl"), "--json"}));
  CHECK(base["loss"] == both["base"]["loss"]);
}

TEST_CASE("train: --adapter continues an adapter with its own settings") {
  const TemporaryFolder scratch;
  check_exit(run_graft(short_run(scratch / "first")), 0);
  const Arguments more = {"train",
                          "--model",
                          golden("models/gqa"),
                          "--adapter",
                          scratch / "first",
                          "--data",
                          golden("lora_runs/data.jsonl"),
                          "--out",
                          scratch / "second",
                          "--max-steps",
                          "3",
                          "--learning-rate",
                          "0"};
  const CommandResult result = run_graft(more);
  check_exit(result, 0);
  check_contains(result.err, "rank 4");
  // With a learning rate of 0 nothing is learnt: what is written is what was read.
  CHECK(content_of(scratch / "first" / "adapter_model.safetensors") ==
        content_of(scratch / "second" / "adapter_model.safetensors"));
}

TEST_CASE("train: --method full writes a model that loads and has learnt") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  const Arguments data = {"--data", golden("lora_runs/data.jsonl")};
  check_exit(run_graft(joined({"train", "--method", "full", "--model", golden("models/gqa"),
                               "--out", out, "--max-steps", "10", "--learning-rate", "0.003"},
                              data)),
             0);
  const auto before =
      json_of(run_graft(joined({"eval", "--model", golden("models/gqa"), "--json"}, data)));
  const auto after = json_of(run_graft(joined({"eval", "--model", out, "--json"}, data)));
  CHECK(after["loss"].get<double>() < before["loss"].get<double>());
  CHECK(!fs::exists(out / "adapter_config.json"));
}

TEST_CASE("train: keep-best writes the weights of the best validation") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  // A rate this high makes the validation loss rise after a few steps.
  Arguments arguments = joined(short_run(out), {"--keep-best", "--json"});
  std::replace(arguments.begin(), arguments.end(), std::string("0.01"), std::string("1.0"));
  std::replace(arguments.begin(), arguments.end(), std::string("4"), std::string("1"));
  const auto result = json_of(run_graft(arguments));
  const int64_t best = result["best"]["step"];
  REQUIRE(best < 12);
  CHECK(result["result_step"] == best);
  CHECK(result["validation_after"]["loss"] == result["best"]["loss"]);
  const std::string step = "step-" + std::to_string(best);
  CHECK(content_of(out / "adapter_model.safetensors") ==
        content_of(out / "checkpoints" / step / "adapter_model.safetensors"));
}

TEST_CASE("train: early stop ends a run that no longer gets better") {
  const TemporaryFolder scratch;
  Arguments arguments = joined(short_run(scratch / "out"), {"--early-stop", "2", "--json"});
  std::replace(arguments.begin(), arguments.end(), std::string("0.01"), std::string("0.3"));
  std::replace(arguments.begin(), arguments.end(), std::string("12"), std::string("200"));
  const auto result = json_of(run_graft(arguments));
  CHECK(result["end"] == "early_stopped");
  CHECK(result["step"].get<int64_t>() < 200);
}

TEST_CASE("library: get_peft_model, Trainer, save_pretrained and from_pretrained as in PEFT") {
  const TemporaryFolder scratch;
  const auto data = text::read_dataset(golden("lora_runs/data.jsonl"), nullptr,
                                       {.max_seq_len = 64, .vocab_size = 96});
  const Tensor ids = Tensor::from(std::vector<int64_t>{5, 17, 60, 3, 42}, {1, 5});
  Tensor trained;
  {
    const auto model = models::load(golden("models/gqa"));
    auto adapted = peft::get_peft_model(
        *model, {.r = 4, .target_modules = {"q_proj", "v_proj"}, .lora_alpha = 8});
    auto adamw = optim::AdamW(adapted.trainable_parameters(), {.lr = 1e-2});
    const double before = train::evaluate(adapted, data.samples)->loss;
    train::Trainer(adapted, adamw, data.samples, {.max_steps = 10}).run();
    CHECK(train::evaluate(adapted, data.samples)->loss < before);
    trained = adapted.logits(ids, {}).value();
    adapted.save_pretrained(scratch / "adapter");
  }
  const auto model = models::load(golden("models/gqa"));
  const Tensor base = model->logits(ids, {}).value();
  auto adapted = peft::PeftModel::from_pretrained(*model, scratch / "adapter");
  CHECK(same_bits(adapted.logits(ids, {}).value(), trained));
  CHECK(!same_bits(trained, base));
  const auto disabled = adapted.disable_adapter();
  CHECK(same_bits(adapted.logits(ids, {}).value(), base));
}
