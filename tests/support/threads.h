// Running a test on several numbers of threads.
#pragma once

#include <functional>
#include <vector>

#include "graft/tensor/tensor.h"

namespace graft::test {

/// Checks that `run` gives the same bits on 1, 2 and 3 threads. Inputs should be larger than one
/// block of the kernel. Leaves the number of threads as it was.
void check_threads_agree(const std::function<std::vector<Tensor>()>& run);

}  // namespace graft::test
