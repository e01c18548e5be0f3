// Metric: what `graft eval` measures on a data file, for a model with its adapter and without.
//
// A metric reads its data before there is a model, so that a fault in the data is known at once. It
// is measured once, or a second time without the adapter, and keeps the results of both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/io/json.h"
#include "graft/nn/causal_lm.h"
#include "graft/train/score.h"

namespace graft::cli {

class Metric {
 public:
  virtual ~Metric() = default;

  /// Runs the model over the data. False where a signal came meanwhile.
  virtual bool measure(const nn::CausalLM& model) = 0;

  /// A row of the panel each: what the data is and how it is measured.
  virtual std::vector<std::pair<std::string, std::string>> heading() const = 0;
  /// The result of the measurement `which`, counted from 0, in a row of the panel.
  virtual std::string text(size_t which) const = 0;
  /// How the first measurement differs from the second one. Requires both.
  virtual std::string difference() const = 0;
  /// The same as text(), as an object.
  virtual io::Json json(size_t which) const = 0;

  /// Records that were measured, and each with its results: a line of --out.
  virtual int64_t records() const = 0;
  virtual io::Json record(int64_t index) const = 0;
};

/// "0.6200 ± 0.0693, 31 of 50".
std::string score_text(const train::Score& score);
/// Adds the score under its name and its standard error under NAME_stderr, null of one record.
void add_score(io::Json& json, const std::string& name, const train::Score& score);
/// "+0.2000; 12 right with the adapter only, 2 without it only".
std::string score_difference(const std::vector<bool>& with, const std::vector<bool>& without);

/// Shows on a terminal how much of a measurement is done: "12 of 50 records".
void show_measured(int64_t done, int64_t total, std::string_view noun);
/// Takes that line away.
void hide_measured();

}  // namespace graft::cli
