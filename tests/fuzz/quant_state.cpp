// The JSON beside a weight that bitsandbytes has put in 4 bits; the other tensors fit each other.
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "graft/models/bitsandbytes.h"
#include "graft/tensor/error.h"
#include "graft/tests/fuzz/fuzz.h"

namespace graft {
namespace {

/// Tensors in memory.
class Tensors final : public io::TensorSource {
 public:
  explicit Tensors(const quant::Format& format) {
    std::vector<float> numbers(512);
    for (size_t i = 0; i < numbers.size(); ++i)
      numbers[i] = static_cast<float>(i % 37) - 18;
    const Tensor x = Tensor::from(numbers, {16, 32});
    for (auto& [name, tensor] : models::quantized_tensors(weight, quant::quantize(x, format)))
      tensors_[name] = tensor;
    state_ = concat(weight, ".quant_state.bitsandbytes__", quant_type_name(format.type));
  }

  static constexpr const char* weight = "weight";

  void put_state(std::string_view text) {
    tensors_.at(state_) = Tensor::from(std::vector<uint8_t>(text.begin(), text.end()),
                                       {static_cast<int64_t>(text.size())});
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> result;
    for (const auto& [name, tensor] : tensors_)
      result.push_back(name);
    return result;
  }
  bool contains(std::string_view name) const override { return tensors_.contains(name); }
  io::TensorInfo info(std::string_view name) const override {
    const Tensor tensor = load(name);
    return {tensor.dtype(), tensor.shape()};
  }
  Tensor load(std::string_view name) const override { return tensors_.find(name)->second; }
  void drop_pages(std::string_view) const override {}
  std::string file_of(std::string_view) const override { return "model.safetensors"; }

 private:
  std::map<std::string, Tensor, std::less<>> tensors_;
  std::string state_;
};

}  // namespace
}  // namespace graft

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace graft;
  static Tensors nf4({.type = quant::QuantType::nf4, .blocksize = 64, .double_quant = true});
  static Tensors fp4({.type = quant::QuantType::fp4, .blocksize = 128, .double_quant = false});
  for (Tensors* source : {&nf4, &fp4}) {
    source->put_state(fuzz::text_of(data, size));
    fuzz::accepted<FormatError>([&] {
      const quant::QuantizedTensor value = models::read_quantized(*source, Tensors::weight);
      quant::check(value);
      fuzz::require(quant::dequantize(value, value.dtype).shape() == value.shape,
                    "a weight that is read can be used");
      (void)models::quantized_format(*source);
    });
  }
  return 0;
}
