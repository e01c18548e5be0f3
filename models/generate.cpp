#include "graft/models/generate.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "graft/autograd/tape.h"
#include "graft/models/sampler.h"
#include "graft/nn/kv_cache.h"
#include "graft/tensor/check.h"
#include "graft/tensor/embedding.h"

namespace graft::models {
namespace {

using Prompts = std::vector<std::vector<int64_t>>;

void check_prompts(const nn::ModelInfo& info, const Prompts& prompts) {
  for (size_t row = 0; row < prompts.size(); ++row) {
    const int64_t length = static_cast<int64_t>(prompts[row].size());
    GRAFT_CHECK(length > 0, ConfigError, "generate: prompt ", row, " is empty");
    GRAFT_CHECK(length <= info.max_positions, ConfigError, "generate: prompt ", row, " has ",
                length, " tokens, the model has ", info.max_positions, " positions");
    for (const int64_t id : prompts[row])
      GRAFT_CHECK(id >= 0 && id < info.vocab_size, ConfigError, "generate: prompt ", row,
                  " holds the id ", id, ", 0 to ", info.vocab_size - 1, " expected");
  }
}

/// One generation: the rows that are not finished, and the cache with their keys and values.
class Generation {
 public:
  Generation(const nn::CausalLM& model, const Prompts& prompts, const GenerateOptions& options)
      : model_(model),
        prompts_(prompts),
        options_(options),
        sampler_(options),
        cache_(model.info().layers, static_cast<int64_t>(prompts.size()), capacity()),
        rows_(prompts.size()),
        results_(prompts.size()) {
    context_.adapters = options.adapters;
    context_ = model.resolve(context_, prompts);
    context_.cache = &cache_;
    std::iota(rows_.begin(), rows_.end(), size_t{0});
  }

  std::vector<Continuation> run() {
    const NoGrad no_grad;
    keep_rows([&](size_t row) { return room(row) > 0; });
    Prompts inputs;
    for (const size_t row : rows_)
      inputs.push_back(prompts_[row]);
    for (int64_t step = 0; !rows_.empty(); ++step) {
      renew_cache(inputs);
      const Tensor logits = next_logits(inputs);
      take_tokens(logits, step);
      inputs.clear();
      for (const size_t row : rows_)
        inputs.push_back({results_[row].ids.back()});
    }
    return std::move(results_);
  }

 private:
  int64_t capacity() const {
    size_t longest = 0;
    for (const std::vector<int64_t>& prompt : prompts_)
      longest = std::max(longest, prompt.size());
    const int64_t positions = model_.info().max_positions;
    return std::min(positions,
                    static_cast<int64_t>(longest) + std::min(positions, options_.max_new_tokens));
  }

  /// How many more tokens a row may get.
  int64_t room(size_t row) const {
    const auto size = [](const std::vector<int64_t>& ids) {
      return static_cast<int64_t>(ids.size());
    };
    const int64_t made = size(results_[row].ids);
    return std::min(options_.max_new_tokens - made,
                    model_.info().max_positions - size(prompts_[row]) - made);
  }

  /// Where a row outgrows what its cached keys were made for, all rows start again, with all of
  /// their tokens as inputs. For the other rows that changes nothing.
  void renew_cache(Prompts& inputs) {
    const int64_t limit = model_.info().cache_renewal;
    bool stale = false;
    for (size_t i = 0; i < inputs.size() && limit > 0; ++i) {
      const int64_t cached = cache_.lengths().span<int64_t>()[i];
      const int64_t length = cached + static_cast<int64_t>(inputs[i].size());
      stale = stale || (cached > 0 && cached <= limit && length > limit);
    }
    if (!stale)
      return;
    cache_ = nn::KvCache(model_.info().layers, static_cast<int64_t>(rows_.size()), capacity());
    inputs.clear();
    for (const size_t row : rows_) {
      inputs.push_back(prompts_[row]);
      inputs.back().insert(inputs.back().end(), results_[row].ids.begin(), results_[row].ids.end());
    }
  }

  /// Runs the model over the unfinished rows' new tokens, of any lengths; (rows, V) f32: the logits
  /// behind the last token of each.
  Tensor next_logits(const Prompts& inputs) {
    size_t longest = 0;
    for (const std::vector<int64_t>& input : inputs)
      longest = std::max(longest, input.size());
    const int64_t rows = static_cast<int64_t>(inputs.size());
    const int64_t length = static_cast<int64_t>(longest);
    Tensor ids = Tensor::zeros({rows, length}, DType::i64);  // padded on the right, with any id
    Tensor positions = Tensor::empty({rows, length}, DType::i64);
    std::vector<int64_t> counts;
    std::vector<int64_t> last;
    for (int64_t row = 0; row < rows; ++row) {
      const std::vector<int64_t>& input = inputs[static_cast<size_t>(row)];
      std::ranges::copy(input, ids.data<int64_t>() + row * length);
      counts.push_back(static_cast<int64_t>(input.size()));
      last.push_back(row * length + counts.back() - 1);
      // Padding stands where the last token stands: it makes no text longer than it is.
      const int64_t first = cache_.lengths().span<int64_t>()[static_cast<size_t>(row)];
      for (int64_t t = 0; t < length; ++t)
        positions.data<int64_t>()[row * length + t] = first + std::min(t, counts.back() - 1);
    }
    context_.positions = positions;
    const Variable hidden = model_.forward(ids, context_);
    cache_.advance(counts);
    const Variable last_hidden(
        ops::embedding(as_rows(hidden.value()), Tensor::from(last, {rows})).view({rows, 1, -1}));
    return model_.head().forward(last_hidden, context_).value().to(DType::f32).view({rows, -1});
  }

  /// Samples a token for each unfinished row, shows it, and drops the rows that end.
  void take_tokens(const Tensor& logits, int64_t step) {
    const size_t vocabulary = static_cast<size_t>(logits.dim(1));
    std::vector<size_t> going_on;
    bool cancelled = false;
    for (size_t i = 0; i < rows_.size() && !cancelled; ++i) {
      const size_t row = rows_[i];
      const auto row_logits = logits.span<float>().subspan(i * vocabulary, vocabulary);
      const int64_t id = sampler_.pick(row_logits, static_cast<int64_t>(row), step);
      if (std::ranges::find(options_.stop_ids, id) != options_.stop_ids.end()) {
        results_[row].reason = StopReason::stop_id;
        continue;
      }
      results_[row].ids.push_back(id);
      const Verdict verdict =
          options_.on_token ? options_.on_token(static_cast<int64_t>(row), id) : Verdict::go_on;
      cancelled = verdict == Verdict::cancel;
      if (verdict == Verdict::end_row)
        results_[row].reason = StopReason::caller;
      else if (room(row) > 0)
        going_on.push_back(row);
    }
    if (cancelled)
      cancel();
    else
      keep_rows([&](size_t row) { return std::ranges::binary_search(going_on, row); });
  }

  void cancel() {
    for (const size_t row : rows_) {
      if (results_[row].reason == StopReason::length && room(row) > 0)
        results_[row].reason = StopReason::cancelled;
    }
    rows_.clear();
  }

  void keep_rows(const std::function<bool(size_t row)>& wanted) {
    std::vector<int64_t> selection;
    std::vector<size_t> rows;
    for (size_t i = 0; i < rows_.size(); ++i) {
      if (!wanted(rows_[i]))
        continue;
      selection.push_back(static_cast<int64_t>(i));
      rows.push_back(rows_[i]);
    }
    if (rows.size() == rows_.size())
      return;
    rows_ = std::move(rows);
    cache_.select_rows(selection);
    if (context_.adapters)
      context_.adapters = context_.adapters->of_rows(selection);
  }

  const nn::CausalLM& model_;
  const Prompts& prompts_;
  const GenerateOptions& options_;
  Sampler sampler_;
  nn::KvCache cache_;
  nn::Context context_;
  std::vector<size_t>
      rows_;  // unfinished, ascending: which prompt each row of the cache belongs to
  std::vector<Continuation> results_;
};

}  // namespace

std::vector<Continuation> generate(const nn::CausalLM& model, const Prompts& prompts,
                                   const GenerateOptions& options) {
  GRAFT_CHECK(options.max_new_tokens >= 0, ConfigError, "generate: max_new_tokens is ",
              options.max_new_tokens, ", a number of at least 0 expected");
  check_prompts(model.info(), prompts);
  return Generation(model, prompts, options).run();
}

}  // namespace graft::models
