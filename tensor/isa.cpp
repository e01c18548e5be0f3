#include "graft/tensor/isa.h"

#include <algorithm>
#include <array>
#include <span>

#include "graft/tensor/cpu/isa.h"
#include "graft/tensor/error.h"
#include "graft/tensor/slot.h"

namespace graft {
namespace {

using cpu_kernels::Isa;

constexpr std::array all_isas = {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_bf16};

/// Asks the kernel of the last of these sets that the slot has kernels of first.
void ask_first(SlotBase& slot, std::span<const std::string> isas) {
  const auto rank = [isas](const SlotBase::Kernel& kernel) {
    const auto at = std::ranges::find(isas, kernel.name);
    return at == isas.end() ? -1 : static_cast<int>(at - isas.begin());
  };
  int best = -1;
  const std::vector<SlotBase::Kernel> kernels = slot.kernels(DeviceKind::cpu);
  for (const SlotBase::Kernel& kernel : kernels)
    best = std::max(best, rank(kernel));
  // Of several kernels of that set the one that was registered last, behind which another set's is.
  const auto is_in_place = [&] {
    const std::vector<SlotBase::Kernel> order = slot.kernels(DeviceKind::cpu);
    return rank(order.back()) == best && rank(order.front()) != best;
  };
  for (size_t i = 0; i < kernels.size() && !is_in_place(); ++i)
    slot.rotate(DeviceKind::cpu);
}

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Isa isa : all_isas) {
    if (cpu_has(isa))
      names.emplace_back(isa_name(isa));
  }
  return names;
}

std::string preferred_isa() {
  std::string name;
  cpu_kernels::for_each_isa([&name]<Isa isa>() { name = isa_name(isa); });
  return name;
}

void limit_isa(std::string_view name) {
  const std::vector<std::string> names = available_isas();
  const auto last = std::ranges::find(names, name);
  if (last == names.end()) {
    std::string known;
    for (const std::string& each : names)
      known += " " + each;
    throw ConfigError(concat("isa: this processor has no '", name, "', it has", known));
  }
  const std::span allowed(names.begin(), last + 1);
  for (SlotBase* slot : registry().slots())
    ask_first(*slot, allowed);
}

}  // namespace graft
