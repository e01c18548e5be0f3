#include "graft/nn/placement.h"

#include <cmath>

#include "graft/nn/kv_cache.h"
#include "graft/tensor/check.h"

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

}  // namespace

Rotary default_rotary(int64_t head_dim, double theta) {
  GRAFT_CHECK(head_dim > 0 && head_dim % 2 == 0, ConfigError, "rotary: head_dim is ", head_dim,
              ", an even number expected");
  GRAFT_CHECK(theta > 0 && std::isfinite(theta), ConfigError, "rotary: rope_theta is ", theta,
              ", a positive number expected");
  Rotary rotary;
  for (int64_t i = 0; i < head_dim; i += 2) {
    // f32 throughout: at position 2000 the rounding of a frequency is an angle of 1e-4, and the
    // models were trained with this one.
    const float exponent = static_cast<float>(i) / static_cast<float>(head_dim);
    rotary.inv_freq.push_back(1.0f / std::pow(static_cast<float>(theta), exponent));
  }
  return rotary;
}

Placement place(const Rotary& rotary, int64_t batch, int64_t length, DType dtype,
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
  const Tensor positions = context.positions.defined()
                               ? context.positions
                               : next_positions(batch, length, context.cache);
  Placement placement{
      ops::rope_tables(positions, rotary.inv_freq, dtype, rotary.attention_scaling)};
  if (context.cache != nullptr)
    placement.start = context.cache->lengths();
  placement.segments = context.segments;
  return placement;
}

}  // namespace graft::nn
