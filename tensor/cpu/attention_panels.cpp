#include "graft/tensor/cpu/attention_panels.h"

#include <algorithm>
#include <array>
#include <limits>

namespace graft::cpu_kernels {

int64_t transposed_size(int64_t rows, int64_t width, int64_t group) {
  return parts(rows, group) * width * group;
}

void pack_transposed(const TileKernels& tiles, const Operand& head, int64_t group, float factor,
                     float* out) {
  const int64_t rows = head.view.sizes[0];
  const int64_t width = head.view.sizes[1];
  const ReadBlock<float> block(head, 0, rows, 0, width);
  const Block<float>& x = *block;
  for (int64_t row = 0; row < rows; row += group, out += width * group)
    tiles.transpose(x.data + row * x.row_stride, x.row_stride,
                    static_cast<int>(std::min(group, rows - row)), width, static_cast<int>(group),
                    out);
  if (factor != 1)
    std::transform(out - transposed_size(rows, width, group), out,
                   out - transposed_size(rows, width, group),
                   [factor](float number) { return factor * number; });
}

int64_t columns_size(int64_t rows, int64_t width) {
  return parts(width, panel_width) * column_stride(rows);
}

void pack_columns(const Operand& head, float factor, float* out) {
  const int64_t rows = head.view.sizes[0];
  const int64_t width = head.view.sizes[1];
  const ReadBlock<float> block(head, 0, rows, 0, width);
  const Block<float>& x = *block;
  for (int64_t first = 0; first < width; first += panel_width, out += column_stride(rows)) {
    const int64_t count = std::min(panel_width, width - first);
    for (int64_t row = 0; row < rows; ++row) {
      const float* from = x.data + row * x.row_stride + first;
      float* to = out + row * panel_width;
      for (int64_t i = 0; i < count; ++i)
        to[i] = factor * from[i];
      std::fill(to + count, to + panel_width, 0.0F);
    }
    std::fill(out + rows * panel_width, out + column_stride(rows), 0.0F);
  }
}

void score_product(const TileKernels& tiles, int64_t width, const float* rows, int64_t queries,
                   const float* keys, int64_t panels, float* scores) {
  for (int64_t panel = 0; panel < panels; ++panel) {
    const float* group = rows;
    for (int64_t row = 0; row < queries; row += tiles.rows, group += width * tiles.rows)
      tiles.forward(tiles.rows, width, group, keys + panel * width * panel_width,
                    scores + panel * score_stride + row * panel_width, panel_width, false);
  }
}

void add_score_product(const TileKernels& tiles, const float* scores, int64_t queries,
                       int64_t panels, const float* columns, int64_t columns_stride, float* c,
                       int64_t c_stride, int64_t head_panels) {
  std::array<const float*, tile_panels> group{};
  for (int64_t row = 0; row < queries; row += tiles.rows) {
    for (int64_t panel = 0; panel < panels; ++panel)
      group[static_cast<size_t>(panel)] = scores + panel * score_stride + row * panel_width;
    const int count = static_cast<int>(std::min<int64_t>(tiles.rows, queries - row));
    for (int64_t i = 0; i < head_panels; ++i)
      tiles.backward(count, panels, group.data(), columns + i * columns_stride,
                     c + i * c_stride + row * panel_width, true);
  }
}

void add_transposed_product(const TileKernels& tiles, const float* scores, int64_t queries,
                            int64_t panels, const float* columns, int64_t columns_stride, float* c,
                            int64_t head_panels) {
  const Cut groups = cut(panel_width, tiles.rows);
  std::array<float, size_t{tile_queries} * max_tile_rows> turned;
  for (int64_t panel = 0; panel < panels; ++panel) {
    for (int64_t g = 0; g < groups.count; ++g) {
      const Range keys = groups[g];
      float* to = turned.data();
      for (int64_t query = 0; query < queries; ++query, to += keys.size())
        std::copy_n(scores + panel * score_stride + query * panel_width + keys.begin, keys.size(),
                    to);
      for (int64_t i = 0; i < head_panels; ++i)
        tiles.forward(static_cast<int>(keys.size()), queries, turned.data(),
                      columns + i * columns_stride,
                      c + (i * tile_keys + panel * panel_width + keys.begin) * panel_width,
                      panel_width, true);
    }
  }
}

void hide_scores(const Visibility& visibility, int64_t query, int64_t queries, int64_t key,
                 int64_t panels, float* scores) {
  constexpr float hidden = -std::numeric_limits<float>::infinity();
  if (visibility.sees_all(query, query + queries, key, key + panels * panel_width))
    return;
  for (int64_t i = 0; i < queries; ++i) {
    const int64_t begin = visibility.keys_begin(query + i);
    const int64_t end = visibility.keys_end(query + i);
    for (int64_t panel = 0; panel < panels; ++panel) {
      const int64_t first = key + panel * panel_width;
      float* row = scores + panel * score_stride + i * panel_width;
      const int64_t seen = std::clamp(begin - first, int64_t{0}, panel_width);
      const int64_t seen_end = std::clamp(end - first, seen, panel_width);
      std::fill(row, row + seen, hidden);
      std::fill(row + seen_end, row + panel_width, hidden);
      if (!visibility.has_segments())
        continue;
      for (int64_t j = seen; j < seen_end; ++j) {
        if (!visibility.sees(query + i, first + j))
          row[j] = hidden;
      }
    }
  }
}

void store_columns(const Operand& head, int64_t row, int64_t rows, const float* columns,
                   int64_t columns_stride, float factor) {
  const int64_t width = head.view.sizes[1];
  visit_float(head.view.dtype, [&]<class T>() {
    for (int64_t i = 0; i < rows; ++i) {
      T* out = head.view.as<T>() + (row + i) * head.row_stride();
      for (int64_t first = 0; first < width; first += panel_width) {
        const float* from = columns + first / panel_width * columns_stride + i * panel_width;
        const int64_t count = std::min(panel_width, width - first);
        for (int64_t j = 0; j < count; ++j)
          out[first + j] = convert<T>(factor * from[j]);
      }
    }
    return KernelStatus::done;
  });
}

}  // namespace graft::cpu_kernels
