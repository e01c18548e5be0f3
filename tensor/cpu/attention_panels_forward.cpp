// The forward pass in flash style: a block of queries at a time, tile by tile of keys, with a
// running softmax.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "graft/tensor/cpu/attention_panels.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

constexpr float nothing = -std::numeric_limits<float>::infinity();

/// Keys and values of all heads, packed once: many blocks of queries and query heads read them.
class PackedKeys {
 public:
  PackedKeys(const TileKernels& tiles, const AttentionArgs& args)
      : heads_(args.k.sizes[2]),
        key_size_(transposed_size(args.k.sizes[1], args.k.sizes[3], panel_width)),
        value_size_(columns_size(args.k.sizes[1], args.k.sizes[3])) {
    const int64_t count = args.k.sizes[0] * heads_;
    keys_ = Tensor::empty({count * key_size_});
    values_ = Tensor::empty({count * value_size_});
    float* keys = keys_.data<float>();
    float* values = values_.data<float>();
    parallel_for(count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        pack_transposed(tiles, head_matrix(args.k, i / heads_, i % heads_), panel_width, 1,
                        keys + i * key_size_);
        pack_columns(head_matrix(args.v, i / heads_, i % heads_), 1, values + i * value_size_);
      }
    });
  }
  const float* keys(int64_t row, int64_t head) const {
    return keys_.data<float>() + (row * heads_ + head) * key_size_;
  }
  const float* values(int64_t row, int64_t head) const {
    return values_.data<float>() + (row * heads_ + head) * value_size_;
  }

 private:
  int64_t heads_, key_size_, value_size_;
  Tensor keys_, values_;
};

/// A block of queries: its largest scores so far, sums of exponentials and weighted values.
class QueryBlock {
 public:
  QueryBlock(const AttentionKernels& kernels, int64_t head_panels)
      : kernels_(kernels),
        head_panels_(head_panels),
        scores_(tile_panels * score_stride),
        values_(head_panels * score_stride),
        largest_(tile_queries, nothing),
        total_(tile_queries) {
    std::fill_n(values_.data(), head_panels * score_stride, 0.0F);
  }

  float* scores() { return scores_.data(); }
  const float* values() const { return values_.data(); }

  /// Turns the scores of `panels` panels of keys into exp(score - largest so far) and rescales what
  /// was summed before.
  void update(int64_t queries, int64_t panels) {
    for (int64_t i = 0; i < queries; ++i) {
      float* row = scores() + i * panel_width;
      const auto at = static_cast<size_t>(i);
      const float before = largest_[at];
      const float here = kernels_.rows.panels.largest(row, panels, score_stride);
      const float now = here <= before ? before : here;  // a NaN goes on
      if (now == nothing) {
        fill_zeros(row, panels);
        continue;
      }
      const float sum = kernels_.rows.panels.exponentials(row, panels, score_stride, now);
      const float shrink = std::exp(before - now);
      largest_[at] = now;
      total_[at] = total_[at] * shrink + sum;
      if (shrink != 1)
        kernels_.rows.panels.scale(values_.data() + i * panel_width, head_panels_, score_stride,
                                   shrink);
    }
  }

  /// Adds the weighted values of the keys whose scores were updated.
  void add_values(int64_t queries, int64_t panels, const float* columns, int64_t stride) {
    add_score_product(kernels_.tiles, scores(), queries, panels, columns, stride, values_.data(),
                      score_stride, head_panels_);
  }

  /// Divides by the sums; returns log-sum-exp of row i. A row that saw nothing becomes zero.
  float finish(int64_t i) {
    const auto at = static_cast<size_t>(i);
    if (total_[at] != 0)
      kernels_.rows.panels.scale(values_.data() + i * panel_width, head_panels_, score_stride,
                                 1 / total_[at]);
    return largest_[at] + std::log(total_[at]);
  }

 private:
  static void fill_zeros(float* row, int64_t panels) {
    for (int64_t panel = 0; panel < panels; ++panel)
      std::fill_n(row + panel * score_stride, panel_width, 0.0F);
  }

  const AttentionKernels& kernels_;
  int64_t head_panels_;
  Scratch scores_, values_;
  std::vector<float> largest_, total_;
};

void attend(const AttentionKernels& kernels, const AttentionArgs& args, const PackedKeys& packed,
            int64_t row, int64_t head, int64_t query) {
  const int64_t width = args.q.sizes[3];
  const int64_t keys = args.k.sizes[1];
  const int64_t queries = std::min(tile_queries, args.q.sizes[1] - query);
  const int64_t kv_head = head / (args.q.sizes[2] / args.k.sizes[2]);
  const Visibility visibility(args.start, args.segments, args.window, row, args.q.sizes[1], keys);
  Operand rows = head_matrix(args.q, row, head);
  rows.view.data = static_cast<char*>(rows.view.data) +
                   query * rows.row_stride() * static_cast<int64_t>(element_size(args.q.dtype));
  rows.view.sizes[0] = queries;
  const Scratch packed_rows(transposed_size(queries, width, kernels.tiles.rows));
  pack_transposed(kernels.tiles, rows, kernels.tiles.rows, static_cast<float>(args.scale),
                  packed_rows.data());
  QueryBlock block(kernels, parts(width, panel_width));
  const int64_t end = visibility.keys_end(query + queries - 1);
  const int64_t begin = visibility.keys_begin(query) / panel_width * panel_width;
  for (int64_t key = begin; key < end; key += tile_keys) {
    const int64_t key_end = std::min(key + tile_keys, end);
    if (visibility.apart(query, query + queries, key, key_end))
      continue;
    const int64_t panels = parts(key_end - key, panel_width);
    score_product(kernels.tiles, width, packed_rows.data(), queries,
                  packed.keys(row, kv_head) + key * width, panels, block.scores());
    hide_scores(visibility, query, queries, key, panels, block.scores());
    block.update(queries, panels);
    block.add_values(queries, panels, packed.values(row, kv_head) + key * panel_width,
                     column_stride(keys));
  }
  float* lse = args.lse.as<float>() + (row * args.q.sizes[2] + head) * args.q.sizes[1] + query;
  for (int64_t i = 0; i < queries; ++i)
    lse[i] = block.finish(i);
  store_columns(head_matrix(args.out, row, head), query, queries, block.values(), score_stride, 1);
}

}  // namespace

KernelStatus attention_in_panels(const AttentionKernels& kernels, const AttentionArgs& args) {
  if (!contiguous(args.lse) || args.q.dtype == DType::f64 || args.q.sizes[1] < fewest_queries)
    return KernelStatus::unsupported;
  const PackedKeys packed(kernels.tiles, args);
  const int64_t heads = args.q.sizes[2];
  const int64_t blocks = parts(args.q.sizes[1], tile_queries);
  parallel_for(args.q.sizes[0] * heads * blocks, 1, [&](int64_t task, int64_t) {
    attend(kernels, args, packed, task / blocks / heads, task / blocks % heads,
           task % blocks * tile_queries);
  });
  return KernelStatus::done;
}

}  // namespace graft::cpu_kernels
