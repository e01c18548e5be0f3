// What the fuzz programs share. Each of them has the one function that libFuzzer calls with bytes
// of its own making, gives them to one reader of files, and expects that they are read, or refused
// with an error that the reader's header promises. Any other exception ends the program, as a crash
// does, and libFuzzer keeps the bytes.
#pragma once

#include <cstdint>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>

/// Called by libFuzzer. Returns 0.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace graft::fuzz {

/// The input as text.
inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// True where `read` takes the input, false where it throws one of the Refusals.
template <class... Refusals, class Read>
bool accepted(const Read& read) {
  try {
    read();
    return true;
  } catch (const std::exception& error) {
    if ((... || (dynamic_cast<const Refusals*>(&error) != nullptr)))
      return false;
    throw;
  }
}

/// Ends the program where a promise about what was read does not hold.
void require(bool holds, const char* promise);

/// A file whose content is given anew for each input, in a folder of its own that goes with it. The
/// content lies in memory: the disk would be too slow.
class FuzzedFile {
 public:
  explicit FuzzedFile(const std::string& name);
  ~FuzzedFile();
  FuzzedFile(const FuzzedFile&) = delete;
  FuzzedFile& operator=(const FuzzedFile&) = delete;

  void put(std::string_view content);
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path folder() const { return path_.parent_path(); }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace graft::fuzz
