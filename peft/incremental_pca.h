// IncrementalPca: the principal components of rows that come in batches (Ross et al. 2008), with
// the arithmetic of scikit-learn's IncrementalPCA and PEFT's.
//
// What was seen is remembered as its mean and its first components, each as long as its singular
// value; a batch is decomposed together with those. What the first components leave out is
// forgotten.
#pragma once

#include <cstdint>

#include "graft/tensor/tensor.h"

namespace graft::peft {

class IncrementalPca {
 public:
  /// `stream` chooses the random directions that partial decompositions start from.
  IncrementalPca(int64_t components, uint64_t stream) : count_(components), stream_(stream) {}

  /// Takes rows (n, features), f32, into account: n and features at least the number of components.
  /// Throws ShapeError where they are fewer or the features are not those of before;
  /// NonFiniteError.
  void add(const Tensor& rows);

  int64_t count() const { return count_; }
  /// False until the first rows.
  bool is_started() const { return components_.defined(); }
  /// (count, features) f32: rows of length 1 at right angles, the largest first, each with its
  /// number of the largest magnitude positive.
  const Tensor& components() const { return components_; }
  /// (count) f32: the lengths of the rows seen along the components.
  const Tensor& singular_values() const { return singular_values_; }
  /// (count) f32: the share that each component has of the variance of all rows seen.
  Tensor explained_variance_ratio() const;

 private:
  /// The batch about its mean, under what is remembered of the rows before.
  Tensor with_memory(const Tensor& rows, const Tensor& mean) const;
  /// Mean, scatter and number of all rows, these included.
  void count_in(const Tensor& rows, const Tensor& mean);

  int64_t count_;
  uint64_t stream_;
  int64_t rows_ = 0;    // seen
  double scatter_ = 0;  // sum of their squared distances from the mean
  Tensor mean_;         // (features) f64
  Tensor components_;
  Tensor singular_values_;
};

}  // namespace graft::peft
