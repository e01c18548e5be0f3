#include "graft/tests/faults/faults.h"

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "graft/train/checkpoint.h"

namespace graft::test {
namespace {

namespace fs = std::filesystem;

Arguments under_strace(const Arguments& options, const Arguments& graft) {
  const char* command = std::getenv("GRAFT_COMMAND");
  return joined(joined(options, {fs::absolute(command == nullptr ? "" : command)}), graft);
}

}  // namespace

int64_t rounds(int64_t few, int64_t all) {
  return std::getenv("GRAFT_TEST_LONG") != nullptr ? all : few;
}

void report(const std::string& fault, const std::string& counts) {
  std::cout << "[fault] " << fault << ": " << counts << std::endl;
}

Arguments saving_run(const fs::path& out, int64_t steps) {
  return joined(small_run(out), {"--max-steps", std::to_string(steps), "--batch-size", "2",
                                 "--grad-accum", "3", "--packing", "--save-steps", "1"});
}

int64_t newest_step(const fs::path& out) {
  const train::CheckpointSearch search = train::find_checkpoints(out / "checkpoints");
  for (const train::DamagedCheckpoint& damaged : search.damaged)
    FAIL_CHECK(damaged.folder.string(), ": ", damaged.problem);
  return search.valid.empty() ? 0 : search.valid.front().step;
}

void check_same_run(const fs::path& undisturbed, const fs::path& run) {
  CHECK(content_of(run / "adapter_model.safetensors") ==
        content_of(undisturbed / "adapter_model.safetensors"));
  CHECK(steps_of(run) == steps_of(undisturbed));
  const int64_t last = newest_step(undisturbed);
  CHECK(newest_step(run) == last);
  const std::string optimizer =
      "checkpoints/step-" + std::to_string(last) + "/optimizer.safetensors";
  CHECK(content_of(run / optimizer) == content_of(undisturbed / optimizer));
  for (const auto& [name, content] : snapshot(run))
    CHECK_MESSAGE(name.find(".tmp-") == std::string::npos, name);
}

void copy_up_to(const fs::path& finished, int64_t steps, const fs::path& copy) {
  fs::copy(finished, copy, fs::copy_options::recursive);
  fs::remove(copy / "adapter_model.safetensors");
  for (int64_t step = newest_step(finished); step > steps; --step)
    fs::remove_all(copy / "checkpoints" / ("step-" + std::to_string(step)));
}

std::vector<std::string> Traced::calls(const std::string& names, const Arguments& graft) {
  if (!fs::exists(program))
    skip("strace is not installed");
  const TemporaryFolder folder;
  const CommandResult result = run_graft(
      under_strace({"-y", "-s", "0", "-o", folder / "log", "-e", "trace=" + names}, graft),
      {.program = program});
  if (result.exit_code == 1 && result.err.find("ptrace") != std::string::npos)
    skip("this user may not trace processes");
  check_exit(result, 0);
  std::vector<std::string> lines;
  std::istringstream log(content_of(folder / "log"));
  for (std::string line; std::getline(log, line);)
    if (line.find('(') != std::string::npos)  // not how it ended
      lines.push_back(line);
  return lines;
}

CommandResult Traced::injected(const std::string& name, int64_t number, const std::string& what,
                               const Arguments& graft) {
  return run_graft(under_strace({"-o", "/dev/null", "-e", "trace=" + name, "-e",
                                 concat("inject=", name, ":", what, ":when=", number)},
                                graft),
                   {.program = program});
}

}  // namespace graft::test
