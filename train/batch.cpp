#include "graft/train/batch.h"

#include <algorithm>

#include "graft/nn/loss.h"

namespace graft::train {
namespace {

using RowSamples = std::vector<text::Sample>;

/// Writes the rows of a batch one after the other.
class BatchWriter {
 public:
  BatchWriter(int64_t rows, int64_t width, bool packed) : width_(static_cast<size_t>(width)) {
    batch_.ids = Tensor::zeros({rows, width}, DType::i64);
    batch_.labels = Tensor::full({rows, width}, static_cast<double>(nn::ignored_label), DType::i64);
    batch_.sample = Tensor::empty({rows * width}, DType::i64);
    batch_.position = Tensor::empty({rows * width}, DType::i64);
    if (packed)
      batch_.segments = Tensor::empty({rows, width}, DType::i64);
  }

  void add_row(const RowSamples& samples, std::span<const int64_t> numbers) {
    const size_t begin = row_++ * width_;
    size_t at = begin;
    for (size_t i = 0; i < samples.size(); ++i) {
      const text::Sample& sample = samples[i];
      std::ranges::copy(sample.input_ids, batch_.ids.data<int64_t>() + at);
      std::ranges::copy(sample.labels, batch_.labels.data<int64_t>() + at);
      if (i > 0)  // the last token of the sample before does not predict it
        batch_.labels.data<int64_t>()[at] = nn::ignored_label;
      at = mark(at, at + sample.input_ids.size(), numbers[i], i);
      batch_.tokens += count_trained_tokens(sample);
      batch_.input_tokens += static_cast<int64_t>(sample.input_ids.size());
    }
    mark(at, begin + width_, numbers.back(), samples.size());
    batch_.names.push_back(names_of(samples, numbers));
  }

  Batch take() { return std::move(batch_); }

 private:
  /// Tokens [begin, end) belong to one sample, or to the padding.
  size_t mark(size_t begin, size_t end, int64_t number, size_t segment) {
    for (size_t t = begin; t < end; ++t) {
      batch_.sample.data<int64_t>()[t] = number;
      batch_.position.data<int64_t>()[t] = static_cast<int64_t>(t - begin);
      if (batch_.segments.defined())
        batch_.segments.data<int64_t>()[t] = static_cast<int64_t>(segment);
    }
    return end;
  }

  static std::string names_of(const RowSamples& samples, std::span<const int64_t> numbers) {
    constexpr size_t shown = 8;
    std::string text;
    for (size_t i = 0; i < std::min(samples.size(), shown); ++i)
      text += concat(i == 0 ? "" : ", ", name_of({.line = samples[i].line}, numbers[i]));
    return samples.size() > shown ? concat(text, " and ", samples.size() - shown, " more") : text;
  }

  size_t width_;
  size_t row_ = 0;
  Batch batch_;
};

Batch batch_of(const text::Samples& samples, std::span<const std::span<const int64_t>> rows) {
  std::vector<RowSamples> made(rows.size());
  size_t width = 0;
  bool packed = false;
  for (size_t row = 0; row < rows.size(); ++row) {
    size_t length = 0;
    for (const int64_t number : rows[row]) {
      made[row].push_back(samples.sample(number));
      length += made[row].back().input_ids.size();
    }
    width = std::max(width, length);
    packed = packed || rows[row].size() > 1;
  }
  BatchWriter writer(static_cast<int64_t>(rows.size()), static_cast<int64_t>(width), packed);
  for (size_t row = 0; row < rows.size(); ++row)
    writer.add_row(made[row], rows[row]);
  return writer.take();
}

}  // namespace

nn::Context Batch::context() const {
  nn::Context context;
  if (segments.defined()) {
    context.segments = segments;
    context.positions = position.view({segments.dim(0), segments.dim(1)});
  }
  return context;
}

nn::Context Batch::training_context(uint64_t seed, int64_t step, bool checkpoint_blocks) const {
  nn::Context training = context();
  training.train = true;
  training.dropout = {
      .seed = seed, .step = static_cast<uint32_t>(step), .sample = sample, .position = position};
  training.checkpoint_blocks = checkpoint_blocks;
  return training;
}

Batch make_batch(const text::Samples& samples, const Rows& rows, std::span<const int64_t> picked) {
  std::vector<std::span<const int64_t>> numbers;
  for (const int64_t row : picked)
    numbers.push_back(rows[row]);
  return batch_of(samples, numbers);
}

Batch make_batch(const text::Samples& samples, std::span<const int64_t> picked) {
  std::vector<std::span<const int64_t>> numbers;
  for (size_t i = 0; i < picked.size(); ++i)
    numbers.push_back(picked.subspan(i, 1));
  return batch_of(samples, numbers);
}

std::string name_of(const text::SampleInfo& sample, int64_t index) {
  return sample.line > 0 ? concat("line ", sample.line) : concat("sample ", index);
}

void check_samples(std::string_view what, const text::Samples& samples, int64_t vocab_size) {
  GRAFT_CHECK(!samples.empty(), ConfigError, what, ": no samples given");
  if (const text::SampleSource* source = samples.source())
    GRAFT_CHECK(source->id_limit() <= vocab_size, ConfigError, what, ": token ",
                source->id_limit() - 1, " given; the model has tokens 0 to ", vocab_size - 1);
  const auto is_token = [&](int64_t id) { return id >= 0 && id < vocab_size; };
  int64_t index = 0;
  for (const text::Sample& sample : samples.list()) {
    const std::string where = concat(what, ", ", name_of({.line = sample.line}, index++), ": ");
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
