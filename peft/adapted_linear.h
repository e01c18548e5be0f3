// AdaptedLinear: a linear layer with adapters, put where the layer was.
//
// Owns the base layer, whose parameters keep their paths, and adapters by name; those of an adapter
// are at "<path of the layer>.<name of the adapter>.lora_A.weight". Which apply is the Context's
// choice: those it names and this layer has, in the order they were added; none where it names
// none. Where it names them row by row, rows of others are left as the base computes them.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graft/nn/linear.h"
#include "graft/peft/adapted_layer.h"
#include "graft/peft/adapter.h"
#include "graft/peft/named_adapters.h"

namespace graft::peft {

class AdaptedLinear final : public nn::LinearLike, public AdaptedLayer {
 public:
  explicit AdaptedLinear(std::unique_ptr<nn::Linear> base) : base_(*this, "", std::move(base)) {}

  Variable forward(const Variable& x, const nn::Context& context) const override;
  int64_t in_features() const override { return base_->in_features(); }
  int64_t out_features() const override { return base_->out_features(); }
  bool is_opaque() const override { return true; }

  /// Throws ConfigError where the name is taken.
  void add(const std::string& name, std::unique_ptr<Adapter> adapter) {
    adapters_.add(name, std::move(adapter));
  }
  Adapter* find(std::string_view name) const override { return adapters_.find(name); }
  std::vector<std::string> adapter_names() const override { return adapters_.names(); }
  bool has_adapters() const override { return !adapters_.empty(); }
  void remove(std::string_view name) override { adapters_.remove(name); }
  std::unique_ptr<nn::Module> make_merged(const MergeRequest& request) override;
  void set_merged(const std::vector<std::string>& names,
                  std::unique_ptr<nn::Module> layer) override;
  nn::Linear& base() const override { return *base_; }
  /// The base layer, to be put back in this one's place. Nothing else may be done afterwards.
  std::unique_ptr<nn::Linear> release_base();

 private:
  nn::Child<nn::Linear> base_;
  NamedAdapters<Adapter> adapters_{*this};
  std::unique_ptr<nn::Linear> merged_;  // no member: walks see the base
};

}  // namespace graft::peft
