#include <algorithm>

#include "graft/tensor/isa.h"
#include "graft/tensor/packed_tensor.h"
#include "graft/tensor/slot.h"
#include "graft/tests/support/test.h"

namespace graft {
namespace {

std::vector<std::string> order(const SlotBase& slot) {
  std::vector<std::string> names;
  for (const SlotBase::Kernel& kernel : slot.kernels(DeviceKind::cpu))
    names.emplace_back(kernel.name);
  return names;
}

}  // namespace

TEST_CASE("limit_isa: the kernel of that set is asked first, those of wider ones last") {
  const std::vector<std::string> isas = available_isas();
  registry();
  const std::vector<std::string> before = order(packed_linear_slot);
  CHECK(std::ranges::is_permutation(isas, before));  // one kernel for each set
  for (size_t i = 0; i < isas.size(); ++i) {
    limit_isa(isas[i]);
    const std::vector<std::string> names = order(packed_linear_slot);
    CHECK(names.back() == isas[i]);
    for (size_t wider = i + 1; wider < isas.size(); ++wider)
      CHECK(std::ranges::find(names, isas[wider]) < std::ranges::find(names, isas[0]));
  }
  limit_isa(preferred_isa());
  CHECK(order(packed_linear_slot).back() == before.back());
}

TEST_CASE("preferred_isa: the set whose kernels are asked first, the widest but for slow bf16") {
  const std::vector<std::string> isas = available_isas();
  registry();
  CHECK(order(packed_linear_slot).back() == preferred_isa());
  const bool widest = preferred_isa() == isas.back();
  const bool bf16_left_out = isas.back() == "avx512-bf16" && preferred_isa() == "avx512";
  CHECK((widest || bf16_left_out));
}

TEST_CASE("limit_isa: a set the processor has not is refused with those it has") {
  test::check_contains(test::message_of<ConfigError>([] { limit_isa("mmx"); }),
                       "this processor has no 'mmx', it has portable");
}

}  // namespace graft
