// EvaBatches: the batches of the training data that EVA looks at.
#pragma once

#include <cstdint>

#include "graft/peft/eva.h"
#include "graft/text/sample_source.h"
#include "graft/train/options.h"
#include "graft/train/rows.h"
#include "graft/train/sampler.h"

namespace graft::train {

/// What peft::eva_start takes: batch number 0, 1, … in the order in which a run with these options
/// goes through its data, epoch after epoch. Only the tokens that eva.use_label_mask leaves count.
class EvaBatches {
 public:
  /// Refers to the samples.
  EvaBatches(const text::Samples& samples, const TrainOptions& options, const peft::EvaConfig& eva);

  peft::EvaBatch operator()(int64_t number);

 private:
  /// The tokens of a batch that count, (n) i64.
  Tensor counting(const Tensor& labels, std::span<const int64_t> rows) const;

  const text::Samples samples_;
  const TrainOptions options_;
  const peft::EvaConfig eva_;
  const Rows rows_;
  Sampler sampler_;
  int64_t next_ = 0;  // the batch that comes next from the sampler
};

}  // namespace graft::train
