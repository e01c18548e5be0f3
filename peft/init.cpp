#include "graft/peft/init.h"

#include <string>

#include "graft/nn/init.h"

namespace graft::peft {

void initialize(Lora& lora, LoraInit init, uint64_t seed, std::string_view path, DType dtype) {
  nn::Parameter& a = lora.lora_a();
  nn::Parameter& b = lora.lora_b();
  const std::string a_path = concat(path, ".", a.name());
  const std::string b_path = concat(path, ".", b.name());
  if (init == LoraInit::gaussian)
    a.load(nn::normal(a.shape(), 1.0 / static_cast<double>(lora.r()), seed, a_path, dtype));
  else
    a.load(nn::kaiming_uniform(a.shape(), seed, a_path, dtype));
  if (init == LoraInit::random)
    b.load(nn::kaiming_uniform(b.shape(), seed, b_path, dtype));
  else
    b.load(Tensor::zeros(b.shape(), dtype));
}

}  // namespace graft::peft
