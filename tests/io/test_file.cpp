#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "graft/io/file.h"
#include "graft/tests/io/bytes.h"
#include "graft/tests/support/test.h"

namespace graft::io {
namespace {

using test::bytes_of;
using test::check_contains;
using test::message_of;
using test::put_bytes;

}  // namespace

TEST_CASE("is_plain_file_name: only one component of a path is one") {
  for (const char* name :
       {"a", "model-00001-of-00002.safetensors", "...", ".hidden", "a b", "größe"})
    CHECK(is_plain_file_name(name));
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("/a"),
        std::string("../a"), std::string("a\\b"), std::string("a\0b", 3), std::string(256, 'a')})
    CHECK(!is_plain_file_name(name));
}

TEST_CASE("read_file: gives all bytes, up to the limit") {
  const test::TemporaryFolder folder;
  const std::string text("a\0b\r\n", 5);
  put_bytes(folder / "f", text);
  CHECK(read_file(folder / "f", 5) == text);
  check_contains(message_of<FormatError>([&] { read_file(folder / "f", 4); }),
                 "f: has 5 bytes, at most 4 are read");
  put_bytes(folder / "empty", "");
  CHECK(read_file(folder / "empty", 0).empty());
}

TEST_CASE("read_file: says why there is nothing to read") {
  const test::TemporaryFolder folder;
  check_contains(message_of<IoError>([&] { read_file(folder / "none", 9); }),
                 "none: No such file or directory");
  check_contains(message_of<IoError>([&] { read_file(folder.path(), 9); }),
                 "is a folder, expected a file");
  REQUIRE(mkfifo((folder / "pipe").c_str(), 0600) == 0);  // opening it must not wait for a writer
  check_contains(message_of<IoError>([&] { read_file(folder / "pipe", 9); }),
                 "is a device or pipe, expected a file");
  CHECK_THROWS_AS(read_file("/dev/zero", 9), IoError);
}

TEST_CASE("InputFile: a file that has become shorter is an error, not a crash") {
  const test::TemporaryFolder folder;
  put_bytes(folder / "f", "0123456789");
  const InputFile file(folder / "f");
  std::filesystem::resize_file(folder / "f", 4);
  std::string out(6, '?');
  check_contains(message_of<IoError>([&] { file.read(2, std::as_writable_bytes(std::span(out))); }),
                 "ends at byte 4, it had 10 bytes when it was opened");
}

TEST_CASE("MappedFile: shows the bytes, also after its pages were dropped") {
  const test::TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 5000; ++i)
    text += std::to_string(i);
  put_bytes(folder / "f", text);
  const MappedFile file(folder / "f");
  const auto same = [&] {
    return text == std::string_view(reinterpret_cast<const char*>(file.bytes().data()),
                                    file.bytes().size());
  };
  CHECK(same());
  file.drop_pages(file.bytes());
  file.drop_pages(file.bytes().subspan(1, 2));
  file.drop_pages({});
  CHECK(same());
  put_bytes(folder / "empty", "");
  CHECK(MappedFile(folder / "empty").bytes().empty());
}

TEST_CASE("MappedFile: dropped pages no longer take memory") {
  const test::TemporaryFolder folder;
  put_bytes(folder / "f", std::string(size_t{8} << 20, 'x'));
  const MappedFile file(folder / "f");
  const auto resident = [] {
    std::ifstream statm("/proc/self/statm");
    int64_t total = 0;
    int64_t pages = 0;
    statm >> total >> pages;
    return pages * 4096;
  };
  int64_t sum = 0;
  for (size_t i = 0; i < file.bytes().size(); i += 4096)
    sum += std::to_integer<int>(file.bytes()[i]);
  CHECK(sum > 0);
  const int64_t before = resident();
  file.drop_pages(file.bytes());
  CHECK(before - resident() > int64_t{6} << 20);  // 8 MiB less what else the process did meanwhile
}

TEST_CASE("write_file_atomically: writes, and replaces what was there") {
  const test::TemporaryFolder folder;
  write_file_atomically(folder / "f", "one");
  CHECK(bytes_of(folder / "f") == "one");
  write_file_atomically(folder / "f", [](FileWriter& out) {
    out.reserve(6);
    out.write("tw");
    CHECK(out.written() == 2);
    out.write("o");
  });
  CHECK(bytes_of(folder / "f") == "two");
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("write_file_atomically: a bare name goes to the working folder") {
  const test::TemporaryFolder folder;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  write_file_atomically("bare", "x");
  std::filesystem::current_path(before);
  CHECK(bytes_of(folder / "bare") == "x");
}

TEST_CASE("write_file_atomically: nothing is seen of a file that is not complete") {
  const test::TemporaryFolder folder;
  put_bytes(folder / "f", "old");
  CHECK_THROWS_AS(write_file_atomically(folder / "f",
                                        [&](FileWriter& out) {
                                          out.write("half");
                                          CHECK(bytes_of(folder / "f") == "old");
                                          throw ConfigError("enough");
                                        }),
                  ConfigError);
  CHECK(bytes_of(folder / "f") == "old");
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("write_file_atomically: permissions are the old file's, or what the umask gives") {
  const test::TemporaryFolder folder;
  const auto mode = [&] {
    struct stat status {};
    REQUIRE(stat((folder / "f").c_str(), &status) == 0);
    return status.st_mode & 07777u;
  };
  const mode_t umask_before = umask(027);
  write_file_atomically(folder / "f", "x");
  CHECK(mode() == 0640);
  REQUIRE(chmod((folder / "f").c_str(), 0604) == 0);
  write_file_atomically(folder / "f", "y");
  CHECK(mode() == 0604);
  umask(umask_before);
}

TEST_CASE("write_file_atomically: folders and devices are not replaced") {
  const test::TemporaryFolder folder;
  std::filesystem::create_directory(folder / "sub");
  check_contains(message_of<IoError>([&] { write_file_atomically(folder / "sub", "x"); }),
                 "is a folder, expected a file or nothing");
  REQUIRE(mkfifo((folder / "pipe").c_str(), 0600) == 0);
  check_contains(message_of<IoError>([&] { write_file_atomically(folder / "pipe", "x"); }),
                 "is a device or pipe");
  check_contains(message_of<IoError>([&] { write_file_atomically(folder / "no" / "f", "x"); }),
                 "No such file or directory");
}

TEST_CASE("write_file_atomically: what a dead process of our number left is no obstacle") {
  const test::TemporaryFolder folder;
  put_bytes(folder / (".tmp-f-" + std::to_string(getpid())), "orphan");
  write_file_atomically(folder / "f", "x");
  CHECK(bytes_of(folder / "f") == "x");
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("write_file_atomically: a name of the longest length works") {
  const test::TemporaryFolder folder;
  const std::string name(255, 'n');
  write_file_atomically(folder / name, "x");
  CHECK(bytes_of(folder / name) == "x");
}

TEST_CASE("write_file_atomically: readers and two writers at once see whole files only") {
  const test::TemporaryFolder folder;
  const std::string a(100'000, 'a');
  const std::string b(70'000, 'b');
  write_file_atomically(folder / "f", a);
  const auto replace = [&](const std::string& text) {
    for (int i = 0; i < 50; ++i)
      write_file_atomically(folder / "f", text);
  };
  std::thread first(replace, a);
  std::thread second(replace, b);
  int broken = 0;
  for (int i = 0; i < 300; ++i) {
    const std::string seen = read_file(folder / "f", 1 << 20);
    broken += seen != a && seen != b;
  }
  first.join();
  second.join();
  CHECK(broken == 0);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("FileWriter: does not write over what is there") {
  const test::TemporaryFolder folder;
  put_bytes(folder / "f", "old");
  check_contains(message_of<IoError>([&] { FileWriter out(folder / "f"); }), "File exists");
  CHECK(bytes_of(folder / "f") == "old");
}

}  // namespace graft::io
