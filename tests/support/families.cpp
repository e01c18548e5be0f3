#include "graft/tests/support/families.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "graft/io/file.h"

namespace graft::test {

const io::Json& families_json() {
  static const io::Json json = io::read_json_file(golden("families.json"));
  return json;
}

std::vector<const io::Json*> family_records() {
  std::vector<const io::Json*> records;
  for (const io::Json& record : families_json()["cases"])
    records.push_back(&record);
  return records;
}

const io::Json& family_record(const std::string& name) {
  for (const io::Json* record : family_records()) {
    if ((*record)["name"] == name)
      return *record;
  }
  throw Error("families.json: no case " + name);
}

FamilyCase::FamilyCase(const io::Json& given)
    : record(given), name(given["name"].get<std::string>()) {
  io::write_file_atomically(folder / "config.json", io::to_text(record["config"]));
  const auto model = golden(record["model"].get<std::string>()) / "model.safetensors";
  std::filesystem::create_symlink(std::filesystem::absolute(model), folder / "model.safetensors");
}

}  // namespace graft::test
