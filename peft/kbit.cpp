#include "graft/peft/kbit.h"

#include <variant>

#include "graft/nn/embedding.h"

namespace graft::peft {
namespace {

/// True of a matrix that is to stay as it is.
bool stays(nn::Member& member, Compat compat) {
  const auto* weight = dynamic_cast<const nn::Weight*>(&member);
  if (weight == nullptr)
    return false;
  return compat == Compat::none ||
         std::holds_alternative<quant::QuantizedTensor>(weight->storage());
}

}  // namespace

void prepare_model_for_kbit_training(nn::CausalLM& model, const KbitOptions& options) {
  nn::for_each_member(model, [](const std::string& path, nn::Member& member) {
    GRAFT_CHECK(member.module() == nullptr || !member.module()->is_opaque(), ConfigError,
                "prepare_model_for_kbit_training: ", path,
                " carries adapters already; prepare the model before it gets them");
  });
  nn::set_requires_grad(model, false);
  nn::for_each_member(model, [&](const std::string&, nn::Member& member) {
    if (auto* embedding = dynamic_cast<nn::Embedding*>(member.module()))
      embedding->give(DType::f32);
    if (member.is_parameter() && !stays(member, options.compat))
      member.load(member.value().to(DType::f32));
  });
}

}  // namespace graft::peft
