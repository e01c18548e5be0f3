#include "graft/autograd/pointwise.h"

#include <utility>

#include "graft/autograd/tape.h"
#include "graft/tensor/reduce.h"

namespace graft {

Variable add(const Variable& a, const Variable& b) {
  return record("add", ops::add(a.value(), b.value()), {a, b}, [](const Grads& dy, Needs) -> Grads {
    return {dy[0], dy[0]};
  });
}

Variable mul(const Variable& a, const Variable& b) {
  return record("mul", ops::mul(a.value(), b.value()), {a, b},
                [a = save_if(needs_grad(b), a), b = save_if(needs_grad(a), b)](
                    const Grads& dy, Needs needs) -> Grads {
                  return {needs[0] ? ops::mul(dy[0], *b) : Tensor(),
                          needs[1] ? ops::mul(dy[0], *a) : Tensor()};
                });
}

Variable scale(const Variable& x, double factor) {
  return record("scale", ops::scale(x.value(), factor), {x},
                [factor](const Grads& dy, Needs) -> Grads { return {ops::scale(dy[0], factor)}; });
}

Variable swiglu(const Variable& gate, const Variable& up) {
  const Variable y = record("swiglu", ops::swiglu(gate.value(), up.value()), {gate, up},
                            [gate = save(gate), up = save(up)](const Grads& dy, Needs) -> Grads {
                              auto [dgate, dup] = ops::swiglu_backward(dy[0], *gate, *up);
                              return {std::move(dgate), std::move(dup)};
                            });
  return remake_in_backward(y, {gate, up},
                            [gate = save(gate), up = save(up)] { return ops::swiglu(*gate, *up); });
}

Variable geglu(const Variable& gate, const Variable& up, GeluKind kind) {
  const Variable y =
      record("geglu", ops::geglu(gate.value(), up.value(), kind), {gate, up},
             [gate = save(gate), up = save(up), kind](const Grads& dy, Needs) -> Grads {
               auto [dgate, dup] = ops::geglu_backward(dy[0], *gate, *up, kind);
               return {std::move(dgate), std::move(dup)};
             });
  return remake_in_backward(y, {gate, up}, [gate = save(gate), up = save(up), kind] {
    return ops::geglu(*gate, *up, kind);
  });
}

Variable gelu(const Variable& x, GeluKind kind) {
  const Variable y = record("gelu", ops::gelu(x.value(), kind), {x},
                            [x = save(x), kind](const Grads& dy, Needs) -> Grads {
                              return {ops::gelu_backward(dy[0], *x, kind)};
                            });
  return remake_in_backward(y, {x}, [x = save(x), kind] { return ops::gelu(*x, kind); });
}

Variable to(const Variable& x, DType dtype) {
  if (x.dtype() == dtype)
    return x;
  return record(
      "to", x.value().to(dtype), {x},
      [before = x.dtype()](const Grads& dy, Needs) -> Grads { return {dy[0].to(before)}; });
}

Variable sum(const Variable& x) {
  return record("sum", Tensor::full({}, ops::sum(x.value()), x.dtype()), {x},
                [shape = x.shape()](const Grads& dy, Needs) -> Grads {
                  return {Tensor::full(shape, dy[0].item(), dy[0].dtype())};
                });
}

Variable view(const Variable& x, std::initializer_list<int64_t> sizes) {
  return record("view", x.value().view(sizes), {x},
                [shape = x.shape()](const Grads& dy, Needs) -> Grads {
                  return {dy[0].contiguous().view(shape)};
                });
}

Variable transpose(const Variable& x) {
  GRAFT_CHECK(x.value().rank() == 2, ShapeError, "transpose: x is ", x.shape(), ", (M,N) expected");
  return record("transpose", x.value().transpose(0, 1), {x}, [](const Grads& dy, Needs) -> Grads {
    return {dy[0].transpose(0, 1).contiguous()};
  });
}

}  // namespace graft
