// F8, F9: more than one process at the same files.
#include <atomic>
#include <thread>
#include <vector>

#include "graft/io/safetensors.h"
#include "graft/tests/faults/faults.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

TEST_CASE("F8: who reads a file while it is replaced has one version of it, and never an older") {
  const TemporaryFolder folder;
  const fs::path file = folder / "adapter_model.safetensors";
  constexpr int64_t numbers = 2000;
  const auto write = [&](double version) {
    const Tensor tensor = Tensor::full({numbers}, version);
    io::write_safetensors(file, std::vector<io::NamedTensor>{{"a", tensor}, {"b", tensor}});
  };
  write(0);
  std::atomic<bool> finished = false;
  std::atomic<int64_t> reads = 0, mixed = 0, older = 0, refused = 0;
  const auto read = [&](io::Access access) {
    for (double before = 0; !finished; ++reads) {
      try {
        const io::SafetensorsFile open(file, access);
        const std::vector<double> a = open.load("a").to_vector(), b = open.load("b").to_vector();
        mixed += a != std::vector<double>(numbers, a[0]) || a != b;
        older += a[0] < before;
        before = a[0];
      } catch (const Error&) {
        ++refused;
      }
    }
  };
  std::vector<std::jthread> readers;
  for (int i = 0; i < 8; ++i)
    readers.emplace_back(read, i % 2 == 0 ? io::Access::map : io::Access::read);
  const int64_t versions = rounds(60, 500);
  for (int64_t version = 1; version <= versions; ++version)
    write(static_cast<double>(version));
  finished = true;
  readers.clear();
  CHECK(refused == 0);
  CHECK(mixed == 0);
  CHECK(older == 0);
  CHECK(reads > versions);
  report("F8", concat(versions, " replacements under ", reads.load(), " reads by 8 readers"));
}

TEST_CASE("F9: of two runs in one folder the second is refused, and the first goes on") {
  const TemporaryFolder scratch;
  const fs::path whole = scratch / "whole";
  constexpr int64_t steps = 60;
  check_exit(run_graft(saving_run(whole, steps)), 0);
  const int64_t tries = rounds(3, 20);
  for (int64_t round = 0; round < tries; ++round) {
    const fs::path out = scratch / concat("out-", round);
    RunningCommand first(saving_run(out, steps));
    first.wait_for_lines(out / "log.jsonl", 1 + round % 5);
    const CommandResult second =
        run_graft(joined(saving_run(out, steps), {round % 2 == 0 ? "--resume" : "--overwrite"}));
    check_exit(second, 2);
    check_contains(second.err, "another run is writing there");
    check_exit(first.finish(), 0);
    check_same_run(whole, out);
  }
  report("F9", concat(tries, " second runs refused, the first ones to the byte what they were"));
}
