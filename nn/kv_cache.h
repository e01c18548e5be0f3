// KvCache: the keys and values of the tokens a generation has seen.
//
// Rows may have different lengths: each writes behind its own last token. Belongs to one
// generation; not thread-safe.
#pragma once

#include <vector>

#include "graft/tensor/tensor.h"

namespace graft::nn {

class KvCache {
 public:
  /// Room for `capacity` tokens a row; memory is taken as it is needed, doubling.
  KvCache(int64_t layers, int64_t rows, int64_t capacity);

  struct KeysAndValues {
    Tensor keys, values;  ///< (B,S,Hkv,D), S the longest row after the append
  };
  /// Writes k, v (B,T,Hkv,D) of a layer behind each row's tokens. The lengths stay until advance().
  KeysAndValues append(int64_t layer, const Tensor& k, const Tensor& v);
  /// Moves on after a forward: row b saw counts[b] tokens more (of T; the rest was padding and is
  /// overwritten). Throws ShapeError where a row would exceed the capacity.
  void advance(const std::vector<int64_t>& counts);
  /// Keeps only the given rows, in that order.
  void select_rows(const std::vector<int64_t>& rows);

  /// (B) i64: tokens seen by each row.
  const Tensor& lengths() const { return lengths_; }
  int64_t rows() const { return lengths_.dim(0); }
  int64_t capacity() const { return capacity_; }

 private:
  struct Layer {
    Tensor keys, values;  // (B, S, Hkv, D), S growing up to the capacity
  };
  Tensor grown(const Tensor& from, const Tensor& like, int64_t length) const;

  int64_t capacity_;
  std::vector<Layer> layers_;
  Tensor lengths_;
};

}  // namespace graft::nn
