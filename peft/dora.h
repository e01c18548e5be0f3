// Dora (Liu et al. 2024, arXiv:2402.09353): W + scaling · B A with each row brought to a length
// that is trained: m / ‖W + scaling · B A‖ · (W + scaling · B A). The norm counts as a constant in
// backward, as in the paper (4.3) and in PEFT. A row of zeros stays zero.
#pragma once

#include <mutex>
#include <span>
#include <vector>

#include "graft/peft/changed_norms.h"
#include "graft/peft/lora.h"

namespace graft::peft {

/// The trained lengths, and the gain they make. While adapter and base stand still, norms are
/// computed once. Safe for concurrent forwards.
class Magnitude {
 public:
  /// A member of `owner` called "lora_magnitude_vector". The weight must outlive this.
  Magnitude(nn::Module& owner, const nn::Weight& weight, ChangedNorms::Of of);

  /// m / ‖W + Σ changes‖, (N); of the changes only the first may ever get other numbers. Throws
  /// ConfigError where the context overrides the weight.
  Variable gain(std::span<const LowRank> changes, const nn::Context& context) const;
  /// Starts with ‖W + Σ changes‖, with which the adapter is one without magnitudes.
  void initialize(std::span<const LowRank> changes);
  /// (N)
  nn::Parameter& vector() { return vector_; }

 private:
  Tensor inverse_norms(std::span<const LowRank> changes) const;

  nn::Parameter vector_;
  mutable std::mutex mutex_;
  mutable ChangedNorms norms_;
  // Of a change that is not trained, and what that change was.
  mutable Tensor a_, b_, inverse_;
  mutable double scale_ = 0;
};

/// With dropout, what is dropped is the input of the whole difference to the base, not of A alone,
/// as in PEFT.
class Dora final : public Lora {
 public:
  /// For a layer with that weight, (out, in), which must outlive this. Nothing has numbers until it
  /// is loaded. options.bias must be false.
  Dora(const nn::Weight& weight, const LoraOptions& options);

  /// None while dropout is on.
  std::optional<LowRank> low_rank(const nn::Context& context) const override;
  Variable gain(const nn::Context& context) const override;
  Variable forward(const Variable& x, const nn::Linear& base,
                   const nn::Context& context) const override;
  Delta delta(const nn::Linear& base) const override;
  bool multiplies() const override { return true; }

  Magnitude& magnitude() { return magnitude_; }
  /// Starts the magnitudes from A and B as they are.
  void initialize_magnitude() { magnitude_.initialize(changes()); }

 private:
  /// B A, and what was taken out of the weight.
  std::vector<LowRank> changes() const;

  Magnitude magnitude_;
};

/// On an embedding: each feature is a vector over all rows, and has a length.
class DoraEmbedding final : public LoraEmbedding {
 public:
  /// For an embedding with that weight, (rows, features), which must outlive this.
  DoraEmbedding(const nn::Weight& weight, int64_t r, double scaling);

  Variable gain(const nn::Context& context) const override;
  Delta delta(const nn::Embedding& base) const override;
  bool multiplies() const override { return true; }

  Magnitude& magnitude() { return magnitude_; }
  void initialize_magnitude() { magnitude_.initialize({{change()}}); }

 private:
  Magnitude magnitude_;
};

}  // namespace graft::peft
