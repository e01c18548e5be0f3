// ChangedNorms: how long the rows or columns of a frozen weight are after a low-rank change.
//
// From ‖w‖² of the weight, which is summed up once, its product with the change's small factor, and
// that factor's Gram matrix: the changed weight is never formed, and the weight may be held in any
// way. For one thread at a time.
#pragma once

#include <span>

#include "graft/autograd/linear.h"
#include "graft/nn/weight.h"

namespace graft::peft {

class ChangedNorms {
 public:
  /// Which of the weight's vectors: rows, of the layer x Wᵀ, whose change is b a; or columns, of an
  /// embedding, whose change is (b a)ᵀ.
  enum class Of { rows, columns };

  /// `weight` must outlive this.
  ChangedNorms(const nn::Weight& weight, Of of) : weight_(weight), of_(of) {}

  /// ‖(W + Σ scale · b a)ᵢ‖ for each vector: (N) f64, with b (N,R) and a (R,K).
  Tensor under(std::span<const LowRank> changes);
  const nn::Weight& weight() const { return weight_; }

 private:
  void sum_squares();
  /// a Wᵀ, or a W: (R,N).
  Tensor product_with(const Tensor& a) const;

  const nn::Weight& weight_;
  Of of_;
  Tensor squares_{};  // (N) f64: ‖wᵢ‖², once they were asked for
};

}  // namespace graft::peft
