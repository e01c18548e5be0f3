#include <algorithm>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "graft/io/folder_commit.h"
#include "graft/tests/io/bytes.h"
#include "graft/tests/support/test.h"

namespace graft::io {
namespace {

using test::bytes_of;
using test::check_contains;
using test::message_of;
using test::put_bytes;

std::string names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    names.push_back(std::filesystem::relative(entry.path(), folder).string());
  std::ranges::sort(names);
  std::string result;
  for (const std::string& name : names)
    result += name + ";";
  return result;
}

/// The number of a process that has just ended.
pid_t dead_process() {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0)
    _exit(0);
  waitpid(child, nullptr, 0);
  return child;
}

}  // namespace

TEST_CASE("FolderCommit: the folder is there after the commit and not before") {
  const test::TemporaryFolder folder;
  {
    FolderCommit commit(folder / "runs" / "step-1");
    commit.write("a", "1");
    commit.write("sub/b", [](FileWriter& out) { out.write("2"); });
    put_bytes(commit.path() / "by other means", "3");
    CHECK(commit.path().parent_path() == folder / "runs");
    CHECK(!std::filesystem::exists(folder / "runs" / "step-1"));
    commit.commit();
  }
  CHECK(names_in(folder / "runs") ==
        "step-1;step-1/a;step-1/by other means;step-1/sub;step-1/sub/b;");
  CHECK(bytes_of(folder / "runs" / "step-1" / "sub" / "b") == "2");
}

TEST_CASE("FolderCommit: without a commit nothing stays") {
  const test::TemporaryFolder folder;
  {
    FolderCommit commit(folder / "step-1");
    commit.write("a", "1");
  }
  CHECK(names_in(folder.path()).empty());
  CHECK_THROWS_AS(
      {
        FolderCommit commit(folder / "step-1");
        commit.write("a", [](FileWriter&) { throw ConfigError("enough"); });
      },
      ConfigError);
  CHECK(names_in(folder.path()).empty());
}

TEST_CASE("FolderCommit: replaces a folder of that name as a whole") {
  const test::TemporaryFolder folder;
  std::filesystem::create_directory(folder / "step-1");
  put_bytes(folder / "step-1" / "old", "0");
  {
    FolderCommit commit(folder / "step-1");
    commit.write("new", "1");
    commit.commit();
  }
  CHECK(names_in(folder.path()) == "step-1;step-1/new;");
}

TEST_CASE("FolderCommit: a file of that name is not replaced") {
  const test::TemporaryFolder folder;
  put_bytes(folder / "step-1", "file");
  check_contains(message_of<IoError>([&] {
                   FolderCommit commit(folder / "step-1");
                   commit.commit();
                 }),
                 "step-1: Not a directory");
  CHECK(names_in(folder.path()) == "step-1;");
}

TEST_CASE("FolderCommit: a trailing slash means the same folder, a path without a name none") {
  const test::TemporaryFolder folder;
  FolderCommit commit((folder / "out").string() + "/");
  commit.write("a", "1");
  commit.commit();
  CHECK(names_in(folder.path()) == "out;out/a;");
  check_contains(message_of<IoError>([&] { FolderCommit bad(folder / ".."); }), "ends in a name");
  check_contains(message_of<IoError>([&] { FolderCommit bad("/"); }), "ends in a name");
  put_bytes(folder / "file", "");
  check_contains(message_of<IoError>([&] { FolderCommit bad(folder / "file" / "out"); }),
                 "make folder");
}

TEST_CASE("FolderCommit: errors name the file under its final path") {
  const test::TemporaryFolder folder;
  FolderCommit commit(folder / "step-1");
  commit.write("a", "1");
  check_contains(message_of<IoError>([&] { commit.write("a", "2"); }), "step-1/a: File exists");
}

TEST_CASE("FilesCommit: the files appear with the commit, the superseded go, others stay") {
  const test::TemporaryFolder folder;
  for (const char* name : {"a", "old 1", "old 2", "mine"})
    put_bytes(folder / name, "before");
  const auto is_old = [](std::string_view name) { return name.starts_with("old"); };
  {
    FilesCommit commit(folder.path());
    for (const char* name : {"a", "old 2", "z"})
      put_bytes(commit.path() / name, "after");
    CHECK(bytes_of(folder / "a") == "before");
    commit.commit("a", is_old);
  }
  CHECK(names_in(folder.path()) == "a;mine;old 2;z;");
  for (const char* name : {"a", "old 2", "z"})
    CHECK(bytes_of(folder / name) == "after");
  CHECK(bytes_of(folder / "mine") == "before");
}

TEST_CASE("FilesCommit: without a commit, or where a folder is in the way, nothing is changed") {
  const test::TemporaryFolder folder;
  put_bytes(folder / "old", "before");
  std::filesystem::create_directory(folder / "b");
  { put_bytes(FilesCommit(folder.path()).path() / "a", "after"); }
  const std::string message = message_of<IoError>([&] {
    FilesCommit commit(folder.path());
    for (const char* name : {"a", "b"})
      put_bytes(commit.path() / name, "after");
    commit.commit("b", [](std::string_view) { return true; });
  });
  check_contains(message, "/b: is a folder, expected a file or nothing");
  CHECK(names_in(folder.path()) == "b;old;");
  check_contains(message_of<IoError>([&] { FilesCommit bad(folder / "none"); }), "make folder");
}

TEST_CASE("sweep_temporaries: removes what dead processes left, and nothing else") {
  const test::TemporaryFolder folder;
  const pid_t living = fork();
  REQUIRE(living >= 0);
  if (living == 0) {
    pause();
    _exit(0);
  }
  const std::string dead = std::to_string(dead_process());
  const std::string alive = ".tmp-step-2-" + std::to_string(living);
  std::filesystem::create_directory(folder / (".tmp-step-1-" + dead));
  put_bytes(folder / (".tmp-step-1-" + dead) / "a", "1");
  put_bytes(folder / (".tmp-run.json-" + dead), "1");
  put_bytes(folder / (".tmp-own-" + std::to_string(getpid())), "1");
  std::filesystem::create_directory(folder / alive);
  for (const char* kept : {"step-1", ".tmp-", ".tmp-x", ".tmp-x-", ".tmp-x-12a", ".tmp-x-0",
                           ".tmpx-1", ".tmp-x-99999999999999999999", "tmp-x-1"})
    put_bytes(folder / kept, "kept");
  const std::vector<std::string> removed = sweep_temporaries(folder.path());
  kill(living, SIGKILL);
  waitpid(living, nullptr, 0);
  std::vector<std::string> expected = {".tmp-own-" + std::to_string(getpid()),
                                       ".tmp-run.json-" + dead, ".tmp-step-1-" + dead};
  CHECK(removed == expected);
  CHECK(std::filesystem::exists(folder / alive));
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 10);
  CHECK(sweep_temporaries(folder / "no such folder").empty());
}

TEST_CASE("FolderCommit: a process that is killed while it writes leaves the old folder whole") {
  const test::TemporaryFolder folder;
  {
    FolderCommit commit(folder / "step");
    commit.write("a", std::string(1000, '0'));
    commit.write("b", std::string(1000, '0'));
    commit.commit();
  }
  int broken = 0;
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (char version = '1';; version = version == '9' ? '0' : static_cast<char>(version + 1)) {
        FolderCommit commit(folder / "step");
        commit.write("a", std::string(1000, version));
        commit.write("b", std::string(1000, version));
        commit.commit();
      }
    }
    usleep(static_cast<useconds_t>(1000 + 700 * round));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const std::string a = bytes_of(folder / "step" / "a");
    broken += a.size() != 1000 || a != bytes_of(folder / "step" / "b");
    sweep_temporaries(folder.path());
    CHECK(names_in(folder.path()) == "step;step/a;step/b;");
  }
  CHECK(broken == 0);
}

}  // namespace graft::io
