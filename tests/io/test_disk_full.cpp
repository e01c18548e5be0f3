// Disks that fill up. /dev/full fails at once and cannot be renamed over, so real file systems of a
// few pages are mounted, and the size limit of a process is used where that is not allowed.
#include <signal.h>
#include <sys/resource.h>

#include "graft/io/file.h"
#include "graft/io/folder_commit.h"
#include "graft/io/safetensors.h"
#include "graft/tests/io/bytes.h"
#include "graft/tests/io/small_disk.h"
#include "graft/tests/support/test.h"

namespace graft::io {
namespace {

using test::bytes_of;
using test::check_contains;
using test::message_of;
using test::put_bytes;

constexpr int64_t disk_bytes = 64 << 10;  // 16 pages

std::string names_in(const std::filesystem::path& folder) {
  std::string names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names += entry.path().filename().string() + ";";
  return names;
}

/// The message of the IoError, then what the folder holds and the old file's content.
std::string outcome(const std::filesystem::path& folder, const std::function<void()>& action) {
  std::string message = "nothing was thrown";
  try {
    action();
  } catch (const IoError& error) {
    message = error.what();
  }
  return message + " | " + names_in(folder) + " | " + bytes_of(folder / "f").substr(0, 9);
}

}  // namespace

TEST_CASE("disk full: writing says so, the old file stays, the temporary one goes") {
  const std::string result = test::on_small_disk(disk_bytes, [](const auto& folder) {
    put_bytes(folder / "f", "old");
    return outcome(folder, [&] {
      write_file_atomically(folder / "f", [](FileWriter& out) {
        for (int i = 0; i < 100; ++i)
          out.write(std::string(10'000, 'n'));
      });
    });
  });
  check_contains(result, "/f: disk full after 61440 bytes; 0 bytes are free");
  check_contains(result, " | f; | old");
}

TEST_CASE("disk full: is known before the first byte where the size is") {
  const std::string result = test::on_small_disk(disk_bytes, [](const auto& folder) {
    put_bytes(folder / "f", "old");
    const std::vector<NamedTensor> tensors = {{"x", Tensor::zeros({20'000})}};
    return outcome(folder, [&] { write_safetensors(folder / "f", tensors); });
  });
  check_contains(result, "disk full: 80072 bytes are needed, 61440 are free");
  check_contains(result, " | f; | old");
}

TEST_CASE("disk full: a folder that cannot be completed leaves the old one and no trace") {
  const std::string result = test::on_small_disk(disk_bytes, [](const auto& folder) {
    std::filesystem::create_directory(folder / "step-1");
    put_bytes(folder / "step-1" / "f", "old");
    const std::string message = outcome(folder, [&] {
      FolderCommit commit(folder / "step-1");
      commit.write("small", "fits");
      commit.write("f", std::string(100'000, 'n'));
      commit.commit();
    });
    return message + bytes_of(folder / "step-1" / "f");
  });
  check_contains(result, "step-1/f: disk full");
  check_contains(result, " | step-1; | old");
}

TEST_CASE("disk full: the free space can be asked before") {
  const std::string result = test::on_small_disk(disk_bytes, [](const auto& folder) {
    check_free_space(folder, disk_bytes);
    check_free_space(folder / "not" / "there" / "yet", disk_bytes);
    put_bytes(folder / "f", "");
    return outcome(folder, [&] { check_free_space(folder / "new", disk_bytes + 1); });
  });
  check_contains(result, "new: disk full: 65537 bytes are needed, 65536 are free");
}

TEST_CASE("disk full: a limit on the size of files is an error too, with the old file intact") {
  const test::TemporaryFolder folder;
  put_bytes(folder / "f", "old");
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler_before = signal(SIGXFSZ, SIG_IGN);  // it would end the process
  const rlimit small{20'000, before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string result = outcome(
      folder.path(), [&] { write_file_atomically(folder / "f", std::string(30'000, 'n')); });
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler_before);
  check_contains(result, "file larger than this process may write (ulimit -f) after 20000 bytes");
  check_contains(result, " | f; | old");
}

}  // namespace graft::io
