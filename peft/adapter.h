// Adapter: what is added to one linear layer. EmbeddingAdapter: what is added to one embedding.
//
// One class for each kind. An adapter whose contribution is a product of two small matrices gives
// them to the layer, which fuses them into its own product; other kinds compute theirs themselves.
// The names of an adapter's parameters are those of its file: "lora_A.weight".
#pragma once

#include <optional>

#include "graft/autograd/linear.h"
#include "graft/nn/embedding.h"
#include "graft/nn/linear.h"
#include "graft/peft/delta.h"

namespace graft::peft {

/// What tells the modules of adapters from those of the model.
class AdapterBase : public nn::Module {
 public:
  /// The adapter's contribution is multiplied by this, besides what its settings say.
  double scale() const { return scale_; }
  void set_scale(double scale) { scale_ = scale; }
  /// True for kinds that multiply what was there before them: the order of adapters matters then.
  virtual bool multiplies() const { return false; }
  /// True for kinds that apply to a part of each text only, which the Context has to say.
  virtual bool applies_to_part() const { return false; }
  /// True where a forward would be recorded for the gradients of the adapter's parameters.
  virtual bool is_trained() const;

 private:
  double scale_ = 1;
};

class Adapter : public AdapterBase {
 public:
  /// The contribution as a low-rank term, where it is one.
  virtual std::optional<LowRank> low_rank(const nn::Context& context) const;
  /// What goes with the low-rank term to every output, (out); undefined for nothing.
  virtual Variable bias() const { return {}; }
  /// What the layer is without while the adapter applies, as it was taken out of the weight when
  /// the adapter began; a term of negative scale.
  virtual std::optional<LowRank> taken() const { return std::nullopt; }
  /// What each output is multiplied by once the term is in it, (out); undefined for nothing. The
  /// outputs are those of the layer and the adapters before this one, without the layer's bias.
  virtual Variable gain(const nn::Context& context) const;
  /// What is added to base(x), for kinds that have no low-rank term. x (…, in) -> (…, out).
  virtual Variable forward(const Variable& x, const nn::Linear& base,
                           const nn::Context& context) const;
  /// What merging does to the parameters of the base layer.
  virtual Delta delta(const nn::Linear& base) const = 0;
};

class EmbeddingAdapter : public AdapterBase {
 public:
  /// What is added to base(ids), in the dtype of adapters. ids (…) i64 -> (…, features).
  virtual Variable forward(const Tensor& ids, const nn::Context& context) const = 0;
  /// What merging does to the table.
  virtual Delta delta(const nn::Embedding& base) const = 0;
  /// What each feature is multiplied by afterwards, (features); undefined for nothing.
  virtual Variable gain(const nn::Context& context) const;
};

}  // namespace graft::peft
