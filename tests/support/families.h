// The cases of tests/golden/families.json: models of every family in several configurations.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "graft/io/json.h"
#include "graft/tests/support/test.h"

namespace graft::test {

/// All that families.json says.
const io::Json& families_json();

/// The records of all cases.
std::vector<const io::Json*> family_records();

/// The record of a case. Throws Error where there is none.
const io::Json& family_record(const std::string& name);

/// A folder with the model of one record.
class FamilyCase {
 public:
  explicit FamilyCase(const io::Json& record);

  const io::Json& record;
  std::string name;
  TemporaryFolder folder;
};

}  // namespace graft::test
