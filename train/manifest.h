// manifest.json: what makes a folder a checkpoint. It names every file with its size and checksum.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "graft/train/fingerprint.h"

namespace graft::train {

inline constexpr const char* manifest_name = "manifest.json";

struct Manifest {
  struct File {
    int64_t bytes = 0;
    std::string checksum;
    friend bool operator==(const File&, const File&) = default;
  };
  int64_t step = 0;
  Fingerprint fingerprint;
  /// By name relative to the folder, with '/' between the parts.
  std::map<std::string, File> files;

  /// The sum of all sizes.
  int64_t bytes() const;
};

/// The manifest of all that is in `folder` now. Throws IoError.
Manifest make_manifest(const std::filesystem::path& folder, int64_t step, Fingerprint fingerprint);

/// The text of the file; the last member is the checksum of what is before it.
std::string to_text(const Manifest& manifest);

/// Reads the manifest of a folder and checks that all its files are there and unaltered. Throws
/// FormatError naming the first that is not; IoError.
Manifest verified_manifest(const std::filesystem::path& folder);

}  // namespace graft::train
