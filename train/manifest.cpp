#include "graft/train/manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "graft/io/checksum.h"
#include "graft/io/file.h"
#include "graft/io/json.h"

namespace graft::train {
namespace {

constexpr const char* format_name = "graft checkpoint";
constexpr int64_t format_version = 1;
constexpr const char* checksum_key = "checksum";

io::Json to_json(const Manifest& manifest) {
  io::Json files = io::Json::object();
  for (const auto& [name, file] : manifest.files)
    files[name] = {{"bytes", file.bytes}, {"xxh64", file.checksum}};
  return {{"format", format_name},
          {"version", format_version},
          {"step", manifest.step},
          {"fingerprint", manifest.fingerprint},
          {"files", std::move(files)}};
}

/// Throws FormatError unless each part of the name is a plain file name: a manifest must not make
/// us read elsewhere.
void check_name(const std::string& name, const std::string& file) {
  for (const auto& part : std::filesystem::path(name)) {
    if (!io::is_plain_file_name(part.string()))
      throw FormatError(file, -1, concat("'", name, "' leads out of the folder"));
  }
}

Manifest read_manifest(const std::filesystem::path& path) {
  io::Json json = io::read_json_file(path);
  const std::string file = path.string();
  const io::JsonObject object(json, file);
  if (object.text("format") != format_name)
    throw object.wrong("format", concat("'", format_name, "'"));
  if (object.integer("version") != format_version)
    throw object.wrong("version",
                       concat(format_version, "; it was written by another version of graft"));
  const std::string expected = object.text(checksum_key);
  io::Json content = json;
  content.erase(checksum_key);
  if (io::checksum_of(io::to_text(content)) != expected)
    throw FormatError(file, -1, "the manifest was altered: its checksum is wrong");
  Manifest manifest;
  manifest.step = object.integer("step", {.min = 0});
  const io::JsonObject fingerprint = object.object("fingerprint");
  for (const std::string& name : fingerprint.keys())
    manifest.fingerprint[name] = fingerprint.text(name);
  const io::JsonObject files = object.object("files");
  for (const std::string& name : files.keys()) {
    check_name(name, file);
    const io::JsonObject entry = files.object(name);
    manifest.files[name] = {entry.integer("bytes", {.min = 0}), entry.text("xxh64")};
  }
  return manifest;
}

}  // namespace

int64_t Manifest::bytes() const {
  int64_t sum = 0;
  for (const auto& [name, file] : files)
    sum += file.bytes;  // fits: files that are there, or were compared with those that are
  return sum;
}

Manifest make_manifest(const std::filesystem::path& folder, int64_t step, Fingerprint fingerprint) {
  Manifest manifest{step, std::move(fingerprint), {}};
  std::error_code error;
  std::filesystem::recursive_directory_iterator entry(folder, error);
  for (; !error && entry != std::filesystem::end(entry); entry.increment(error)) {
    if (entry->is_regular_file())
      manifest.files[entry->path().lexically_relative(folder).generic_string()] = {
          io::InputFile(entry->path()).size(), io::checksum_of_file(entry->path())};
  }
  GRAFT_CHECK(!error, IoError, "read folder ", folder.string(), ": ", error.message());
  return manifest;
}

std::string to_text(const Manifest& manifest) {
  io::Json json = to_json(manifest);
  json[checksum_key] = io::checksum_of(io::to_text(json));
  return io::to_text(json) + "\n";
}

Manifest verified_manifest(const std::filesystem::path& folder) {
  std::error_code ignored;
  const std::filesystem::path path = folder / manifest_name;
  if (!std::filesystem::exists(path, ignored))
    throw FormatError(folder.string(), -1, concat("there is no ", manifest_name));
  Manifest manifest = read_manifest(path);
  for (const auto& [name, file] : manifest.files) {
    const std::filesystem::path member = folder / name;
    if (!std::filesystem::is_regular_file(member, ignored))
      throw FormatError(member.string(), -1, "the file is missing");
    const int64_t bytes = io::InputFile(member).size();
    if (bytes != file.bytes)
      throw FormatError(member.string(), -1,
                        concat("the file has ", bytes, " bytes, ", file.bytes, " expected"));
    if (io::checksum_of_file(member) != file.checksum)
      throw FormatError(member.string(), -1, "the file was altered: its checksum is wrong");
  }
  return manifest;
}

}  // namespace graft::train
