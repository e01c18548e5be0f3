// F6, F7: files that end early, and files with a wrong bit.
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "graft/io/file.h"
#include "graft/tests/faults/faults.h"
#include "graft/tests/faults/file_kinds.h"
#include "graft/train/checkpoint.h"
#include "graft/train/manifest.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

/// True where the file is refused as a wrong one. Whatever else is thrown fails the test.
bool is_refused(const std::function<void()>& read) {
  try {
    read();
    return false;
  } catch (const FormatError&) {
    return true;
  }
}

/// A run's newest checkpoint, to be damaged.
struct Checkpoint {
  explicit Checkpoint(const TemporaryFolder& scratch) {
    check_exit(run_graft(saving_run(scratch / "out", 1)), 0);
    folder = scratch / "out/checkpoints/step-1";
  }
  fs::path folder;
};

void overwrite(const fs::path& file, const std::string& content) {
  fs::remove(file);
  io::FileWriter out(file);
  out.write(content);
}

}  // namespace

TEST_CASE("F6: a file that ends early is refused, wherever it ends") {
  int64_t cuts = 0;
  for (const FileKind& kind : file_kinds()) {
    CAPTURE(kind.name);
    ChangingFile file(kind);
    kind.read(file.path());
    const size_t stride =
        static_cast<size_t>(rounds(1 + static_cast<int64_t>(kind.content.size()) / 1000, 1));
    const size_t end = kind.needed_bytes();
    for (size_t size = 0; size < end; size += stride) {
      file.put(std::string_view(kind.content).substr(0, size));
      CHECK_MESSAGE(is_refused([&] { kind.read(file.path()); }), size, " bytes");
      ++cuts;
    }
  }
  report("F6", concat(cuts, " files of ", file_kinds().size(), " kinds cut off, all refused"));
}

TEST_CASE("F6: a checkpoint with a file that ends early is not used") {
  const TemporaryFolder scratch;
  const Checkpoint checkpoint(scratch);
  int64_t cuts = 0;
  for (const auto& [name, content] : snapshot(checkpoint.folder)) {
    if (name == "README.md")
      continue;
    const auto stride =
        static_cast<size_t>(rounds(1 + static_cast<int64_t>(content.size()) / 60,
                                   1 + static_cast<int64_t>(content.size()) / 4000));
    // The manifest ends in a newline, which is no part of its value.
    const size_t end = name == train::manifest_name ? content.size() - 1 : content.size();
    for (size_t size = 0; size < end; size += stride) {
      overwrite(checkpoint.folder / name, content.substr(0, size));
      CHECK_MESSAGE(is_refused([&] { train::verify_checkpoint(checkpoint.folder); }), name, " of ",
                    size, " bytes");
      ++cuts;
    }
    overwrite(checkpoint.folder / name, content);
  }
  train::verify_checkpoint(checkpoint.folder);
  report("F6", concat(cuts, " checkpoints with a file cut off, all refused"));
}

TEST_CASE("F7: a wrong bit in a file of a checkpoint is noticed") {
  const TemporaryFolder scratch;
  const Checkpoint checkpoint(scratch);
  const auto files = snapshot(checkpoint.folder);
  std::mt19937_64 random(7);
  int64_t flips = 0;
  for (const char* name : {"adapter_model.safetensors", "optimizer.safetensors", "trainer.json"}) {
    for (int64_t round = 0; round < rounds(200, 10000 / 3 + 1); ++round) {
      std::string content = files.at(name);
      const uint64_t bit = random() % (content.size() * 8);
      content[bit / 8] = static_cast<char>(content[bit / 8] ^ (1 << (bit % 8)));
      overwrite(checkpoint.folder / name, content);
      CHECK_MESSAGE(is_refused([&] { train::verify_checkpoint(checkpoint.folder); }), name,
                    ", bit ", bit);
      ++flips;
    }
    overwrite(checkpoint.folder / name, files.at(name));
  }
  train::verify_checkpoint(checkpoint.folder);
  report("F7", concat(flips, " bits of checkpoints turned over, all noticed"));
}

TEST_CASE("F7: with a wrong bit in it, a file is read or refused, and nothing else") {
  int64_t flips = 0, refused = 0;
  for (const FileKind& kind : file_kinds()) {
    CAPTURE(kind.name);
    ChangingFile file(kind);
    const auto bits = static_cast<int64_t>(kind.content.size() * 8);
    const auto stride = static_cast<size_t>(rounds(1 + bits / 500, 1));
    for (size_t bit = 0; bit < static_cast<size_t>(bits); bit += stride) {
      std::string content = kind.content;
      content[bit / 8] = static_cast<char>(content[bit / 8] ^ (1 << (bit % 8)));
      file.put(content);
      try {
        refused += is_refused([&] { kind.read(file.path()); });
      } catch (const IoError&) {
        ++refused;  // the index names a shard that is not there
      }
      ++flips;
    }
  }
  report("F7", concat(flips, " bits of files turned over, ", refused, " files refused"));
}
