#include <fstream>

#include "graft/cli/run_folder.h"
#include "graft/tests/support/command.h"
#include "graft/text/tokenizer.h"

using namespace graft;
using namespace graft::cli;
namespace fs = std::filesystem;

namespace {

std::string refusal(const fs::path& folder, OutPolicy policy,
                    const std::vector<fs::path>& inputs = {}) {
  return test::message_of<ConfigError>([&] { check_out_folder(folder, policy, inputs); });
}

void write(const fs::path& file, const std::string& text = "x") {
  fs::create_directories(file.parent_path());
  std::ofstream(file) << text;
}

}  // namespace

TEST_CASE("out folder: one that is not empty needs --resume or --overwrite") {
  const test::TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  check_out_folder(out, OutPolicy::must_be_empty, {});
  fs::create_directory(out);
  check_out_folder(out, OutPolicy::must_be_empty, {});
  for (const char* name : {"a", "b", "c", "d"})
    write(out / name);
  const std::string message = refusal(out, OutPolicy::must_be_empty);
  test::check_contains(message, "is not empty (a, b, c and 1 more)");
  test::check_contains(message, "--resume");
  test::check_contains(message, "--overwrite");
  const std::string no_run = refusal(out, OutPolicy::no_files);
  test::check_contains(no_run, "add --overwrite to replace the model in it");
  CHECK(no_run.find("--resume") == std::string::npos);
  for (const OutPolicy policy : {OutPolicy::resume, OutPolicy::overwrite})
    test::check_contains(refusal(out, policy), "holds no run of graft (a, b, c and 1 more)");
  check_out_folder(out, OutPolicy::replace_files, {});
  write(out / "run.json");
  check_out_folder(out, OutPolicy::resume, {});
  check_out_folder(out, OutPolicy::overwrite, {});
  test::check_contains(refusal(out / "a", OutPolicy::overwrite), "is a file");
}

TEST_CASE("out folder: one that holds an input of the run is refused whatever the flags") {
  const test::TemporaryFolder scratch;
  const fs::path model = scratch / "model";
  write(model / "config.json");
  for (const OutPolicy policy :
       {OutPolicy::must_be_empty, OutPolicy::resume, OutPolicy::overwrite}) {
    test::check_contains(refusal(model, policy, {model}), "is an input of this run");
    test::check_contains(refusal(scratch.path(), policy, {model}), "is an input of this run");
  }
  fs::create_directory_symlink(model, scratch / "link");
  test::check_contains(refusal(scratch / "link", OutPolicy::overwrite, {model}), "is an input");
  check_out_folder(model / "out", OutPolicy::must_be_empty, {model});  // inside is no harm
  check_out_folder(scratch / "model-2", OutPolicy::must_be_empty, {model});
}

TEST_CASE("out folder: overwriting removes what graft wrote and nothing else") {
  const test::TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  for (const char* name : {"adapter_config.json", "run.json", "model-00001-of-00002.safetensors",
                           "model.safetensors", "model.safetensors.index.json", "config.json",
                           "adapter_model.safetensors", "README.md", "log.jsonl", "run.toml",
                           "checkpoints/step-3/manifest.json", "checkpoints/mine", "notes.txt"})
    write(out / name);
  for (const std::string_view name : text::Tokenizer::file_names())
    write(out / name);
  { const RunFolder folder(out, OutPolicy::overwrite); }
  CHECK(fs::exists(out / "notes.txt"));
  CHECK(fs::exists(out / "checkpoints/mine"));
  CHECK(test::snapshot(out).size() == 3);
}

TEST_CASE("out folder: a second run in the same folder is refused") {
  const test::TemporaryFolder scratch;
  const RunFolder first(scratch / "out", OutPolicy::must_be_empty);
  const std::string message = test::message_of<ConfigError>(
      [&] { const RunFolder second(scratch / "out", OutPolicy::resume); });
  test::check_contains(message, "another run is writing there");
}

TEST_CASE("out folder: one that was made for nothing goes again, with its parents") {
  const test::TemporaryFolder scratch;
  fs::create_directory(scratch / "there");
  { const RunFolder folder(scratch / "there/a/b", OutPolicy::must_be_empty); }
  CHECK(test::snapshot(scratch.path()).size() == 1);
  {
    const RunFolder folder(scratch / "there/a/b", OutPolicy::must_be_empty);
    write(scratch / "there/a/c");
  }
  CHECK(test::snapshot(scratch.path()).size() == 3);
  { const RunFolder folder(scratch / "there/a", OutPolicy::resume); }
  CHECK(fs::exists(scratch / "there/a"));
}

TEST_CASE("out file: an input, a file in one, a folder and a place that is none are refused") {
  const test::TemporaryFolder scratch;
  write(scratch / "model/config.json");
  write(scratch / "ids.jsonl");
  const auto refused = [&](const fs::path& file) {
    return test::message_of<ConfigError>([&] {
      check_out_file(file, {scratch / "model", scratch / "ids.jsonl"});
    });
  };
  test::check_contains(refused(scratch / "ids.jsonl"), "is or lies in ");
  test::check_contains(refused(scratch / "model/new"), "which is an input");
  test::check_contains(refused(scratch.path()), "is a folder");
  check_out_file(scratch / "ids.jsonl.2", {scratch / "model", scratch / "ids.jsonl"});
  test::check_contains(
      test::message_of<IoError>([&] { check_out_file(scratch / "none/file", {}); }),
      "there is no folder");
}
