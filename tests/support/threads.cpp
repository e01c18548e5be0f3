#include "graft/tests/support/threads.h"

#include <cstddef>
#include <memory>

#include "graft/tensor/parallel.h"
#include "graft/tests/support/test.h"

namespace graft::test {

void check_threads_agree(const std::function<std::vector<Tensor>()>& run) {
  const int before = thread_count();
  const std::shared_ptr<void> restore(nullptr, [before](void*) { set_thread_count(before); });
  set_thread_count(1);
  const std::vector<Tensor> expected = run();
  for (const int threads : {2, 3}) {
    set_thread_count(threads);
    const std::vector<Tensor> results = run();
    REQUIRE(results.size() == expected.size());
    for (size_t i = 0; i < results.size(); ++i) {
      CAPTURE(threads);
      CAPTURE(i);
      CHECK(same_bits(results[i], expected[i]));
    }
  }
}

}  // namespace graft::test
