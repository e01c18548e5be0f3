#include "graft/nn/placement.h"

#include <algorithm>

#include "graft/nn/kv_cache.h"
#include "graft/tensor/check.h"
#include "graft/tensor/copy.h"

namespace graft::nn {
namespace {

/// 0, 1, … behind what each row has in the cache.
Tensor next_positions(int64_t batch, int64_t length, const KvCache* cache) {
  Tensor positions = Tensor::empty({batch, length}, DType::i64);
  int64_t* out = positions.data<int64_t>();
  for (int64_t row = 0; row < batch; ++row) {
    const int64_t first =
        cache == nullptr ? 0 : cache->lengths().span<int64_t>()[static_cast<size_t>(row)];
    for (int64_t t = 0; t < length; ++t)
      *out++ = first + t;
  }
  return positions;
}

/// Tokens [begin, end) of the batch that belong to one text.
struct Text {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t length = 0;  ///< one more than the largest position
};

/// The rows, cut where the segment changes. positions (B,T), segments (B,T) or undefined; dense.
std::vector<Text> texts_of(const Tensor& positions, const Tensor& segments) {
  const auto position = positions.span<int64_t>();
  const int64_t width = positions.dim(1);
  std::vector<Text> texts;
  for (int64_t i = 0; i < positions.numel(); ++i) {
    const size_t at = static_cast<size_t>(i);
    const bool starts =
        i % width == 0 ||
        (segments.defined() && segments.span<int64_t>()[at] != segments.span<int64_t>()[at - 1]);
    if (starts)
      texts.push_back({.begin = i});
    texts.back().end = i + 1;
    texts.back().length = std::max(texts.back().length, position[at] + 1);
  }
  return texts;
}

ops::RopeTables tables_of(const Rotary& rotary, const Tensor& positions, const Tensor& segments,
                          DType dtype) {
  if (!rotary.depends_on_length() || positions.numel() == 0)
    return ops::rope_tables(positions, rotary.frequencies(0), dtype, rotary.attention_factor());
  const Tensor tokens = positions.view({positions.numel()});
  std::vector<Tensor> cos;
  std::vector<Tensor> sin;
  for (const Text& text : texts_of(positions, segments)) {
    ops::RopeTables tables =
        ops::rope_tables(tokens.slice(0, text.begin, text.end), rotary.frequencies(text.length),
                         dtype, rotary.attention_factor());
    cos.push_back(std::move(tables.cos));
    sin.push_back(std::move(tables.sin));
  }
  return {ops::concatenate(cos, 0), ops::concatenate(sin, 0)};
}

}  // namespace

Placement place(std::span<const Rotary> rotaries, int64_t batch, int64_t length, DType dtype,
                const Context& context) {
  if (context.cache != nullptr) {
    GRAFT_CHECK(context.cache->rows() == batch, ShapeError, "place: ", batch, " rows given, the ",
                "cache has ", context.cache->rows());
    GRAFT_CHECK(!context.segments.defined(), ShapeError,
                "place: segments and a cache given, one of them expected");
  }
  if (context.positions.defined())
    check_shape("place", "positions", context.positions, {batch, length});
  if (context.segments.defined())
    check_shape("place", "segments", context.segments, {batch, length});
  Placement placement{.ropes = {},
                      .positions = context.positions.defined()
                                       ? context.positions.contiguous()
                                       : next_positions(batch, length, context.cache)};
  placement.segments = context.segments.defined() ? context.segments.contiguous() : Tensor();
  for (const Rotary& rotary : rotaries)
    placement.ropes.push_back(tables_of(rotary, placement.positions, placement.segments, dtype));
  if (context.cache != nullptr)
    placement.start = context.cache->lengths();
  return placement;
}

}  // namespace graft::nn
