// A file system of a few bytes, to be filled up.
#pragma once

#include <functional>
#include <sched.h>
#include <string>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "graft/tests/support/test.h"

namespace graft::test {

/// Runs `action(folder)` in a child process where `folder` is an empty file system of `nbytes`, and
/// returns the text it returns. The mount is the child's own and goes with it. Skips the test case
/// where this user may not mount.
inline std::string on_small_disk(
    int64_t nbytes, const std::function<std::string(const std::filesystem::path&)>& action) {
  const TemporaryFolder folder;
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::string answer = "?";
    const std::string size = "size=" + std::to_string(nbytes);
    const bool mounted = unshare(CLONE_NEWNS) == 0 &&
                         mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                         mount("graft", folder.path().c_str(), "tmpfs", 0, size.c_str()) == 0;
    try {
      if (mounted)
        answer = "!" + action(folder.path());
    } catch (const std::exception& error) {
      answer = std::string("!unexpected: ") + error.what();
    }
    const bool told = write(ends[1], answer.data(), answer.size()) >= 0;
    _exit(told ? 0 : 1);
  }
  close(ends[1]);
  std::string answer;
  char buffer[4096];
  for (ssize_t count; (count = read(ends[0], buffer, sizeof(buffer))) > 0;)
    answer.append(buffer, static_cast<size_t>(count));
  close(ends[0]);
  waitpid(child, nullptr, 0);
  if (answer == "?")
    skip("this user may not mount a file system");
  REQUIRE(answer.starts_with("!"));
  return answer.substr(1);
}

}  // namespace graft::test
