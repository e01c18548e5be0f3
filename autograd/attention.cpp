#include "graft/autograd/attention.h"

#include <utility>

#include "graft/autograd/tape.h"

namespace graft {

Variable scaled_dot_product_attention(const Variable& q, const Variable& k, const Variable& v,
                                      const AttentionMask& mask, double scale) {
  auto [out, lse] = ops::attention(q.value(), k.value(), v.value(), mask, scale);
  return record(
      "attention", out, {q, k, v},
      [q = save(q), k = save(k), v = save(v), out = save(out), lse = save(lse), mask, scale](
          const Grads& dy, Needs) -> Grads {
        auto [dq, dk, dv] = ops::attention_backward(dy[0], *q, *k, *v, mask, scale, {*out, *lse});
        return {std::move(dq), std::move(dk), std::move(dv)};
      });
}

}  // namespace graft
