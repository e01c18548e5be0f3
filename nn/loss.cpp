#include "graft/nn/loss.h"

#include <algorithm>
#include <unordered_map>
#include <utility>
#include <vector>

#include "graft/autograd/engine.h"
#include "graft/autograd/tape.h"
#include "graft/tensor/check.h"
#include "graft/tensor/copy.h"
#include "graft/tensor/cross_entropy.h"
#include "graft/tensor/embedding.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"

namespace graft::nn {
namespace {

/// Positions whose logits exist at a time: 256 rows of 49152 f32 logits are 48 MiB.
constexpr int64_t chunk = 256;

/// Rows [begin, end) of an i64 vector, picked by `rows`.
Tensor pick(const Tensor& from, const std::vector<int64_t>& rows) {
  Tensor picked = Tensor::empty({static_cast<int64_t>(rows.size())}, DType::i64);
  const auto source = from.span<int64_t>();
  std::ranges::transform(rows, picked.data<int64_t>(),
                         [&](int64_t row) { return source[static_cast<size_t>(row)]; });
  return picked;
}

/// The context as the head sees it for some of the `tokens` tokens of a batch: each is a row.
Context context_of_rows(const Context& context, const std::vector<int64_t>& rows, int64_t tokens) {
  Context picked = context;
  if (context.adapters && !context.adapters->by_row.empty()) {
    const int64_t row_length = tokens / std::ssize(context.adapters->by_row);
    std::vector<int64_t> batch_rows;
    for (const int64_t token : rows)
      batch_rows.push_back(token / row_length);
    picked.adapters = context.adapters->of_rows(batch_rows);
  }
  if (context.dropout.sample.defined()) {
    picked.dropout.sample = pick(context.dropout.sample, rows);
    picked.dropout.position = pick(context.dropout.position, rows);
  }
  return picked;
}

/// Gradients of leaves, summed over chunks in order: in f32 where they have 16 bits.
class LeafSums {
 public:
  void add(const std::shared_ptr<Node>& leaf, const Tensor& grad) {
    const auto [it, is_new] = index_.try_emplace(leaf.get(), sums_.size());
    if (is_new)
      sums_.push_back({leaf, grad.dtype(), {}});
    accumulate_grad(sums_[it->second].total, grad.to(accumulator_dtype(grad.dtype())));
  }
  std::vector<std::shared_ptr<Node>> leaves() const {
    std::vector<std::shared_ptr<Node>> leaves;
    for (const Sum& sum : sums_)
      leaves.push_back(sum.leaf);
    return leaves;
  }
  /// The sums, rounded to the dtype of the leaves. Leaves none behind.
  std::vector<Tensor> take_grads() {
    std::vector<Tensor> grads;
    for (Sum& sum : sums_)
      grads.push_back(std::exchange(sum.total, {}).to(sum.dtype));
    return grads;
  }

 private:
  struct Sum {
    std::shared_ptr<Node> leaf;
    DType dtype;
    Tensor total;
  };
  std::unordered_map<const Node*, size_t> index_;
  std::vector<Sum> sums_;
};

/// The logits, to be overwritten: themselves, unless the head kept them for its backward.
Tensor writable(const Tensor& logits) {
  constexpr int64_t variable_and_caller = 2;
  const Tensor handle = logits;
  return handle.storage().use_count() == variable_and_caller ? handle : handle.clone();
}

/// What the chunks leave behind. Gradients are made on the way, so that no logits are kept.
struct Chunks {
  std::vector<float> losses;  ///< one per labelled row
  double total = 0;
  Tensor dhidden;  ///< (rows, D)
  LeafSums leaves;
};

Chunks run_chunks(const Tensor& hidden, const Tensor& labels, const std::vector<int64_t>& rows,
                  const LinearLike& head, const Context& context, bool hidden_needs_grad) {
  Chunks result;
  if (hidden_needs_grad)
    result.dhidden = Tensor::zeros(hidden.shape(), hidden.dtype());
  for (size_t begin = 0; begin < rows.size(); begin += chunk) {
    const std::vector<int64_t> part(
        rows.begin() + static_cast<int64_t>(begin),
        rows.begin() + static_cast<int64_t>(std::min(rows.size(), begin + size_t{chunk})));
    const Tensor indices = Tensor::from(part, {static_cast<int64_t>(part.size())});
    const Variable input(ops::embedding(hidden, indices), hidden_needs_grad);
    const Variable logits = head.forward(input, context_of_rows(context, part, hidden.dim(0)));
    Tensor softmax = writable(logits.value());
    const Tensor loss = ops::cross_entropy_(softmax, pick(labels, part), logits.requires_grad());
    result.total += ops::sum(loss);
    for (const double value : loss.to_vector())
      result.losses.push_back(static_cast<float>(value));
    if (!logits.requires_grad())
      continue;
    for (auto& [leaf, grad] : leaf_gradients(logits, std::move(softmax))) {
      if (leaf != input.edge().node) {
        result.leaves.add(leaf, grad);
        continue;
      }
      for (size_t i = 0; i < part.size(); ++i) {
        Tensor target = result.dhidden.slice(0, part[i], part[i] + 1);
        ops::copy_(target, grad.slice(0, static_cast<int64_t>(i), static_cast<int64_t>(i) + 1));
      }
    }
  }
  return result;
}

/// The rows that carry a label.
std::vector<int64_t> labelled_rows(const Tensor& labels, int64_t vocabulary) {
  std::vector<int64_t> rows;
  const auto values = labels.span<int64_t>();
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] == ignored_label)
      continue;
    GRAFT_CHECK(values[i] >= 0 && values[i] < vocabulary, ShapeError, "cross_entropy: label ",
                values[i], " given; ", ignored_label, " or 0 to ", vocabulary - 1, " expected");
    rows.push_back(static_cast<int64_t>(i));
  }
  return rows;
}

}  // namespace

Loss chunked_cross_entropy(const Variable& hidden, const Tensor& labels, const LinearLike& head,
                           const Context& context) {
  GRAFT_CHECK(hidden.value().rank() == 3, ShapeError, "cross_entropy: hidden is ", hidden.shape(),
              ", (B,T,D) expected");
  check_dtype("cross_entropy", "labels", labels, DType::i64);
  check_shape("cross_entropy", "labels", labels, {hidden.shape()[0], hidden.shape()[1]});
  if (context.dropout.sample.defined()) {
    for (const Tensor* rows : {&context.dropout.sample, &context.dropout.position}) {
      check_dtype("cross_entropy", "the context's sample or position", *rows, DType::i64);
      check_shape("cross_entropy", "the context's sample or position", *rows, {labels.numel()});
    }
  }
  const Tensor flat_labels = labels.contiguous().view({-1});
  const std::vector<int64_t> rows = labelled_rows(flat_labels, head.out_features());
  Chunks chunks =
      run_chunks(as_rows(hidden.value()), flat_labels, rows, head, context, needs_grad(hidden));

  Loss loss;
  loss.tokens = static_cast<int64_t>(rows.size());
  loss.per_token = Tensor::zeros(labels.shape());
  for (size_t i = 0; i < rows.size(); ++i)
    loss.per_token.data<float>()[rows[i]] = chunks.losses[i];
  std::vector<Variable> inputs{hidden};
  for (const std::shared_ptr<Node>& leaf : chunks.leaves.leaves())
    inputs.emplace_back(Tensor(), Edge{leaf, 0});
  std::vector<Tensor> kept{chunks.dhidden.defined() ? chunks.dhidden.view(hidden.shape())
                                                    : Tensor()};
  std::ranges::move(chunks.leaves.take_grads(), std::back_inserter(kept));
  std::vector<Saved> saved(std::make_move_iterator(kept.begin()),
                           std::make_move_iterator(kept.end()));
  loss.total =
      record("cross_entropy", Tensor::full({}, chunks.total, accumulator_dtype(hidden.dtype())),
             std::move(inputs), [saved = std::move(saved)](const Grads& dy, Needs) -> Grads {
               Grads grads;
               for (const Saved& grad : saved)
                 grads.push_back(grad->defined() ? ops::scale(*grad, dy[0].item()) : Tensor());
               return grads;
             });
  return loss;
}

Loss causal_lm_loss(const CausalLM& model, const Tensor& ids, const Tensor& labels,
                    const Context& context) {
  check_shape("causal_lm_loss", "labels", labels, ids.shape());
  Tensor next = Tensor::full(labels.shape(), static_cast<double>(ignored_label), DType::i64);
  const int64_t length = labels.dim(1);
  if (length > 1) {
    Tensor target = next.slice(1, 0, length - 1);
    ops::copy_(target, labels.slice(1, 1, length));
  }
  const Context resolved = model.resolve(context);
  return chunked_cross_entropy(model.forward(ids, resolved), next, model.head(), resolved);
}

}  // namespace graft::nn
