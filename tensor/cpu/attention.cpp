#include "graft/tensor/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "graft/tensor/cpu/attention_heads.h"
#include "graft/tensor/cpu/attention_panels.h"
#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/cpu/isa.h"
#include "graft/tensor/cpu/operand.h"
#include "graft/tensor/cpu/vectors.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

// Scores exist as one tile of queries x keys at a time.
constexpr int64_t query_block = 64;
constexpr int64_t key_block = 64;

template <class C>
Block<C> transposed(const Block<C>& block) {
  return {block.data, block.col_stride, block.row_stride};
}

/// Rounds rows x width numbers into rows of a head matrix.
template <class C>
void store(const Operand& target, int64_t row, int64_t rows, const C* values) {
  const int64_t width = target.view.sizes[1];
  visit_float(target.view.dtype, [&]<class T>() {
    for (int64_t i = 0; i < rows; ++i) {
      T* out = target.view.as<T>() + (row + i) * target.row_stride();
      for (int64_t d = 0; d < width; ++d)
        out[d] = convert<T>(values[i * width + d]);
    }
    return KernelStatus::done;
  });
}

/// Sets the scores of invisible keys to minus infinity.
template <class C>
void mask_scores(const Visibility& visibility, int64_t query, int64_t queries, int64_t key,
                 int64_t keys, C* scores) {
  for (int64_t i = 0; i < queries; ++i) {
    for (int64_t j = 0; j < keys; ++j) {
      if (!visibility.sees(query + i, key + j))
        scores[i * key_block + j] = -std::numeric_limits<C>::infinity();
    }
  }
}

/// The running softmax of a block of queries: largest score, sum of exponentials, weighted values.
template <class C>
struct RunningSoftmax {
  explicit RunningSoftmax(int64_t width)
      : largest(query_block, -std::numeric_limits<C>::infinity()),
        total(query_block),
        values(static_cast<size_t>(query_block * width)),
        width(width) {}

  /// Turns a row of scores into exp(score - largest so far) and rescales what was summed before.
  void update(int64_t i, C* scores, int64_t keys) {
    const C before = largest[static_cast<size_t>(i)];
    C now = before;
    bool sees_a_key = false;
    for (int64_t j = 0; j < keys; ++j) {
      now = std::max(now, scores[j]);
      sees_a_key |= scores[j] != -std::numeric_limits<C>::infinity();  // a NaN is seen
    }
    if (!sees_a_key) {
      std::fill_n(scores, keys, C(0));
      return;
    }
    const C shrink = std::exp(before - now);
    C sum = 0;
    for (int64_t j = 0; j < keys; ++j) {
      scores[j] = std::exp(scores[j] - now);
      sum += scores[j];
    }
    largest[static_cast<size_t>(i)] = now;
    total[static_cast<size_t>(i)] = total[static_cast<size_t>(i)] * shrink + sum;
    if (shrink != 1) {
      C* row = values.data() + i * width;
      for (int64_t d = 0; d < width; ++d)
        row[d] *= shrink;
    }
  }

  /// Divides by the sums; returns log-sum-exp of row i. A row that saw nothing becomes zero.
  C finish(int64_t i) {
    const C sum = total[static_cast<size_t>(i)];
    C* row = values.data() + i * width;
    for (int64_t d = 0; d < width; ++d)
      row[d] = sum == 0 ? C(0) : row[d] / sum;
    return largest[static_cast<size_t>(i)] + std::log(sum);
  }

  std::vector<C> largest, total, values;
  int64_t width;
};

template <class C>
void attend(const AttentionArgs& args, GemmTile<C> gemm, int64_t row, int64_t head, int64_t query) {
  const int64_t width = args.q.sizes[3];
  const int64_t keys = args.k.sizes[1];
  const int64_t queries = std::min(query_block, args.q.sizes[1] - query);
  const int64_t kv_head = head / (args.q.sizes[2] / args.k.sizes[2]);
  const Visibility visibility(args.start, args.segments, args.window, row, args.q.sizes[1], keys);
  const Operand k = head_matrix(args.k, row, kv_head);
  const Operand v = head_matrix(args.v, row, kv_head);
  const ReadBlock<C> q_block(head_matrix(args.q, row, head), query, queries, 0, width);
  std::vector<C> scores(static_cast<size_t>(query_block * key_block));
  RunningSoftmax<C> softmax(width);
  const int64_t end = visibility.keys_end(query + queries - 1);
  for (int64_t key = visibility.keys_begin(query); key < end; key += key_block) {
    const int64_t count = std::min(key_block, end - key);
    const ReadBlock<C> k_block(k, key, count, 0, width);
    const ReadBlock<C> v_block(v, key, count, 0, width);
    gemm(queries, count, width, static_cast<C>(args.scale), *q_block, transposed(*k_block),
         scores.data(), key_block, false);
    mask_scores(visibility, query, queries, key, count, scores.data());
    for (int64_t i = 0; i < queries; ++i)
      softmax.update(i, scores.data() + i * key_block, count);
    gemm(queries, width, count, C(1), {scores.data(), key_block, 1}, *v_block,
         softmax.values.data(), width, true);
  }
  C* lse = args.lse.as<C>() + (row * args.q.sizes[2] + head) * args.q.sizes[1] + query;
  for (int64_t i = 0; i < queries; ++i)
    lse[i] = softmax.finish(i);
  store(head_matrix(args.out, row, head), query, queries, softmax.values.data());
}

template <const GemmTiles& tiles>
KernelStatus attention(const AttentionArgs& args) {
  if (!contiguous(args.lse))
    return KernelStatus::unsupported;
  return visit_float(args.q.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const int64_t heads = args.q.sizes[2];
    const int64_t blocks = (args.q.sizes[1] + query_block - 1) / query_block;
    parallel_for(args.q.sizes[0] * heads * blocks, 1, [&](int64_t task, int64_t) {
      attend<C>(args, tile_of<C>(tiles), task / blocks / heads, task / blocks % heads,
                task % blocks * query_block);
    });
    return KernelStatus::done;
  });
}

/// Probabilities and score gradients of one tile of queries x keys, made again from lse.
template <class C>
class BackwardTile {
 public:
  BackwardTile(const AttentionBackwardArgs& args, GemmTile<C> gemm, int64_t row, int64_t head)
      : args_(args),
        gemm_(gemm),
        visibility_(args.start, args.segments, args.window, row, args.q.sizes[1], args.k.sizes[1]),
        row_(row),
        head_(head),
        probabilities(static_cast<size_t>(query_block * key_block)),
        score_grads(static_cast<size_t>(query_block * key_block)) {}

  /// p = exp(scale q kᵀ - lse), ds = p (dout vᵀ - Σ dout out).
  void compute(int64_t query, const Block<C>& q, const Block<C>& dout, const Block<C>& out,
               int64_t queries, int64_t key, const Block<C>& k, const Block<C>& v, int64_t keys) {
    const int64_t width = args_.q.sizes[3];
    gemm_(queries, keys, width, static_cast<C>(args_.scale), q, transposed(k), probabilities.data(),
          key_block, false);
    mask_scores(visibility_, query, queries, key, keys, probabilities.data());
    gemm_(queries, keys, width, C(1), dout, transposed(v), score_grads.data(), key_block, false);
    const C* lse = args_.lse.as<C>() + (row_ * args_.q.sizes[2] + head_) * args_.q.sizes[1] + query;
    for (int64_t i = 0; i < queries; ++i) {
      C delta = 0;
      for (int64_t d = 0; d < width; ++d)
        delta += dout.data[i * dout.row_stride + d] * out.data[i * out.row_stride + d];
      C* p = probabilities.data() + i * key_block;
      C* ds = score_grads.data() + i * key_block;
      const bool saw_a_key = lse[i] != -std::numeric_limits<C>::infinity();
      for (int64_t j = 0; j < keys; ++j) {
        p[j] = saw_a_key ? std::exp(p[j] - lse[i]) : C(0);
        ds[j] = p[j] * (ds[j] - delta);
      }
    }
  }

  const Visibility& visibility() const { return visibility_; }

 private:
  const AttentionBackwardArgs& args_;
  GemmTile<C> gemm_;
  Visibility visibility_;
  int64_t row_, head_;

 public:
  std::vector<C> probabilities, score_grads;
};

/// dq of one block of queries.
template <class C>
void query_gradient(const AttentionBackwardArgs& args, GemmTile<C> gemm, int64_t row, int64_t head,
                    int64_t query) {
  const int64_t width = args.q.sizes[3];
  const int64_t queries = std::min(query_block, args.q.sizes[1] - query);
  const int64_t kv_head = head / (args.q.sizes[2] / args.k.sizes[2]);
  BackwardTile<C> tile(args, gemm, row, head);
  const ReadBlock<C> q(head_matrix(args.q, row, head), query, queries, 0, width);
  const ReadBlock<C> dout(head_matrix(args.dout, row, head), query, queries, 0, width);
  const ReadBlock<C> out(head_matrix(args.out, row, head), query, queries, 0, width);
  std::vector<C> dq(static_cast<size_t>(query_block * width));
  const int64_t end = tile.visibility().keys_end(query + queries - 1);
  for (int64_t key = tile.visibility().keys_begin(query); key < end; key += key_block) {
    const int64_t keys = std::min(key_block, end - key);
    const ReadBlock<C> k(head_matrix(args.k, row, kv_head), key, keys, 0, width);
    const ReadBlock<C> v(head_matrix(args.v, row, kv_head), key, keys, 0, width);
    tile.compute(query, *q, *dout, *out, queries, key, *k, *v, keys);
    gemm(queries, width, keys, static_cast<C>(args.scale), {tile.score_grads.data(), key_block, 1},
         *k, dq.data(), width, true);
  }
  store(head_matrix(args.dq, row, head), query, queries, dq.data());
}

/// dk and dv of one block of keys: the sum over the query heads that read them, in order.
template <class C>
void key_gradient(const AttentionBackwardArgs& args, GemmTile<C> gemm, int64_t row, int64_t kv_head,
                  int64_t key) {
  const int64_t width = args.q.sizes[3];
  const int64_t keys = std::min(key_block, args.k.sizes[1] - key);
  const int64_t group = args.q.sizes[2] / args.k.sizes[2];
  const ReadBlock<C> k(head_matrix(args.k, row, kv_head), key, keys, 0, width);
  const ReadBlock<C> v(head_matrix(args.v, row, kv_head), key, keys, 0, width);
  std::vector<C> dk(static_cast<size_t>(key_block * width));
  std::vector<C> dv(static_cast<size_t>(key_block * width));
  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    BackwardTile<C> tile(args, gemm, row, head);
    const int64_t end = tile.visibility().queries_end(key + keys - 1, args.q.sizes[1]);
    for (int64_t query = tile.visibility().queries_begin(key); query < end; query += query_block) {
      const int64_t queries = std::min(query_block, end - query);
      const ReadBlock<C> q(head_matrix(args.q, row, head), query, queries, 0, width);
      const ReadBlock<C> dout(head_matrix(args.dout, row, head), query, queries, 0, width);
      const ReadBlock<C> out(head_matrix(args.out, row, head), query, queries, 0, width);
      tile.compute(query, *q, *dout, *out, queries, key, *k, *v, keys);
      gemm(keys, width, queries, C(1), {tile.probabilities.data(), 1, key_block}, *dout, dv.data(),
           width, true);
      gemm(keys, width, queries, static_cast<C>(args.scale),
           {tile.score_grads.data(), 1, key_block}, *q, dk.data(), width, true);
    }
  }
  store(head_matrix(args.dk, row, kv_head), key, keys, dk.data());
  store(head_matrix(args.dv, row, kv_head), key, keys, dv.data());
}

template <const GemmTiles& tiles>
KernelStatus attention_backward(const AttentionBackwardArgs& args) {
  if (!contiguous(args.lse))
    return KernelStatus::unsupported;
  return visit_float(args.q.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const int64_t heads = args.q.sizes[2];
    const int64_t kv_heads = args.k.sizes[2];
    const int64_t query_blocks = (args.q.sizes[1] + query_block - 1) / query_block;
    const int64_t key_blocks = (args.k.sizes[1] + key_block - 1) / key_block;
    parallel_for(args.q.sizes[0] * heads * query_blocks, 1, [&](int64_t task, int64_t) {
      query_gradient<C>(args, tile_of<C>(tiles), task / query_blocks / heads,
                        task / query_blocks % heads, task % query_blocks * query_block);
    });
    parallel_for(args.q.sizes[0] * kv_heads * key_blocks, 1, [&](int64_t task, int64_t) {
      key_gradient<C>(args, tile_of<C>(tiles), task / key_blocks / kv_heads,
                      task / key_blocks % kv_heads, task % key_blocks * key_block);
    });
    return KernelStatus::done;
  });
}

template <const GemmTiles& tiles>
void register_with(Registry& registry, const char* name) {
  registry.add<attention<tiles>>(attention_slot, DeviceKind::cpu, name);
  registry.add<attention_backward<tiles>>(attention_backward_slot, DeviceKind::cpu, name);
}

template <Isa isa>
KernelStatus in_panels(const AttentionArgs& args) {
  return attention_in_panels({tile_kernels(isa), *row_kernels(isa)}, args);
}
template <Isa isa>
KernelStatus backward_in_panels(const AttentionBackwardArgs& args) {
  return attention_backward_in_panels({tile_kernels(isa), *row_kernels(isa)}, args);
}

}  // namespace

void register_attention(Registry& registry) {
  register_with<portable::gemm_tiles>(registry, isa_name(Isa::portable));
  if (cpu_has(Isa::avx2))
    register_with<x86_64_v3::gemm_tiles>(registry, isa_name(Isa::avx2));
  for_each_row_isa([&]<Isa isa>(const char* name) {
    registry.add<in_panels<isa>>(attention_slot, DeviceKind::cpu, name);
    registry.add<backward_in_panels<isa>>(attention_backward_slot, DeviceKind::cpu, name);
  });
}

}  // namespace graft::cpu_kernels
