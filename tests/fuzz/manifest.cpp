// A checkpoint's manifest.json, as it is and with the checksum that its content should have, or
// nothing behind that check would be reached; and its trainer.json.
#include "graft/train/manifest.h"

#include <nlohmann/json.hpp>

#include "graft/io/checksum.h"
#include "graft/io/file.h"
#include "graft/io/json.h"
#include "graft/tensor/error.h"
#include "graft/tests/fuzz/fuzz.h"
#include "graft/train/trainer_state.h"

namespace graft {
namespace {

constexpr const char* checksum_key = "checksum";

/// The folder: the manifest and two files, one of them in a folder.
class Checkpoint {
 public:
  Checkpoint() {
    io::write_file_atomically(manifest.folder() / "trainer.json", "{}\n");
    std::filesystem::create_directory(manifest.folder() / "adapter");
    io::write_file_atomically(manifest.folder() / "adapter/config.json", "{}\n");
  }
  fuzz::FuzzedFile manifest{train::manifest_name};
};

/// The text with the checksum of its other members; the text itself where it is no JSON object.
std::string with_checksum(std::string_view text) {
  std::string result(text);
  fuzz::accepted<FormatError>([&] {
    io::Json json = io::parse_json(text, "manifest.json");
    if (!json.is_object())
      return;
    json.erase(checksum_key);
    const std::string checksum = io::checksum_of(io::to_text(json));
    json[checksum_key] = checksum;
    result = io::to_text(json);
  });
  return result;
}

}  // namespace
}  // namespace graft

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace graft;
  static Checkpoint checkpoint;
  const std::string_view text = fuzz::text_of(data, size);
  for (const std::string& content : {std::string(text), with_checksum(text)}) {
    checkpoint.manifest.put(content);
    fuzz::accepted<FormatError>([&] {
      const train::Manifest manifest = train::verified_manifest(checkpoint.manifest.folder());
      fuzz::require(manifest.step >= 0 && manifest.bytes() >= 0, "no number is negative");
      for (const auto& [name, file] : manifest.files)
        fuzz::require(std::filesystem::path(name).lexically_normal() == name &&
                          std::filesystem::path(name).is_relative() && !name.starts_with(".."),
                      "a file of a checkpoint lies in its folder");
    });
  }
  fuzz::accepted<FormatError>([&] {
    const train::TrainerState state = train::parse_trainer_state(text, "trainer.json");
    fuzz::require(train::parse_trainer_state(to_text(state), "written.json") == state,
                  "a state that was written is read as the same");
  });
  return 0;
}
