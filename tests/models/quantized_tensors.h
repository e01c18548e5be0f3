// The tensors of a checkpoint that transformers and bitsandbytes wrote, in memory, to be changed.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "graft/io/safetensors.h"
#include "graft/io/tensor_source.h"
#include "graft/tests/support/test.h"

namespace graft::test {

/// The tensors of a golden checkpoint, to be changed.
class QuantizedTensors final : public io::TensorSource {
 public:
  /// One of the weights in 4 bits.
  static constexpr const char* weight = "model.layers.0.mlp.up_proj.weight";

  explicit QuantizedTensors(const std::string& name) {
    const io::SafetensorsFile file(test::golden("qlora/" + name + "/model.safetensors"),
                                   io::Access::read);
    for (const std::string& tensor : file.names())
      tensors[tensor] = file.load(tensor);
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> result;
    for (const auto& [name, tensor] : tensors)
      result.push_back(name);
    return result;
  }
  bool contains(std::string_view name) const override {
    return tensors.contains(std::string(name));
  }
  io::TensorInfo info(std::string_view name) const override {
    const Tensor& tensor = tensors.at(std::string(name));
    return {tensor.dtype(), tensor.shape()};
  }
  Tensor load(std::string_view name) const override { return tensors.at(std::string(name)); }
  void drop_pages(std::string_view) const override {}
  std::string file_of(std::string_view) const override { return "file.safetensors"; }

  std::map<std::string, Tensor> tensors;
};

inline std::string text_of(const Tensor& bytes) {
  const auto span = bytes.span<uint8_t>();
  return {span.begin(), span.end()};
}

inline Tensor bytes_of(const std::string& text) {
  return Tensor::from(std::vector<uint8_t>(text.begin(), text.end()),
                      {static_cast<int64_t>(text.size())});
}

}  // namespace graft::test
