// AdaptedLayer: what AdaptedLinear and AdaptedEmbedding have in common, and how merging looks from
// outside.
//
// A merge is a second layer that holds base and adapters in one matrix; the base is not touched by
// it. A forward uses it where it computes the same as the base with the adapters that the Context
// names, and the base otherwise: merging changes the speed of a forward and nothing else of it but
// roundings.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/nn/context.h"
#include "graft/peft/adapter.h"
#include "graft/peft/merge.h"

namespace graft::peft {

/// The tokens of x that use the adapter, because their rows do or because it applies to a part of
/// the text: (n) i64, counted over the leading dimensions of `shape`, of which the first one is the
/// batch's. Undefined where all of them do. Throws ShapeError where the context names adapters for
/// another number of rows.
Tensor tokens_under(const nn::Context& context, std::string_view adapter, const Shape& shape,
                    int64_t tokens);

class AdaptedLayer {
 public:
  virtual ~AdaptedLayer() = default;

  /// The layer without its adapters.
  virtual nn::Module& base() const = 0;
  /// The adapter of that name, or nullptr.
  virtual AdapterBase* find(std::string_view name) const = 0;
  /// In the order in which they were added.
  virtual std::vector<std::string> adapter_names() const = 0;
  virtual bool has_adapters() const = 0;
  /// Requires: the adapter is not merged.
  virtual void remove(std::string_view name) = 0;

  /// A layer with the base's numbers and those of the adapters of these names in one, held as the
  /// base is (what has 4 bits, as the options say); nullptr where there are none of them here. Of a
  /// base whose weight is streamed the sum refers to this layer. Throws as merged_linear does.
  virtual std::unique_ptr<nn::Module> make_merged(const MergeRequest& request) = 0;
  /// Puts what make_merged(names) gave into use; nullptr for nothing merged.
  virtual void set_merged(const std::vector<std::string>& names,
                          std::unique_ptr<nn::Module> layer) = 0;
  /// The adapters that are merged here.
  const std::vector<std::string>& merged_adapters() const { return merged_names_; }

 protected:
  /// True where the merged layer can stand for what the context asks for: it names all merged
  /// adapters for all rows, none of them is trained by this forward, none applies behind one that
  /// is not merged where their order matters, and no adapter brings parameters of the base of its
  /// own.
  bool merged_layer_applies(const nn::Context& context, bool is_overridden) const;
  bool is_merged(std::string_view name) const;
  /// Throws ConfigError where the request would put the copy that an adapter has of `weight` in its
  /// place, and another adapter multiplies what is there.
  void check_copy(nn::Member& weight, const MergeRequest& request) const;
  /// Those of the names that the layer has.
  std::vector<std::string> those_here(const std::vector<std::string>& names) const;
  /// Keeps those of the names that the layer has.
  void set_merged_names(const std::vector<std::string>& names);

 private:
  /// False where an adapter of these that is not merged comes before one that is, and one of the
  /// two multiplies.
  bool merged_come_first(const std::vector<std::string>& names) const;

  std::vector<std::string> merged_names_;
};

}  // namespace graft::peft
