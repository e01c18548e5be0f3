// bench-kernels: kernels alone, at the shapes of real models. bench-adapters: a hundred adapters on
// one base.
//
//   build/release/bench/bench-kernels [--threads=N] [--benchmark_filter=panels] …
//
// Rates stand beside the peak of the same process: see measure.h.
#include <cstdlib>
#include <string_view>

#include "benchmark/benchmark.h"

#include "graft/tensor/parallel.h"

int main(int count, char** arguments) {
  constexpr std::string_view threads = "--threads=";
  int kept = 0;
  for (int i = 0; i < count; ++i) {
    const std::string_view argument = arguments[i];
    if (argument.starts_with(threads))
      graft::set_thread_count(std::atoi(arguments[i] + threads.size()));
    else
      arguments[kept++] = arguments[i];
  }
  benchmark::Initialize(&kept, arguments);
  if (benchmark::ReportUnrecognizedArguments(kept, arguments))
    return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
