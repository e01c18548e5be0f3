#include <cmath>
#include <fstream>
#include <set>

#include "graft/io/file.h"
#include "graft/tests/train/run.h"
#include "graft/train/checkpoint.h"
#include "graft/train/manifest.h"

namespace graft::train {
namespace {

constexpr int64_t plenty = int64_t{1} << 30;

/// A small optimizer over two parameters, and a store for them.
struct SmallStore {
  explicit SmallStore(const std::filesystem::path& folder, int64_t keep = 3)
      : adamw({{"a", Variable(test::random_tensor({4, 3}, 1), true)},
               {"b", Variable(test::random_tensor({5}, 2), true)}}),
        file(adamw.parameters()),
        store(folder, file, {.keep = keep, .fingerprint = {{"data", "some"}}}) {}

  /// Changes all numbers, as a step of training does.
  void step(uint64_t seed) {
    adamw.step({test::random_tensor({4, 3}, seed), test::random_tensor({5}, seed)});
  }
  CheckpointInfo save(int64_t step, int64_t best_step = -1) {
    TrainerState state{.step = step, .best_step = best_step};
    const CheckpointInfo info = store.save(state, adamw);
    store.prune(state);
    return info;
  }

  optim::AdamW adamw;
  ParameterFile file;
  CheckpointStore store;
};

std::vector<int64_t> valid_steps(const std::filesystem::path& folder) {
  std::vector<int64_t> steps;
  for (const CheckpointInfo& checkpoint : find_checkpoints(folder).valid)
    steps.push_back(checkpoint.step);
  return steps;
}

void overwrite(const std::filesystem::path& path, const std::string& content) {
  std::filesystem::remove(path);  // a file that is cut to nothing first is synced on some systems
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.insert(entry.path().filename().string());
  return {names.begin(), names.end()};
}

}  // namespace

TEST_CASE("checkpoint: what was saved comes back, bit for bit") {
  const test::TemporaryFolder folder;
  SmallStore first(folder / "run");
  first.step(3);
  const TrainerState state{.step = 12,
                           .sampler = {.epoch = 2, .position = 7},
                           .tokens = 1234567890123,
                           .input_tokens = 5,
                           .evaluated_step = 10,
                           .best_step = 8,
                           .best_loss = 1.0 / 3,
                           .without_best = 1};
  const CheckpointInfo saved = first.store.save(state, first.adamw);
  CHECK(saved.step == 12);
  CHECK(saved.folder == folder / "run/step-12");
  CHECK(names_in(saved.folder) == std::vector<std::string>{"manifest.json", "optimizer.safetensors",
                                                           "parameters.safetensors",
                                                           "trainer.json"});
  SmallStore second(folder / "run");
  const auto found = second.store.newest();
  REQUIRE(found);
  CHECK(second.store.load(*found, second.adamw) == state);
  CHECK(same_bits(numbers_of(second.adamw), numbers_of(first.adamw)));
  CHECK(parse_trainer_state(to_text(state), "here") == state);
}

TEST_CASE("checkpoint: the newest by number is used, and no other folders are looked at") {
  const test::TemporaryFolder folder;
  SmallStore run(folder / "run", 5);
  for (const int64_t step : {9, 10, 100})
    run.save(step);
  for (const char* name : {"step-", "step-007", "step-1x", "step--5", "other", "step-1e9"})
    std::filesystem::create_directory(folder / "run" / name);
  CHECK(run.store.newest()->step == 100);
  CHECK(valid_steps(folder / "run") == std::vector<int64_t>{100, 10, 9});
  CHECK(find_checkpoints(folder / "run").damaged.empty());
  CHECK(find_checkpoints(folder / "nowhere").valid.empty());
}

TEST_CASE("checkpoint: every file cut anywhere is noticed, and the one before is used") {
  const test::TemporaryFolder folder;
  SmallStore run(folder / "run");
  run.save(1);
  const CheckpointInfo newest = run.save(2);
  for (const std::string& name : names_in(newest.folder)) {
    const std::string content = io::read_file(newest.folder / name, plenty);
    for (size_t size = 0; size < content.size(); size += name == "manifest.json" ? 7 : 61) {
      overwrite(newest.folder / name, content.substr(0, size));
      std::vector<DamagedCheckpoint> damaged;
      const auto found =
          run.store.newest([&](const DamagedCheckpoint& problem) { damaged.push_back(problem); });
      REQUIRE(found);
      CHECK(found->step == 1);
      REQUIRE(damaged.size() == 1);
      test::check_contains(damaged[0].problem, name);
    }
    overwrite(newest.folder / name, content);
    CHECK(run.store.newest()->step == 2);
  }
}

TEST_CASE("checkpoint: every flipped bit is noticed, or changes nothing of what is read") {
  const test::TemporaryFolder folder;
  SmallStore run(folder / "run");
  const CheckpointInfo info = run.save(2);
  const Manifest manifest = verified_manifest(info.folder);
  for (const std::string& name : names_in(info.folder)) {
    const std::string content = io::read_file(info.folder / name, plenty);
    int unnoticed = 0;
    for (size_t bit = 0; bit < content.size() * 8; bit += name == "manifest.json" ? 1 : 5) {
      std::string flipped = content;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
      overwrite(info.folder / name, flipped);
      try {
        const Manifest read = verified_manifest(info.folder);
        ++unnoticed;
        CHECK(name == "manifest.json");  // white space between its members
        CHECK(read.step == manifest.step);
        CHECK(read.fingerprint == manifest.fingerprint);
        CHECK(read.files == manifest.files);
      } catch (const FormatError&) {
      }
    }
    CHECK(unnoticed < 200);
    overwrite(info.folder / name, content);
  }
}

TEST_CASE("checkpoint: a missing file, a missing manifest and an empty folder are damage") {
  const test::TemporaryFolder folder;
  SmallStore run(folder / "run");
  run.save(1);
  const CheckpointInfo newest = run.save(2);
  const auto problem = [&] {
    const CheckpointSearch search = find_checkpoints(folder / "run");
    CHECK(search.valid.size() == 1);
    REQUIRE(search.damaged.size() == 1);
    CHECK(search.damaged[0].folder == newest.folder);
    return search.damaged[0].problem;
  };
  std::filesystem::remove(newest.folder / "optimizer.safetensors");
  test::check_contains(problem(), "step-2/optimizer.safetensors: the file is missing");
  std::filesystem::remove(newest.folder / "manifest.json");
  test::check_contains(problem(), "step-2: there is no manifest.json");
  std::filesystem::remove_all(newest.folder);
  std::filesystem::create_directory(newest.folder);
  test::check_contains(problem(), "there is no manifest.json");
  std::filesystem::remove_all(newest.folder);
  overwrite(newest.folder, "a file");
  test::check_contains(problem(), "there is no manifest.json");
}

TEST_CASE("checkpoint: a manifest of another version, or one that leads elsewhere, is refused") {
  const test::TemporaryFolder folder;
  SmallStore run(folder / "run");
  const CheckpointInfo info = run.save(1);
  Manifest manifest = verified_manifest(info.folder);
  manifest.files["../step-1/trainer.json"] = manifest.files["trainer.json"];
  overwrite(info.folder / "manifest.json", to_text(manifest));
  test::check_contains(test::message_of<FormatError>([&] { verify_checkpoint(info.folder); }),
                       "'../step-1/trainer.json' leads out of the folder");
  manifest.files.erase("../step-1/trainer.json");
  manifest.files.erase("trainer.json");
  overwrite(info.folder / "manifest.json", to_text(manifest));
  test::check_contains(test::message_of<FormatError>([&] { verify_checkpoint(info.folder); }),
                       "'trainer.json' is not in it");
  std::string text = to_text(manifest);
  text.replace(text.find("\"version\": 1"), 12, "\"version\": 2");
  overwrite(info.folder / "manifest.json", text);
  test::check_contains(test::message_of<FormatError>([&] { verify_checkpoint(info.folder); }),
                       "version is 2, expected 1; it was written by another version of graft");
}

TEST_CASE("checkpoint: where all are damaged it is an error, never a new beginning") {
  const test::TemporaryFolder folder;
  SmallStore run(folder / "run");
  for (const int64_t step : {1, 2}) {
    const CheckpointInfo info = run.save(step);
    overwrite(info.folder / "trainer.json", "{}");
  }
  int damaged = 0;
  const std::string message = test::message_of<FormatError>(
      [&] { run.store.newest([&](const DamagedCheckpoint&) { ++damaged; }); });
  CHECK(damaged == 2);
  test::check_contains(message, "all 2 checkpoints are damaged, the newest one: ");
  test::check_contains(message, "step-2/trainer.json: the file has 2 bytes");
  CHECK(names_in(folder / "run") == std::vector<std::string>{"step-1", "step-2"});
}

TEST_CASE("checkpoint: the newest stay, and the best one; damaged ones stay and do not count") {
  const test::TemporaryFolder folder;
  SmallStore run(folder / "run", 2);
  run.save(1, 1);
  for (int64_t step = 2; step <= 10; ++step) {
    const CheckpointInfo info = run.save(step, 1);
    if (step == 4 || step == 8)
      overwrite(info.folder / "trainer.json", "{}");
    const std::vector<int64_t> valid = valid_steps(folder / "run");
    if (step > 2 && step != 4 && step != 8)
      CHECK(valid.size() == 3);
    CHECK(valid.back() == 1);
  }
  CHECK(names_in(folder / "run") ==
        std::vector<std::string>{"step-1", "step-10", "step-4", "step-8", "step-9"});
  CHECK(valid_steps(folder / "run") == std::vector<int64_t>{10, 9, 1});
}

TEST_CASE("checkpoint: the one a run was continued from stays") {
  const test::TemporaryFolder folder;
  SmallStore run(folder / "run", 2);
  run.save(1);
  run.store.load(*run.store.newest(), run.adamw);
  for (int64_t step = 2; step <= 5; ++step)
    run.save(step);
  CHECK(valid_steps(folder / "run") == std::vector<int64_t>{5, 4, 1});
}

TEST_CASE("checkpoint: at least two are kept") {
  const test::TemporaryFolder folder;
  test::check_contains(test::message_of<ConfigError>([&] { SmallStore run(folder / "run", 1); }),
                       "keep is 1, at least 2 expected");
}

TEST_CASE("checkpoint: numbers that are not finite are never saved") {
  const test::TemporaryFolder folder;
  SmallStore run(folder / "run");
  run.save(1);
  Variable weight = run.adamw.parameters()[1].variable;
  weight.mutable_value().data<float>()[2] = std::nanf("");
  test::check_contains(test::message_of<NonFiniteError>([&] { run.save(2); }),
                       "after step 2 the weight 'b' has a NaN or an infinity");
  weight.mutable_value().data<float>()[2] = 0;
  run.adamw.step({Tensor::full({4, 3}, 1e30), Tensor()});  // its square is no f32
  test::check_contains(test::message_of<NonFiniteError>([&] { run.save(2); }),
                       "after step 2 the optimizer state 'exp_avg_sq.a' has");
  CHECK(names_in(folder / "run") == std::vector<std::string>{"step-1"});
}

TEST_CASE("checkpoint: what a killed process left behind is removed at the next start") {
  const test::TemporaryFolder folder;
  std::filesystem::create_directories(folder / "run/.tmp-step-5-999999999");
  SmallStore run(folder / "run");
  CHECK(names_in(folder / "run").empty());
}

TEST_CASE("checkpoint: a weight file of other parameters is refused and changes nothing") {
  const test::TemporaryFolder folder;
  SmallStore run(folder.path());
  run.file.save(folder.path());
  const Variable a(Tensor::zeros({4, 3}), true);
  const Variable b(Tensor::zeros({6}), true);
  ParameterFile other({{"a", a}, {"b", b}});
  test::check_contains(test::message_of<FormatError>([&] { other.load(folder.path()); }),
                       "'b' is f32 (5), f32 (6) expected");
  CHECK(test::same_bits(a.value(), Tensor::zeros({4, 3})));
}

TEST_CASE("checkpoint: an adapter's checkpoint is an adapter, whatever its name") {
  const test::TemporaryFolder folder;
  const auto base = models::load(test::golden("models/untied"));
  for (const std::string name : {"default", "lora_A"}) {
    peft::PeftModel model(*base, {.r = 2, .target_modules = {"q_proj", "lm_head"}}, name);
    AdapterFiles files(model, name);
    std::vector<Tensor> values;
    for (auto [path, variable] : model.trainable_parameters()) {
      variable.set_value(test::random_tensor(variable.shape(), values.size()));
      values.push_back(variable.value());
    }
    files.save(folder / name);
    for (auto [path, variable] : model.trainable_parameters())
      variable.set_value(Tensor::zeros(variable.shape()));
    files.load(folder / name);
    for (size_t i = 0; i < values.size(); ++i)
      CHECK(test::same_bits(model.trainable_parameters()[i].variable.value(), values[i]));
  }
}

TEST_CASE("trainer: a checkpoint that cannot be written is a warning, and the last one an error") {
  const test::TemporaryFolder folder;
  TinyRun run;
  CheckpointStore store(folder / "run", run.files);
  const auto samples = golden_samples(8);
  Watcher watcher;
  // A file where the folder of step 2 has to be made; it goes away before step 4.
  std::filesystem::create_directories(folder / "run");
  overwrite(folder / "run/step-2", "in the way");
  Trainer trainer(run.model, run.adamw, samples, {.max_steps = 4, .save_steps = 2},
                  {.observer = &watcher, .checkpoints = &store});
  trainer.run();
  REQUIRE(watcher.warnings.size() == 1);
  test::check_contains(watcher.warnings[0],
                       "no checkpoint was written after step 2, the run goes on");
  CHECK(valid_steps(folder / "run") == std::vector<int64_t>{4});

  TinyRun other;
  CheckpointStore blocked(folder / "blocked", other.files);
  std::filesystem::create_directories(folder / "blocked");
  overwrite(folder / "blocked/step-1", "in the way");
  Trainer last(other.model, other.adamw, samples, {.max_steps = 1}, {.checkpoints = &blocked});
  test::message_of<IoError>([&] { last.run(); });
}

TEST_CASE("trainer: a NaN leaves the checkpoints that are there, and they are finite") {
  const test::TemporaryFolder folder;
  TinyRun run;
  CheckpointStore store(folder / "run", run.files);
  const auto samples = golden_samples(8);
  Watcher watcher;
  watcher.after_step = [&](const StepRecord& step) {
    Variable weight = run.adamw.parameters()[0].variable;
    if (step.step == 3)
      weight.mutable_value().data<float>()[0] = std::nanf("");
  };
  Trainer trainer(run.model, run.adamw, samples, {.max_steps = 10, .save_steps = 1},
                  {.observer = &watcher, .checkpoints = &store});
  test::message_of<NonFiniteError>([&] { trainer.run(); });
  CHECK(valid_steps(folder / "run") == std::vector<int64_t>{2, 1});
  store.load(*store.newest(), run.adamw);
  for (const Tensor& tensor : numbers_of(run.adamw)) {
    for (const double value : tensor.to_vector())
      CHECK(std::isfinite(value));
  }
}

TEST_CASE("trainer: a wish to save is obeyed after the step, and the run goes on") {
  const test::TemporaryFolder folder;
  TinyRun run;
  CheckpointStore store(folder / "run", run.files);
  const auto samples = golden_samples(8);
  Watcher watcher;
  watcher.after_step = [&](const StepRecord& step) {
    watcher.wish = step.step == 2 ? Request::save : Request::none;
  };
  Trainer trainer(run.model, run.adamw, samples, {.max_steps = 4},
                  {.observer = &watcher, .checkpoints = &store});
  CHECK(trainer.run().end == RunEnd::completed);
  CHECK(valid_steps(folder / "run") == std::vector<int64_t>{4, 2});
  REQUIRE(watcher.checkpoints.size() == 2);
  CHECK(watcher.checkpoints[0].step == 2);
  CHECK(watcher.checkpoints[0].bytes > 1000);
  CHECK(watcher.phases ==
        std::vector<Phase>{Phase::training, Phase::saving, Phase::training, Phase::saving});
}

}  // namespace graft::train
