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
  CHECK(isas == before);  // one kernel for each set, the widest asked first
  for (size_t i = 0; i < isas.size(); ++i) {
    limit_isa(isas[i]);
    const std::vector<std::string> names = order(packed_linear_slot);
    CHECK(names.back() == isas[i]);
    for (size_t wider = i + 1; wider < isas.size(); ++wider)
      CHECK(std::ranges::find(names, isas[wider]) < std::ranges::find(names, isas[0]));
  }
  limit_isa(isas.back());
  CHECK(order(packed_linear_slot) == before);
}

TEST_CASE("limit_isa: a set the processor has not is refused with those it has") {
  test::check_contains(test::message_of<ConfigError>([] { limit_isa("mmx"); }),
                       "this processor has no 'mmx', it has portable");
}

}  // namespace graft
