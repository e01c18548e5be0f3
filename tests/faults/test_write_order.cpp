// F4: what a power cut leaves. Nothing that was not brought to the disk survives one, and the order
// of what was not is anybody's guess; so it is the order of the calls that has to be right.
#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "graft/tests/faults/faults.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

/// One call that succeeded.
struct Call {
  std::string name;
  std::vector<std::string> paths;
};

/// `rename("/a", "/b") = 0` or `fsync(5</a>) = 0`.
std::optional<Call> parse(const std::string& line) {
  const size_t open = line.find('(');
  if (line.find(" = -1 ") != std::string::npos)
    return std::nullopt;
  Call call{line.substr(0, open), {}};
  for (size_t at = open; (at = line.find_first_of("\"<", at)) != std::string::npos;) {
    const size_t end = line.find(line[at] == '<' ? '>' : '"', at + 1);
    if (end == std::string::npos)
      break;
    const std::string path = line.substr(at + 1, end - at - 1);
    if (path.starts_with('/'))
      call.paths.push_back(path);
    at = end + 1;
  }
  return call.paths.empty() ? std::nullopt : std::optional(call);
}

/// What a run did to its folder, by the number of the call.
class History {
 public:
  History(const std::vector<std::string>& lines, const fs::path& folder) {
    for (const std::string& line : lines) {
      const std::optional<Call> call = parse(line);
      if (call && call->paths.front().starts_with(folder.string()))
        calls_.push_back(*call);
    }
  }
  size_t size() const { return calls_.size(); }
  const Call& operator[](size_t i) const { return calls_[i]; }

  bool is_synced(const std::string& path, size_t begin, size_t end) const {
    return std::any_of(calls_.begin() + static_cast<std::ptrdiff_t>(begin),
                       calls_.begin() + static_cast<std::ptrdiff_t>(end), [&](const Call& call) {
                         return call.name == "fsync" && call.paths.front() == path;
                       });
  }
  /// Behind the last write to each file in `folder`, or to the file `folder`, before the call
  /// `end`.
  std::map<std::string, size_t> written(const std::string& folder, size_t end) const {
    std::map<std::string, size_t> last;
    for (size_t i = 0; i < end; ++i) {
      const std::string& path = calls_[i].paths.front();
      if (calls_[i].name == "write" && (path == folder || path.starts_with(folder + "/")))
        last[path] = i + 1;
    }
    return last;
  }

 private:
  std::vector<Call> calls_;
};

}  // namespace

TEST_CASE("F4: what gets its name is on the disk before, and the name itself behind") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  const History history(Traced::calls("write,fsync,rename,renameat2,mkdir", saving_run(out, 3)),
                        scratch.path());
  int64_t renames = 0, files = 0;
  for (size_t i = 0; i < history.size(); ++i) {
    const Call& call = history[i];
    if (call.name == "mkdir" && call.paths[0].find(".tmp-") == std::string::npos) {
      // The folder of the run itself holds nothing yet.
      if (fs::path(call.paths[0]).parent_path() != scratch.path())
        CHECK_MESSAGE(
            history.is_synced(fs::path(call.paths[0]).parent_path(), i + 1, history.size()),
            call.paths[0]);
    }
    if (!call.name.starts_with("rename") ||
        fs::path(call.paths[1]).filename().string().starts_with(".tmp-"))  // it is removed
      continue;
    ++renames;
    for (const auto& [file, behind] : history.written(call.paths[0], i)) {
      ++files;
      CHECK_MESSAGE(history.is_synced(file, behind, i), file);
      // The names in the folder that gets its name.
      if (file != call.paths[0])
        CHECK_MESSAGE(history.is_synced(fs::path(file).parent_path(), behind, i), file);
    }
    CHECK_MESSAGE(history.is_synced(fs::path(call.paths[1]).parent_path(), i + 1, history.size()),
                  call.paths[1]);
  }
  CHECK(renames >= 4);  // three checkpoints and the record of the run at least
  CHECK(files > renames);
  report("F4", concat(renames, " renames, ", files, " files in them, all on the disk before"));
}
