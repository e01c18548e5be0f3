#include "graft/cli/module_errors.h"

#include <nlohmann/json.hpp>

#include "graft/cli/terminal.h"

namespace graft::cli {
namespace {

std::string error_text(double error) {
  return fixed_text(100 * error, 2) + "%";
}

}  // namespace

void ModuleErrors::add(const std::string& weight, double error) {
  const std::string module = weight.substr(0, weight.rfind('.'));
  Kind& kind = kinds_[module.substr(module.rfind('.') + 1)];
  ++kind.count;
  kind.sum += error;
  if (error >= kind.largest) {
    kind.largest = error;
    kind.worst = module;
  }
}

std::vector<std::vector<std::string>> ModuleErrors::rows(const std::string& name) const {
  std::vector<std::vector<std::string>> rows = {{"module", "count", name, "largest", "where"}};
  for (const auto& [module, kind] : kinds_)
    rows.push_back({module, grouped(kind.count), error_text(kind.mean()), error_text(kind.largest),
                    kind.worst});
  return rows;
}

io::Json ModuleErrors::json() const {
  io::Json json = io::Json::object();
  for (const auto& [module, kind] : kinds_)
    json[module] = {{"count", kind.count},
                    {"error", kind.mean()},
                    {"largest_error", kind.largest},
                    {"largest_error_in", kind.worst}};
  return json;
}

}  // namespace graft::cli
