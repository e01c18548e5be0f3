#include "graft/cli/metric.h"

#include <iostream>
#include <nlohmann/json.hpp>

#include "graft/cli/terminal.h"

namespace graft::cli {

std::string score_text(const train::Score& score) {
  const std::optional<double> error = score.standard_error();
  return fixed_text(score.mean(), 4) + (error ? " ± " + fixed_text(*error, 4) : "") + ", " +
         grouped(score.correct) + " of " + grouped(score.records);
}

void add_score(io::Json& json, const std::string& name, const train::Score& score) {
  const std::optional<double> error = score.standard_error();
  json[name] = score.mean();
  json[name + "_stderr"] = error ? io::Json(*error) : io::Json();
}

std::string score_difference(const std::vector<bool>& with, const std::vector<bool>& without) {
  int64_t won = 0, lost = 0;
  for (size_t i = 0; i < with.size(); ++i) {
    won += with[i] && !without[i];
    lost += without[i] && !with[i];
  }
  const double difference = train::score_of(with).mean() - train::score_of(without).mean();
  return (difference < 0 ? "" : "+") + fixed_text(difference, 4) + "; " + grouped(won) +
         " right with the adapter only, " + grouped(lost) + " without it only";
}

void show_measured(int64_t done, int64_t total, std::string_view noun) {
  if (terminal_of(2).interactive)
    std::cerr << "\r\x1b[K" << grouped(done) << " of " << counted(total, noun) << std::flush;
}

void hide_measured() {
  if (terminal_of(2).interactive)
    std::cerr << "\r\x1b[K" << std::flush;
}

}  // namespace graft::cli
