#include "graft/nn/kv_cache.h"

#include <algorithm>

#include "graft/tensor/check.h"
#include "graft/tensor/copy.h"

namespace graft::nn {
namespace {

/// Tokens [begin, end) of one row of a (B,S,Hkv,D) tensor.
Tensor tokens_of(const Tensor& x, int64_t row, int64_t begin, int64_t end) {
  return x.slice(0, row, row + 1).slice(1, begin, end);
}

int64_t longest(const Tensor& lengths) {
  const auto values = lengths.span<int64_t>();
  return values.empty() ? 0 : *std::ranges::max_element(values);
}

}  // namespace

KvCache::KvCache(int64_t layers, int64_t rows, int64_t capacity)
    : capacity_(capacity),
      layers_(static_cast<size_t>(layers)),
      lengths_(Tensor::zeros({rows}, DType::i64)) {}

KvCache::KeysAndValues KvCache::append(int64_t layer, const Tensor& k, const Tensor& v) {
  check_same("kv_cache", k, v);
  GRAFT_CHECK(layer >= 0 && layer < static_cast<int64_t>(layers_.size()), ShapeError,
              "kv_cache: layer ", layer, " given, there are ", layers_.size());
  GRAFT_CHECK(k.rank() == 4 && k.dim(0) == rows(), ShapeError, "kv_cache: keys are ", k.shape(),
              ", (", rows(), ",T,H,D) expected");
  const int64_t end = longest(lengths_) + k.dim(1);
  GRAFT_CHECK(end <= capacity_, ShapeError, "kv_cache: ", end, " tokens in a row, room for ",
              capacity_);
  Layer& target = layers_[static_cast<size_t>(layer)];
  if (!target.keys.defined() || target.keys.dim(1) < end) {
    target.keys = grown(target.keys, k, end);
    target.values = grown(target.values, v, end);
  }
  check_shape("kv_cache", "keys", k, {rows(), k.dim(1), target.keys.dim(2), target.keys.dim(3)});
  for (int64_t row = 0; row < rows(); ++row) {
    const int64_t length = lengths_.span<int64_t>()[static_cast<size_t>(row)];
    Tensor keys = tokens_of(target.keys, row, length, length + k.dim(1));
    Tensor values = tokens_of(target.values, row, length, length + k.dim(1));
    ops::copy_(keys, k.slice(0, row, row + 1));
    ops::copy_(values, v.slice(0, row, row + 1));
  }
  return {target.keys.slice(1, 0, end), target.values.slice(1, 0, end)};
}

/// Memory for at least `length` tokens a row, with what `from` holds, for heads as those of `like`.
Tensor KvCache::grown(const Tensor& from, const Tensor& like, int64_t length) const {
  constexpr int64_t least = 64;
  const int64_t before = from.defined() ? from.dim(1) : 0;
  const int64_t after = std::min(capacity_, std::max({least, 2 * before, length}));
  // Zeros, because attention multiplies what it masks by 0, and 0 · NaN is NaN.
  Tensor result =
      Tensor::zeros({rows(), after, like.dim(2), like.dim(3)}, like.dtype(), like.device());
  if (before > 0) {
    Tensor target = result.slice(1, 0, before);
    ops::copy_(target, from);
  }
  return result;
}

void KvCache::advance(const std::vector<int64_t>& counts) {
  GRAFT_CHECK(static_cast<int64_t>(counts.size()) == rows(), ShapeError,
              "kv_cache: ", counts.size(), " counts given for ", rows(), " rows");
  Tensor lengths = lengths_.clone();  // a forward may still hold the old ones
  for (size_t row = 0; row < counts.size(); ++row) {
    int64_t& length = lengths.data<int64_t>()[row];
    GRAFT_CHECK(counts[row] >= 0 && counts[row] <= capacity_ - length, ShapeError, "kv_cache: row ",
                row, " has ", length, " tokens and gets ", counts[row], ", room for ", capacity_);
    length += counts[row];
  }
  lengths_ = std::move(lengths);
}

void KvCache::select_rows(const std::vector<int64_t>& selection) {
  const int64_t count = static_cast<int64_t>(selection.size());
  Tensor lengths = Tensor::empty({count}, DType::i64);
  for (size_t i = 0; i < selection.size(); ++i) {
    GRAFT_CHECK(selection[i] >= 0 && selection[i] < rows(), ShapeError, "kv_cache: row ",
                selection[i], " selected, there are ", rows());
    lengths.data<int64_t>()[i] = lengths_.span<int64_t>()[static_cast<size_t>(selection[i])];
  }
  const auto pick = [&](Tensor& from) {
    if (!from.defined())
      return;
    Tensor picked = Tensor::zeros(from.shape().with(0, count), from.dtype(), from.device());
    for (int64_t i = 0; i < count; ++i) {
      const int64_t length = lengths.span<int64_t>()[static_cast<size_t>(i)];
      Tensor target = tokens_of(picked, i, 0, length);
      ops::copy_(target, tokens_of(from, selection[static_cast<size_t>(i)], 0, length));
    }
    from = std::move(picked);
  };
  for (Layer& layer : layers_) {
    pick(layer.keys);
    pick(layer.values);
  }
  lengths_ = std::move(lengths);
}

}  // namespace graft::nn
