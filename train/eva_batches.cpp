#include "graft/train/eva_batches.h"

#include <vector>

#include "graft/train/batch.h"

namespace graft::train {

EvaBatches::EvaBatches(const text::Samples& samples, const TrainOptions& options,
                       const peft::EvaConfig& eva)
    : samples_(samples),
      options_(options),
      eva_(eva),
      rows_(rows_of(samples, options)),
      sampler_(rows_.size(), options.seed, options.shuffle) {}

Tensor EvaBatches::counting(const Tensor& labels, std::span<const int64_t> rows) const {
  std::vector<int64_t> tokens;
  const int64_t width = labels.dim(1);
  for (size_t row = 0; row < rows.size(); ++row) {
    int64_t length = 0;
    for (const int64_t sample : rows_[rows[row]])
      length += samples_.info(sample).tokens;
    const int64_t begin = static_cast<int64_t>(row) * width;
    for (int64_t t = begin; t < begin + length; ++t) {
      if (!eva_.use_label_mask || labels.data<int64_t>()[t] != eva_.label_mask_value)
        tokens.push_back(t);
    }
  }
  return Tensor::from(tokens, {std::ssize(tokens)});
}

peft::EvaBatch EvaBatches::operator()(int64_t number) {
  if (number < next_) {
    sampler_ = Sampler(rows_.size(), options_.seed, options_.shuffle);
    next_ = 0;
  }
  std::vector<int64_t> picked;
  for (; next_ <= number; ++next_)
    picked = sampler_.next(options_.batch_size);
  const Batch batch = make_batch(samples_, rows_, picked);
  return {.ids = batch.ids, .context = batch.context(), .tokens = counting(batch.labels, picked)};
}

}  // namespace graft::train
