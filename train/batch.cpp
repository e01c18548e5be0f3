#include "graft/train/batch.h"

#include <algorithm>

#include "graft/nn/loss.h"

namespace graft::train {

nn::Context Batch::training_context(uint64_t seed, int64_t step, bool checkpoint_blocks) const {
  nn::Context context;
  context.train = true;
  context.dropout = {
      .seed = seed, .step = static_cast<uint32_t>(step), .sample = place, .position = position};
  context.checkpoint_blocks = checkpoint_blocks;
  return context;
}

Batch make_batch(std::span<const text::Sample> samples, std::span<const Pick> picks) {
  size_t width = 0;
  for (const Pick& pick : picks)
    width = std::max(width, samples[static_cast<size_t>(pick.index)].input_ids.size());
  const auto rows = static_cast<int64_t>(picks.size());
  const auto length = static_cast<int64_t>(width);
  Batch batch;
  batch.ids = Tensor::zeros({rows, length}, DType::i64);
  batch.labels = Tensor::full({rows, length}, static_cast<double>(nn::ignored_label), DType::i64);
  batch.place = Tensor::empty({rows * length}, DType::i64);
  batch.position = Tensor::empty({rows * length}, DType::i64);
  for (size_t row = 0; row < picks.size(); ++row) {
    const text::Sample& sample = samples[static_cast<size_t>(picks[row].index)];
    std::ranges::copy(sample.input_ids, batch.ids.data<int64_t>() + row * width);
    std::ranges::copy(sample.labels, batch.labels.data<int64_t>() + row * width);
    for (size_t t = 0; t < width; ++t) {
      batch.place.data<int64_t>()[row * width + t] = picks[row].place;
      batch.position.data<int64_t>()[row * width + t] = static_cast<int64_t>(t);
    }
    batch.tokens += count_trained_tokens(sample);
    batch.input_tokens += static_cast<int64_t>(sample.input_ids.size());
    batch.names.push_back(name_of(sample, picks[row].index));
  }
  return batch;
}

std::string name_of(const text::Sample& sample, int64_t index) {
  return sample.line > 0 ? concat("line ", sample.line) : concat("sample ", index);
}

int64_t count_trained_tokens(const text::Sample& sample) {
  const std::span<const int64_t> labels(sample.labels);
  return std::ranges::count_if(labels.subspan(std::min<size_t>(labels.size(), 1)),
                               [](int64_t label) { return label != nn::ignored_label; });
}

void check_samples(std::string_view what, std::span<const text::Sample> samples,
                   int64_t vocab_size) {
  GRAFT_CHECK(!samples.empty(), ConfigError, what, ": no samples given");
  const auto is_token = [&](int64_t id) { return id >= 0 && id < vocab_size; };
  for (size_t i = 0; i < samples.size(); ++i) {
    const text::Sample& sample = samples[i];
    const std::string where = concat(what, ", ", name_of(sample, static_cast<int64_t>(i)), ": ");
    GRAFT_CHECK(!sample.input_ids.empty(), ConfigError, where, "there are no tokens");
    GRAFT_CHECK(sample.input_ids.size() == sample.labels.size(), ConfigError, where,
                sample.input_ids.size(), " tokens and ", sample.labels.size(),
                " labels given, as many labels as tokens expected");
    const auto id = std::ranges::find_if_not(sample.input_ids, is_token);
    GRAFT_CHECK(id == sample.input_ids.end(), ConfigError, where, "token ", *id,
                " given; the model has tokens 0 to ", vocab_size - 1);
    const auto label = std::ranges::find_if(sample.labels, [&](int64_t value) {
      return value != nn::ignored_label && !is_token(value);
    });
    GRAFT_CHECK(label == sample.labels.end(), ConfigError, where, "label ", *label, " given; ",
                nn::ignored_label, " or a token from 0 to ", vocab_size - 1, " expected");
    GRAFT_CHECK(count_trained_tokens(sample) > 0, ConfigError, where,
                "no token after the first one has a label, so there is nothing to learn; remove the"
                " sample, or cut it later");
  }
}

}  // namespace graft::train
