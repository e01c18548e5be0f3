// Errors of a model's weights, put together by the name of their module: "q_proj".
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "graft/io/json.h"

namespace graft::cli {

class ModuleErrors {
 public:
  /// The modules of one name in all layers.
  struct Kind {
    int64_t count = 0;
    double sum = 0;      ///< of their errors
    double largest = 0;  ///< of these
    std::string worst;   ///< path of the module that has it

    double mean() const { return sum / static_cast<double>(count); }
  };

  /// The error of a weight: "model.layers.0.mlp.up_proj.weight".
  void add(const std::string& weight, double error);
  const std::map<std::string, Kind>& kinds() const { return kinds_; }
  /// For table(): name, count, mean, largest and where, below a heading with the name of the error.
  std::vector<std::vector<std::string>> rows(const std::string& name) const;
  /// {"q_proj": {"count": …, "error": …, "largest_error": …, "largest_error_in": …}}.
  io::Json json() const;

 private:
  std::map<std::string, Kind> kinds_;
};

}  // namespace graft::cli
