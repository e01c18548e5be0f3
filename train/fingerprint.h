// Fingerprint: what a run's numbers depend on, so that a run is only ever continued by itself.
#pragma once

#include <map>
#include <string>

#include "graft/optim/optimizer.h"
#include "graft/text/sample_source.h"
#include "graft/train/options.h"

namespace graft::train {

/// By name and as text: {"batch-size", "4"}, {"data", "48 samples, xxh64 …"}.
using Fingerprint = std::map<std::string, std::string>;

/// What the Trainer knows: options that change numbers, the optimizer and its parameters, the data.
/// The number of steps is part of it where the schedule depends on it; how often a run evaluates or
/// saves is not.
Fingerprint fingerprint_of(const TrainOptions& options, const optim::Optimizer& optimizer,
                           const text::Samples& samples, const text::Samples& validation);

/// "batch-size is 4 there, 8 here", one a line and indented; empty where they are equal.
std::string difference(const Fingerprint& there, const Fingerprint& here);

}  // namespace graft::train
