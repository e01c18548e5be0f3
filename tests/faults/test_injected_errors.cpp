// F3: system calls that fail while a run saves.
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "graft/tests/faults/faults.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

struct Fault {
  const char* call;
  const char* error;
};
constexpr std::array faults{
    Fault{"write", "ENOSPC"},     Fault{"write", "EIO"},      Fault{"fallocate", "ENOSPC"},
    Fault{"fsync", "EIO"},        Fault{"rename", "EXDEV"},   Fault{"rename", "EACCES"},
    Fault{"renameat2", "EINVAL"}, Fault{"mkdir", "ENOSPC"},   Fault{"openat", "EMFILE"},
    Fault{"openat", "EACCES"},    Fault{"unlinkat", "EROFS"},
};
// Calls that a signal interrupts are made again.
constexpr std::array interruptions{Fault{"write", "EINTR"}, Fault{"fsync", "EINTR"}};

constexpr const char* loader_message = "error while loading shared libraries";

/// The numbers, from 1, of a run's calls of that name on files in `folder`.
std::vector<int64_t> calls_in(const fs::path& folder, const std::string& call,
                              const Arguments& arguments) {
  const std::vector<std::string> lines = Traced::calls(call, arguments);
  std::vector<int64_t> numbers;
  for (int64_t number = 1; number <= std::ssize(lines); ++number)
    if (lines[static_cast<size_t>(number) - 1].find(folder.string() + "/") != std::string::npos)
      numbers.push_back(number);
  return numbers;
}

}  // namespace

TEST_CASE("F3: whichever system call fails, a run says so and keeps what was saved") {
  const TemporaryFolder scratch;
  const fs::path whole = scratch / "whole", out = scratch / "out";
  check_exit(run_graft(saving_run(whole, 3)), 0);
  const Arguments go_on = {"train", "--resume", "--out", out};
  int64_t injected = 0, refused = 0;
  for (const Fault& fault : faults) {
    copy_up_to(whole, 2, out);
    const int64_t count = std::ssize(Traced::calls(fault.call, go_on));
    const int64_t stride = rounds(1 + count / 5, 1);
    for (int64_t number = 1; number <= count; number += stride) {
      CAPTURE(concat(fault.call, " ", number, ": ", fault.error));
      fs::remove_all(out);
      copy_up_to(whole, 2, out);
      const CommandResult result =
          Traced::injected(fault.call, number, concat("error=", fault.error), go_on);
      ++injected;
      const bool not_begun = result.err.find(loader_message) != std::string::npos;
      if (result.exit_code != 0 && !not_begun) {
        ++refused;
        check_exit(result, 4);
        check_contains(result.err, "graft: error: ");
      }
      // Where it goes on all the same, nothing is missing; and what was not brought to the disk may
      // be missing after the next power cut.
      if (result.exit_code == 0)
        check_same_run(whole, out);
      if (std::string_view(fault.call) == "fsync")
        CHECK(result.exit_code == 4);
      CHECK(newest_step(out) >= 2);
      for (const auto& [name, content] : snapshot(out))
        CHECK_MESSAGE(name.find(".tmp-") == std::string::npos, name);
      check_exit(run_graft(go_on), 0);
      check_same_run(whole, out);
    }
    fs::remove_all(out);
  }
  CHECK(refused > 5);
  report("F3", concat(injected, " system calls made to fail, ", refused,
                      " of them ended the run with exit code 4, nothing lost"));
}

TEST_CASE("F3: system calls on the files of a run that a signal interrupts are made again") {
  const TemporaryFolder scratch;
  const fs::path whole = scratch / "whole", out = scratch / "out";
  check_exit(run_graft(saving_run(whole, 3)), 0);
  const Arguments go_on = {"train", "--resume", "--out", out};
  for (const Fault& fault : interruptions) {
    fs::remove_all(out);
    copy_up_to(whole, 2, out);
    const std::vector<int64_t> numbers = calls_in(out, fault.call, go_on);
    CHECK(numbers.size() > 5);
    const auto stride = static_cast<size_t>(rounds(1 + std::ssize(numbers) / 5, 1));
    int64_t interrupted = 0;
    for (size_t i = 0; i < numbers.size(); i += stride) {
      CAPTURE(concat(fault.call, " ", numbers[i]));
      fs::remove_all(out);
      copy_up_to(whole, 2, out);
      check_exit(Traced::injected(fault.call, numbers[i], concat("error=", fault.error), go_on), 0);
      check_same_run(whole, out);
      ++interrupted;
    }
    report("F3", concat(interrupted, " calls of ", fault.call, " interrupted and made again"));
  }
}
