// How a skipped test case travels from the test to the program's summary.
#pragma once

#include <string>

namespace graft::test {

struct Skipped {
  std::string reason;
};

}  // namespace graft::test
