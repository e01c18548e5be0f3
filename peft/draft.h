// AdapterDraft: an adapter that is being made, before it is put on its model.
//
// Everything that can fail happens on the draft: a model gets whole adapters or none.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graft/peft/lora.h"
#include "graft/peft/selection.h"

namespace graft::peft {

/// One tensor of an adapter.
struct AdapterTensor {
  std::string key;    ///< in the adapter's file
  std::string name;   ///< among the trained parameters: "<module>.<adapter>.lora_A.weight"
  Shape shape;        ///< in the file
  Variable variable;  ///< a leaf; has no numbers until it is loaded
  /// Of a module that is saved whole: the parameter's path from there.
  std::string saved_parameter{};
  /// The file holds the transpose.
  bool is_transposed = false;
  /// A second place for the numbers of another tensor of the adapter.
  bool is_repeated = false;
  /// Stands for a parameter that counts as one of the model: a trained bias.
  bool is_bias_of_base = false;
  /// Of a copy: the parameter of the base model, and the rows of it where those are copied.
  nn::Member* copied = nullptr;
  Tensor rows{};
  /// Of a low-rank factor in the file: which of its sizes is the rank; -1 of others.
  int rank_dimension = -1;
  /// Of a factor: with these numbers beside its own, it is one of an adapter on the whole base.
  Tensor taken{};
};

/// The numbers of a tensor as its file has them.
Tensor file_value(const AdapterTensor& tensor);
/// Numbers from its file as its variable holds them.
Tensor held_value(const AdapterTensor& tensor, const Tensor& in_file);
/// Puts the numbers of a file, in the order of the tensors, into their variables. Those of repeated
/// tensors are not looked at.
void set_file_values(const std::vector<AdapterTensor>& tensors, const std::vector<Tensor>& values);

class AdapterDraft {
 public:
  /// The adapter `name` as selected, without numbers. Throws ConfigError for layers of a kind that
  /// adapters cannot be put on.
  AdapterDraft(const Selection& selection, std::string name);

  /// Where the configuration asks for it, takes out of the weights what the adapter begins with.
  /// Throws ConfigError where a weight has fewer singular values than its rank; NonFiniteError.
  void take_from_base(DType dtype);
  /// The numbers a new adapter starts from, in `dtype`. Copies start as what they are copies of.
  /// Comes after take_from_base().
  void initialize(uint64_t seed, DType dtype);
  std::vector<AdapterTensor>& tensors() { return tensors_; }
  /// Puts the adapter on the model. Nothing else may be done with the draft but tensors().
  void put_on();

 private:
  void add_layer(const SelectedLayer& layer);
  void add_copy(const SelectedCopy& copy);
  void add_tensors(const std::string& path, nn::Module& adapter);
  void add_tied_tensors(const SelectedLayer& head);
  AdapterTensor& tensor_of(const Variable& variable);
  bool is_adapted(const std::string& path) const;

  const Selection& selection_;
  std::string name_;
  std::vector<std::unique_ptr<AdapterBase>> adapters_;  // one for each of the selected layers
  std::vector<nn::Override> overrides_;                 // one for each of the selected copies
  LoraEmbedding* tied_embedding_ = nullptr;
  std::vector<AdapterTensor> tensors_;
};

/// Puts an adapter for the layer at a site, an Adapter or an EmbeddingAdapter, on it. Requires: the
/// layer is of a kind that takes one, and the name is new to it.
void add_to_layer(const Site& site, const std::string& name, std::unique_ptr<AdapterBase> adapter);
/// Takes an adapter out of a model: its part of each layer and its overrides. Layers that have none
/// left become again what they were.
void remove_adapter(nn::Module& model, const std::string& name);
/// Puts a layer in the place of an adapted one, which is returned with its adapters: `layer`, a
/// Linear or an Embedding, or the base layer where it is nullptr.
std::unique_ptr<nn::Module> replace_adapted(const Site& site, std::unique_ptr<nn::Module> layer);

}  // namespace graft::peft
