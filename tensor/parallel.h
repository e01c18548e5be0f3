// parallel_for: the one way graft uses several threads.
//
// Work is cut into blocks whose size the caller fixes, never the thread count, so that results do
// not depend on it. Each thread begins with a contiguous run of blocks and goes on with what others
// have left. Calls inside a body run serially.
#pragma once

#include <cstdint>
#include <functional>

namespace graft {

/// Sets how many threads take part, the caller included; at least 1. The default is the number of
/// processors this process may use. Throws ConfigError, and leaves the threads as they were, where
/// the system does not start that many. Not while a parallel_for runs.
void set_thread_count(int count);
int thread_count();

/// Calls body(begin, end) once for each block of `grain` indices that covers [0, n), the last block
/// may be shorter. Blocks run in any order and on any thread; within one block all is up to the
/// body. Returns when all are done; the first exception thrown by a block is thrown here.
void parallel_for(int64_t n, int64_t grain,
                  const std::function<void(int64_t begin, int64_t end)>& body);

}  // namespace graft
