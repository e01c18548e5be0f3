#include "graft/cli/combine_result.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "graft/cli/terminal.h"
#include "graft/tensor/error.h"

namespace graft::cli {
namespace {

double share_of(const peft::CombineReport::Layer& layer) {
  return layer.energy > 0 ? layer.discarded / layer.energy : 0;
}

}  // namespace

io::Json CombineResult::json() const {
  io::Json json = {{"out", out},
                   {"method", method.empty() ? io::Json() : io::Json(method)},
                   {"rank", report.rank},
                   {"discarded", report.discarded_share()},
                   {"layers", io::Json::array()}};
  for (const peft::CombineReport::Layer& layer : report.layers)
    json["layers"].push_back(
        {{"path", layer.path}, {"energy", layer.energy}, {"discarded", share_of(layer)}});
  return json;
}

std::string CombineResult::text() const {
  std::string text = concat("wrote ", out, ": ", from, ", rank ", report.rank);
  if (!report.layers.empty())
    text += ", " + counted(std::ssize(report.layers), "layer");
  text += "\n";
  const double discarded = report.discarded_share();
  if (discarded <= 1e-9)
    return text;
  const auto worst = std::ranges::max_element(report.layers, {}, share_of);
  return text + concat("rank ", report.rank, " leaves out ", number_text(100 * discarded, 3),
                       "% of the energy, most at ", worst->path, " (",
                       number_text(100 * share_of(*worst), 3), "%)\n");
}

}  // namespace graft::cli
