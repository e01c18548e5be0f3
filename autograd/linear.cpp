#include "graft/autograd/linear.h"

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

#include "graft/autograd/tape.h"
#include "graft/quant/linear.h"
#include "graft/tensor/copy.h"
#include "graft/tensor/embedding.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"

namespace graft {
namespace {

/// What backward keeps of one term. Weights are not Saved: they live anyway and are not
/// activations.
struct SavedTerm {
  Tensor a, b;
  Saved u;
  double scale;
  DropoutKey dropout;
  Tensor rows;
};

/// The positions of the inputs of the recorded node: x, w, bias, then a and b of each term.
constexpr size_t first_term = 3;

Tensor flat(const Tensor& x) {
  return x.contiguous().view({-1, x.dim(-1)});
}

/// The tensors side by side; the tensor itself where there is one.
Tensor side_by_side(const std::vector<Tensor>& parts, int dimension) {
  if (parts.empty())
    return {};
  return parts.size() == 1 ? parts[0].contiguous() : ops::concatenate(parts, dimension);
}

/// alpha · x w, (M,R), of x (M,K) and w (K,R); only `rows` of x are multiplied where they are
/// given, and the others are zero.
Tensor product_of_rows(const Tensor& x, const Tensor& w, double alpha, const Tensor& rows) {
  if (!rows.defined())
    return ops::matmul(x, w, alpha, w.dtype());
  const Tensor product = ops::matmul(ops::embedding(x, rows), w, alpha, w.dtype());
  return ops::embedding_backward(product, rows, x.dim(0));
}

/// The rows that a term applies to; all of them where it names none.
Tensor rows_of(const Tensor& x, const Tensor& rows) {
  return rows.defined() ? ops::embedding(x, rows) : x;
}

/// True of a factor that would reach rows that its term does not apply to, as 0 · NaN.
bool would_leak(const Tensor& factor, const Tensor& rows) {
  return rows.defined() && !ops::all_finite(factor);
}

/// y (…, N) += u w at some rows, with u (M,R) and w (R,N).
void add_at_rows(const Tensor& y, const Tensor& u, const Tensor& w, const Tensor& rows) {
  const Tensor added = ops::matmul(ops::embedding(u, rows), w, 1, y.dtype());
  const Tensor target = y.view({-1, y.dim(-1)});
  int64_t i = 0;
  for (const int64_t index : rows.span<int64_t>()) {
    Tensor row = target.slice(0, index, index + 1);
    ops::add_(row, added.slice(0, i, i + 1));
    ++i;
  }
}

/// u = scale · dropout(x) aᵀ, (M,R).
Tensor shrink(const Tensor& x, const LowRank& term) {
  return product_of_rows(flat(ops::dropout(x, term.dropout)), term.a.value().transpose(0, 1),
                         term.scale, term.rows);
}

/// dx of all terms on top of dy w: those without dropout join the product, unless they would leak.
template <class W>
Tensor input_gradient(const Tensor& dy, const W& w, const std::vector<SavedTerm>& terms,
                      const std::vector<Tensor>& gs) {
  std::vector<Tensor> fused_g;
  std::vector<Tensor> fused_a;
  std::vector<size_t> apart;
  for (size_t i = 0; i < terms.size(); ++i) {
    if (terms[i].dropout.p > 0 || would_leak(terms[i].a, terms[i].rows)) {
      apart.push_back(i);
      continue;
    }
    fused_g.push_back(gs[i]);
    fused_a.push_back(terms[i].a);
  }
  Tensor dx = ops::linear_backward(dy, w, side_by_side(fused_g, 1), side_by_side(fused_a, 0));
  for (const size_t i : apart) {
    const SavedTerm& term = terms[i];
    Tensor through;
    if (term.rows.defined()) {
      through = Tensor::zeros(dx.shape(), dx.dtype(), dx.device());
      add_at_rows(through, gs[i], term.a, term.rows);
    } else {
      through = ops::matmul(gs[i], term.a, 1, dx.dtype()).view(dx.shape());
    }
    ops::add_(dx, ops::dropout(through, term.dropout));
  }
  return dx;
}

template <class W>
Grads linear_grads(const Tensor& dy, Needs needs, const Tensor& x, const W& w,
                   const std::vector<SavedTerm>& terms) {
  Grads grads(first_term + 2 * terms.size());
  const Tensor dy_rows = flat(dy);
  std::vector<Tensor> gs;
  for (size_t i = 0; i < terms.size(); ++i) {
    const SavedTerm& term = terms[i];
    const size_t a = first_term + 2 * i;
    if (needs[0] || needs[a])
      gs.push_back(product_of_rows(dy_rows, term.b, term.scale, term.rows));
    if (needs[a]) {
      const Tensor dropped = flat(ops::dropout(x, term.dropout));
      grads[a] = ops::matmul(rows_of(gs[i], term.rows).transpose(0, 1), rows_of(dropped, term.rows),
                             1, term.a.dtype());
    }
    if (needs[a + 1])
      grads[a + 1] = ops::matmul(rows_of(dy_rows, term.rows).transpose(0, 1),
                                 rows_of(*term.u, term.rows), 1, term.b.dtype());
    if (gs.size() == i)
      gs.emplace_back();
  }
  if (needs[0])
    grads[0] = input_gradient(dy, w, terms, gs);
  if constexpr (std::is_same_v<W, Tensor>) {
    if (needs[1])
      grads[1] = ops::matmul(dy_rows.transpose(0, 1), flat(x), 1, w.dtype());
  }
  return grads;
}

/// What terms add to a product: inside of it, but for those that would leak.
struct FusedTerms {
  std::vector<Tensor> us{}, bs{};
  std::vector<std::pair<Tensor, const LowRank*>> apart{};

  void add(const Tensor& u, const LowRank& term) {
    if (would_leak(term.b.value(), term.rows)) {
      apart.emplace_back(u, &term);
      return;
    }
    us.push_back(u);
    bs.push_back(term.b.value());
  }

  template <class W>
  Tensor linear(const Tensor& x, const W& w, const Tensor& bias) const {
    Tensor y = ops::linear(x, w, bias, side_by_side(us, 1), side_by_side(bs, 1));
    for (const auto& [u, term] : apart)
      add_at_rows(y, u, term->b.value().transpose(0, 1), term->rows);
    return y;
  }
};

/// The product with a weight held as W; `variable` is the weight too where it is dense, and
/// undefined where its kind is frozen.
template <class W>
Variable record_linear(const Variable& x, const W& w, const Variable& variable,
                       const Variable& bias, std::span<const LowRank> terms) {
  GRAFT_CHECK(!bias.defined() || bias.value().defined(), ShapeError,
              "linear: the bias has no numbers; load them first");
  std::vector<Variable> inputs{x, variable, bias};
  FusedTerms fused;
  std::vector<SavedTerm> saved;
  bool x_is_used = needs_grad(variable);
  for (const LowRank& term : terms) {
    const Tensor u = shrink(x.value(), term);
    fused.add(u, term);
    x_is_used = x_is_used || needs_grad(term.a);
    saved.push_back({term.a.value(), term.b.value(), save_if(needs_grad(term.b), u), term.scale,
                     term.dropout, term.rows});
    inputs.push_back(term.a);
    inputs.push_back(term.b);
  }
  Tensor y = fused.linear(x.value(), w, bias.defined() ? bias.value() : Tensor());
  return record("linear", std::move(y), std::move(inputs),
                [x = save_if(x_is_used, x), w,
                 bias_dtype = bias.defined() ? bias.value().dtype() : DType::f32,
                 saved = std::move(saved)](const Grads& dy, Needs needs) -> Grads {
                  Grads grads = linear_grads(dy[0], needs, *x, w, saved);
                  if (needs[2])
                    grads[2] = ops::sum_rows(dy[0]).to(bias_dtype);
                  return grads;
                });
}

}  // namespace

Variable linear(const Variable& x, const Variable& w, const Variable& bias,
                std::span<const LowRank> terms) {
  return record_linear(x, w.value(), w, bias, terms);
}

Variable linear(const Variable& x, const PackedTensor& w, const Variable& bias,
                std::span<const LowRank> terms) {
  return record_linear(x, w, Variable(), bias, terms);
}

Variable linear(const Variable& x, const quant::QuantizedTensor& w, const Variable& bias,
                std::span<const LowRank> terms) {
  return record_linear(x, w, Variable(), bias, terms);
}

}  // namespace graft
