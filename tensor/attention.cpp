#include "graft/tensor/attention.h"

#include "graft/tensor/check.h"
#include "graft/tensor/copy.h"

namespace graft {

constinit Slot<AttentionArgs> attention_slot("attention");
constinit Slot<AttentionBackwardArgs> attention_backward_slot("attention_backward");

namespace ops {
namespace {

void check_arguments(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionMask& mask) {
  GRAFT_CHECK(q.rank() == 4 && k.rank() == 4, ShapeError, "attention: q is ", q.shape(), ", k is ",
              k.shape(), ", (B,T,H,D) and (B,S,Hkv,D) expected");
  check_same("attention", k, v);
  check_dtype("attention", "k", k, q.dtype());
  GRAFT_CHECK(
      q.dim(0) == k.dim(0) && q.dim(3) == k.dim(3) && k.dim(2) > 0 && q.dim(2) % k.dim(2) == 0,
      ShapeError, "attention: q is ", q.shape(), ", k is ", k.shape(),
      "; rows and head size must agree, query heads be a multiple of key heads");
  GRAFT_CHECK(mask.window >= 0, ShapeError, "attention: a window of ", mask.window, " keys");
  if (mask.start.defined()) {
    check_dtype("attention", "start", mask.start, DType::i64);
    check_shape("attention", "start", mask.start, {q.dim(0)});
  } else {
    GRAFT_CHECK(k.dim(1) >= q.dim(1), ShapeError, "attention: ", q.dim(1), " queries for ",
                k.dim(1), " keys");
  }
  if (mask.segments.defined()) {
    check_dtype("attention", "segments", mask.segments, DType::i64);
    check_shape("attention", "segments", mask.segments, {k.dim(0), k.dim(1)});
    GRAFT_CHECK(q.dim(1) == k.dim(1) && !mask.start.defined(), ShapeError,
                "attention: segments with ", q.dim(1), " queries and ", k.dim(1),
                " keys; they need as many, and no start");
  }
}

/// The mask with row-major tensors, as kernels read them.
AttentionMask dense(const AttentionMask& mask) {
  const auto row_major = [](const Tensor& x) { return x.defined() ? x.contiguous() : x; };
  return {row_major(mask.start), row_major(mask.segments), mask.window};
}

/// Kernels want the last dimension dense.
Tensor dense_rows(const Tensor& x) {
  return x.dim(3) == 1 || x.strides()[3] == 1 ? x : x.contiguous();
}

}  // namespace

Attention attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionMask& mask,
                    double scale) {
  check_arguments(q, k, v, mask);
  Attention result{
      Tensor::empty(q.shape(), q.dtype(), q.device()),
      Tensor::empty({q.dim(0), q.dim(2), q.dim(1)}, accumulator_dtype(q.dtype()), q.device())};
  const Tensor dense_q = dense_rows(q);
  const Tensor dense_k = dense_rows(k);
  const Tensor dense_v = dense_rows(v);
  const AttentionMask dense_mask = dense(mask);
  if (q.numel() > 0)
    attention_slot(q.device(), {dense_q.as_view(), dense_k.as_view(), dense_v.as_view(),
                                dense_mask.start.as_view(), dense_mask.segments.as_view(),
                                mask.window, scale, result.out.as_view(), result.lse.as_view()});
  return result;
}

AttentionGrads attention_backward(const Tensor& dout, const Tensor& q, const Tensor& k,
                                  const Tensor& v, const AttentionMask& mask, double scale,
                                  const Attention& forward) {
  check_arguments(q, k, v, mask);
  check_same("attention_backward", dout, q);
  check_same("attention_backward", forward.out, q);
  check_shape("attention_backward", "lse", forward.lse, {q.dim(0), q.dim(2), q.dim(1)});
  check_dtype("attention_backward", "lse", forward.lse, accumulator_dtype(q.dtype()));
  AttentionGrads grads{Tensor::empty(q.shape(), q.dtype(), q.device()),
                       Tensor::empty(k.shape(), k.dtype(), k.device()),
                       Tensor::empty(v.shape(), v.dtype(), v.device())};
  const Tensor dense_dout = dense_rows(dout);
  const Tensor dense_q = dense_rows(q);
  const Tensor dense_k = dense_rows(k);
  const Tensor dense_v = dense_rows(v);
  const AttentionMask dense_mask = dense(mask);
  if (q.numel() > 0)
    attention_backward_slot(
        q.device(), {dense_dout.as_view(), dense_q.as_view(), dense_k.as_view(), dense_v.as_view(),
                     dense_mask.start.as_view(), dense_mask.segments.as_view(), mask.window, scale,
                     forward.out.as_view(), forward.lse.as_view(), grads.dq.as_view(),
                     grads.dk.as_view(), grads.dv.as_view()});
  if (q.numel() == 0) {
    fill_(grads.dk, 0);
    fill_(grads.dv, 0);
  }
  return grads;
}

}  // namespace ops
}  // namespace graft
