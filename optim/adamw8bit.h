// AdamW8bit: AdamW that holds its moments in 8 bits, as bitsandbytes' does (Dettmers et al. 2021,
// arXiv:2110.02861): 2.03 bytes of state a number where AdamW has 8.
#pragma once

#include "graft/optim/adamw.h"

namespace graft::optim {

/// The arithmetic is AdamW's, and blocks of `blocksize` numbers are rounded after each step to the
/// nearest codes of bitsandbytes' dynamic maps. Parameters of fewer than `min_8bit_size` numbers,
/// and those of f64, have a whole state: their updates are AdamW's, bit for bit.
///
/// The state of the others: "exp_avg" and "exp_avg_sq" u8 of the parameter's shape, and
/// "exp_avg_absmax" and "exp_avg_sq_absmax" f32 (blocks).
class AdamW8bit final : public Optimizer {
 public:
  static constexpr int64_t blocksize = 256;
  static constexpr int64_t min_8bit_size = 4096;

  /// Throws ConfigError where an option is out of its range.
  explicit AdamW8bit(std::vector<NamedVariable> parameters, const AdamWOptions& options = {});

  std::string_view name() const override { return "adamw8bit"; }
  std::map<std::string, double> settings() const override;

 protected:
  void update(size_t i, const Tensor& grad, double grad_scale, int64_t step) override;

 private:
  AdamWOptions options_;
};

}  // namespace graft::optim
