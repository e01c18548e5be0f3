// What `graft combine` says of the adapter it has written.
#pragma once

#include <string>

#include "graft/io/json.h"
#include "graft/peft/combine.h"

namespace graft::cli {

struct CombineResult {
  std::string out;     ///< the folder
  std::string method;  ///< its name; empty where an adapter was written as it is
  std::string from;    ///< for people: "2 adapters combined by svd"
  peft::CombineReport report{};

  /// One object: out, method, rank, discarded, layers.
  io::Json json() const;
  /// What was written, and what the rank leaves out.
  std::string text() const;
};

}  // namespace graft::cli
