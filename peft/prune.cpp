#include "graft/peft/prune.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "graft/tensor/error.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/random.h"

namespace graft::peft {
namespace {

constexpr std::array<std::string_view, 2> method_names = {"total", "frequency"};

/// Calls visit with T(), the type of x's elements.
template <class Visit>
Tensor for_type(const Tensor& x, const Visit& visit) {
  return x.dtype() == DType::f64 ? visit(double()) : visit(float());
}

template <class T>
int sign_of(T value) {
  return (value > 0) - (value < 0);
}

}  // namespace

std::string_view name(MajoritySign method) {
  return method_names[static_cast<size_t>(method)];
}

MajoritySign parse_majority_sign(std::string_view name) {
  const auto found = std::ranges::find(method_names, name);
  GRAFT_CHECK(found != method_names.end(), ConfigError, "majority_sign_method is \"", name,
              "\", total or frequency expected");
  return static_cast<MajoritySign>(found - method_names.begin());
}

Tensor prune_by_magnitude(const Tensor& x, double density) {
  const auto kept = static_cast<int64_t>(density * static_cast<double>(x.numel()));
  if (kept >= x.numel())
    return x;
  return for_type(x, [&]<class T>(T) {
    const Tensor dense = x.contiguous();
    const auto values = dense.span<T>();
    std::vector<int64_t> order(values.size());
    std::iota(order.begin(), order.end(), 0);
    const auto before = [&](int64_t i, int64_t j) {
      const T a = std::fabs(values[static_cast<size_t>(i)]);
      const T b = std::fabs(values[static_cast<size_t>(j)]);
      return a > b || (a == b && i < j);
    };
    std::nth_element(order.begin(), order.begin() + kept, order.end(), before);
    Tensor pruned = Tensor::zeros(x.shape(), x.dtype());
    for (int64_t i = 0; i < kept; ++i) {
      const int64_t at = order[static_cast<size_t>(i)];
      pruned.data<T>()[at] = values[static_cast<size_t>(at)];
    }
    return pruned;
  });
}

Tensor prune_at_random(const Tensor& x, double density, uint64_t seed, uint64_t stream) {
  const Tensor draws = ops::uniform(x.shape(), 0, 1, seed, stream, x.dtype());
  return for_type(x, [&]<class T>(T) {
    const auto values = x.contiguous();
    Tensor pruned = Tensor::zeros(x.shape(), x.dtype());
    T* out = pruned.data<T>();
    for (int64_t i = 0; i < x.numel(); ++i) {
      if (draws.data<T>()[i] < static_cast<T>(density))
        out[i] = values.data<T>()[i] / static_cast<T>(density);
    }
    return pruned;
  });
}

Tensor elect_signs(const std::vector<Tensor>& xs, MajoritySign method) {
  return for_type(xs.at(0), [&]<class T>(T) {
    std::vector<T> totals(static_cast<size_t>(xs[0].numel()));
    for (const Tensor& x : xs) {
      const Tensor dense = x.contiguous();
      for (size_t i = 0; i < totals.size(); ++i) {
        const T value = dense.data<T>()[i];
        totals[i] += method == MajoritySign::total ? value : static_cast<T>(sign_of(value));
      }
    }
    for (T& total : totals)
      total = total >= 0 ? T{1} : T{-1};
    return Tensor::from(totals, xs[0].shape());
  });
}

Tensor weighted_sum(const std::vector<Tensor>& xs, const std::vector<double>& weights) {
  Tensor sum = ops::scale(xs.at(0), weights.at(0));
  for (size_t i = 1; i < xs.size(); ++i)
    ops::add_(sum, xs[i], weights[i]);
  return sum;
}

Tensor mean_of_agreeing(const std::vector<Tensor>& xs, const std::vector<double>& weights,
                        const Tensor& signs) {
  return for_type(signs, [&]<class T>(T) {
    std::vector<T> sums(static_cast<size_t>(signs.numel()));
    std::vector<T> counts(sums.size());
    for (size_t k = 0; k < xs.size(); ++k) {
      const Tensor dense = xs[k].contiguous();
      for (size_t i = 0; i < sums.size(); ++i) {
        const T value = dense.data<T>()[i];
        if (static_cast<T>(sign_of(value)) != signs.data<T>()[i])
          continue;
        sums[i] += static_cast<T>(weights[k]) * value;
        counts[i] += 1;
      }
    }
    for (size_t i = 0; i < sums.size(); ++i)
      sums[i] /= std::max(counts[i], T{1});
    return Tensor::from(sums, signs.shape());
  });
}

}  // namespace graft::peft
