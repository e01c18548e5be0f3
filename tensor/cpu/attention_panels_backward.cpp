// The backward pass: scores and probabilities are made again tile by tile, and each tile gives its
// part to all three gradients.
#include <algorithm>
#include <limits>
#include <vector>

#include "graft/tensor/cpu/attention_panels.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

/// A head as pack_transposed lays it out.
class TransposedHead {
 public:
  TransposedHead(const TileKernels& tiles, const Operand& head, int64_t group, float factor = 1)
      : width_(head.view.sizes[1]), numbers_(transposed_size(head.view.sizes[0], width_, group)) {
    pack_transposed(tiles, head, group, factor, numbers_.data());
  }
  /// From row `row` on, the first of a group.
  const float* from(int64_t row) const { return numbers_.data() + row * width_; }

 private:
  int64_t width_;
  Scratch numbers_;
};

/// A head as pack_columns lays it out.
class HeadColumns {
 public:
  explicit HeadColumns(const Operand& head, float factor = 1)
      : stride_(column_stride(head.view.sizes[0])),
        numbers_(columns_size(head.view.sizes[0], head.view.sizes[1])) {
    pack_columns(head, factor, numbers_.data());
  }
  const float* from(int64_t row) const { return numbers_.data() + row * panel_width; }
  int64_t stride() const { return stride_; }

 private:
  int64_t stride_;
  Scratch numbers_;
};

/// Σ over the head of dout · out, for each query.
std::vector<float> products_with_output(const AttentionBackwardArgs& args, int64_t row,
                                        int64_t head) {
  const int64_t queries = args.q.sizes[1];
  const int64_t width = args.q.sizes[3];
  const ReadBlock<float> dout(head_matrix(args.dout, row, head), 0, queries, 0, width);
  const ReadBlock<float> out(head_matrix(args.out, row, head), 0, queries, 0, width);
  std::vector<float> products(static_cast<size_t>(queries));
  for (int64_t i = 0; i < queries; ++i) {
    const float* a = (*dout).data + i * (*dout).row_stride;
    const float* b = (*out).data + i * (*out).row_stride;
    float sum = 0;
    for (int64_t d = 0; d < width; ++d)
      sum += a[d] * b[d];
    products[static_cast<size_t>(i)] = sum;
  }
  return products;
}

/// The gradients of one query head.
class HeadGradient {
 public:
  HeadGradient(const AttentionKernels& kernels, const AttentionBackwardArgs& args, int64_t row,
               int64_t head)
      : kernels_(kernels),
        args_(args),
        row_(row),
        head_(head),
        head_panels_(parts(args.q.sizes[3], panel_width)),
        visibility_(args.start, args.segments, args.window, row, args.q.sizes[1], args.k.sizes[1]),
        q_(kernels.tiles, head_matrix(args.q, row, head), kernels.tiles.rows,
           static_cast<float>(args.scale)),
        dout_(kernels.tiles, head_matrix(args.dout, row, head), kernels.tiles.rows),
        k_(kernels.tiles, head_matrix(args.k, row, kv_head()), panel_width),
        v_(kernels.tiles, head_matrix(args.v, row, kv_head()), panel_width),
        q_columns_(head_matrix(args.q, row, head), static_cast<float>(args.scale)),
        dout_columns_(head_matrix(args.dout, row, head)),
        k_columns_(head_matrix(args.k, row, kv_head())),
        output_products_(products_with_output(args, row, head)),
        probabilities_(tile_panels * score_stride),
        score_grads_(tile_panels * score_stride),
        dq_(columns_size(args.q.sizes[1], args.q.sizes[3])),
        dk_(key_numbers()),
        dv_(key_numbers()) {}

  /// Adds the parts of all tiles; the gradients of keys and values go to `dk` and `dv`, heads of
  /// (S,D).
  void compute(const Operand& dk, const Operand& dv) {
    const int64_t keys = args_.k.sizes[1];
    std::fill_n(dq_.data(), columns_size(args_.q.sizes[1], args_.q.sizes[3]), 0.0F);
    for (int64_t key = 0; key < keys; key += tile_keys) {
      const int64_t count = std::min(tile_keys, keys - key);
      std::fill_n(dk_.data(), key_numbers(), 0.0F);
      std::fill_n(dv_.data(), key_numbers(), 0.0F);
      add_tiles(key, count);
      store_columns(dk, key, count, dk_.data(), tile_keys * panel_width, 1);
      store_columns(dv, key, count, dv_.data(), tile_keys * panel_width, 1);
    }
    store_columns(head_matrix(args_.dq, row_, head_), 0, args_.q.sizes[1], dq_.data(),
                  column_stride(args_.q.sizes[1]), static_cast<float>(args_.scale));
  }

 private:
  /// Gradients of a tile of keys.
  int64_t key_numbers() const { return head_panels_ * tile_keys * panel_width; }
  int64_t kv_head() const { return head_ / (args_.q.sizes[2] / args_.k.sizes[2]); }

  /// The tiles of all blocks of queries that see one of the keys.
  void add_tiles(int64_t key, int64_t count) {
    const int64_t queries = args_.q.sizes[1];
    const int64_t end = visibility_.queries_end(key + count - 1, queries);
    const int64_t begin = visibility_.queries_begin(key) / tile_queries * tile_queries;
    for (int64_t query = begin; query < end; query += tile_queries) {
      const int64_t rows = std::min(tile_queries, queries - query);
      const int64_t key_end = std::min(key + count, visibility_.keys_end(query + rows - 1));
      if (key_end > key && !visibility_.apart(query, query + rows, key, key_end))
        add_tile(query, rows, key, parts(key_end - key, panel_width));
    }
  }

  void add_tile(int64_t query, int64_t queries, int64_t key, int64_t panels) {
    const TileKernels& tiles = kernels_.tiles;
    const int64_t width = args_.q.sizes[3];
    float* p = probabilities_.data();
    float* ds = score_grads_.data();
    score_product(tiles, width, q_.from(query), queries, k_.from(key), panels, p);
    hide_scores(visibility_, query, queries, key, panels, p);
    score_product(tiles, width, dout_.from(query), queries, v_.from(key), panels, ds);
    make_score_gradients(query, queries, panels);
    add_score_product(tiles, ds, queries, panels, k_columns_.from(key), k_columns_.stride(),
                      dq_.data() + query * panel_width, column_stride(args_.q.sizes[1]),
                      head_panels_);
    add_transposed_product(tiles, p, queries, panels, dout_columns_.from(query),
                           dout_columns_.stride(), dv_.data(), head_panels_);
    add_transposed_product(tiles, ds, queries, panels, q_columns_.from(query), q_columns_.stride(),
                           dk_.data(), head_panels_);
  }

  /// p = exp(score - lse), ds = p (dout vᵀ - Σ dout out); zeros where a query saw no key.
  void make_score_gradients(int64_t query, int64_t queries, int64_t panels) {
    const float* lse =
        args_.lse.as<float>() + (row_ * args_.q.sizes[2] + head_) * args_.q.sizes[1] + query;
    for (int64_t i = 0; i < queries; ++i) {
      float* p = probabilities_.data() + i * panel_width;
      float* ds = score_grads_.data() + i * panel_width;
      if (lse[i] != -std::numeric_limits<float>::infinity()) {
        kernels_.rows.panels.score_gradients(p, ds, panels, score_stride, lse[i],
                                             output_products_[static_cast<size_t>(query + i)]);
        continue;
      }
      for (int64_t panel = 0; panel < panels; ++panel) {
        std::fill_n(p + panel * score_stride, panel_width, 0.0F);
        std::fill_n(ds + panel * score_stride, panel_width, 0.0F);
      }
    }
  }

  const AttentionKernels& kernels_;
  const AttentionBackwardArgs& args_;
  int64_t row_, head_, head_panels_;
  Visibility visibility_;
  TransposedHead q_, dout_, k_, v_;
  HeadColumns q_columns_, dout_columns_, k_columns_;
  std::vector<float> output_products_;
  Scratch probabilities_, score_grads_, dq_, dk_, dv_;
};

/// out (B,S,Hkv,D) = the sum of the query heads' parts (B,S,H,D), in order.
void add_heads(const Tensor& of_heads, const TensorView& out) {
  const int64_t keys = out.sizes[1];
  const int64_t kv_heads = out.sizes[2];
  const int64_t width = out.sizes[3];
  const int64_t group = of_heads.dim(2) / kv_heads;
  const float* from = of_heads.data<float>();
  visit_float(out.dtype, [&]<class T>() {
    parallel_for(out.sizes[0] * keys, tile_queries, [&](int64_t begin, int64_t end) {
      std::vector<float> sum(static_cast<size_t>(width));
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t head = 0; head < kv_heads; ++head) {
          const float* part = from + (i * kv_heads + head) * group * width;
          std::copy_n(part, width, sum.data());
          for (int64_t j = 1; j < group; ++j) {
            for (int64_t d = 0; d < width; ++d)
              sum[static_cast<size_t>(d)] += part[j * width + d];
          }
          T* to = out.as<T>() + i / keys * out.strides[0] + i % keys * out.strides[1] +
                  head * out.strides[2];
          for (int64_t d = 0; d < width; ++d)
            to[d] = convert<T>(sum[static_cast<size_t>(d)]);
        }
      }
    });
    return KernelStatus::done;
  });
}

}  // namespace

KernelStatus attention_backward_in_panels(const AttentionKernels& kernels,
                                          const AttentionBackwardArgs& args) {
  if (!contiguous(args.lse) || args.q.dtype == DType::f64 || args.q.sizes[1] < fewest_queries)
    return KernelStatus::unsupported;
  const int64_t heads = args.q.sizes[2];
  const bool shared = heads != args.k.sizes[2];
  // Query heads that share keys leave their gradients here, to be added up in a fixed order.
  Tensor dk, dv;
  if (shared) {
    dk = Tensor::empty({args.k.sizes[0], args.k.sizes[1], heads, args.k.sizes[3]});
    dv = Tensor::empty(dk.shape());
  }
  const TensorView dk_of_heads = shared ? dk.as_view() : args.dk;
  const TensorView dv_of_heads = shared ? dv.as_view() : args.dv;
  parallel_for(args.q.sizes[0] * heads, 1, [&](int64_t task, int64_t) {
    const int64_t row = task / heads;
    const int64_t head = task % heads;
    HeadGradient(kernels, args, row, head)
        .compute(head_matrix(dk_of_heads, row, head), head_matrix(dv_of_heads, row, head));
  });
  if (shared) {
    add_heads(dk, args.dk);
    add_heads(dv, args.dv);
  }
  return KernelStatus::done;
}

}  // namespace graft::cpu_kernels
