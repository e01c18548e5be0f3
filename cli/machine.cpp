#include "graft/cli/machine.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <sched.h>
#include <sstream>
#include <string_view>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace graft::cli {
namespace {

/// The value behind "name :" or "name:" in one of /proc's lists; empty where there is none.
std::string field(const char* file, std::string_view name) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    const size_t colon = line.find(':');
    if (colon == line.npos || !line.starts_with(name))
      continue;
    const size_t begin = std::min(line.find_first_not_of(" \t", colon + 1), line.size());
    return line.substr(begin);
  }
  return {};
}

int64_t first_number(const std::string& text) {
  std::istringstream words(text);
  int64_t number = 0;
  words >> number;
  return number;
}

std::vector<std::string> cpu_features() {
  constexpr std::array<std::string_view, 13> known = {
      "sse4_2",      "avx",         "fma",      "f16c",     "avx2",  "avx512f", "avx512bw",
      "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "sve"};
  std::string flags = field("/proc/cpuinfo", "flags");
  if (flags.empty())
    flags = field("/proc/cpuinfo", "Features");  // Arm's word
  std::istringstream words(flags);
  std::vector<std::string> all, result;
  for (std::string word; words >> word;)
    all.push_back(word);
  for (const std::string_view name : known)
    if (std::find(all.begin(), all.end(), name) != all.end())
      result.emplace_back(name);
  return result;
}

/// The limit of a control group, or `none` where there is none.
int64_t group_limit(int64_t none) {
  std::ifstream file("/sys/fs/cgroup/memory.max");
  int64_t limit = 0;  // the word "max" does not read as a number
  return file >> limit ? std::min(limit, none) : none;
}

}  // namespace

Machine this_machine() {
  Machine machine;
  machine.cpu = field("/proc/cpuinfo", "model name");
  if (machine.cpu.empty())
    machine.cpu = "unknown";
  machine.features = cpu_features();
  cpu_set_t set;
  machine.processors = sched_getaffinity(0, sizeof set, &set) == 0
                           ? CPU_COUNT(&set)
                           : static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  machine.memory = group_limit(first_number(field("/proc/meminfo", "MemTotal")) * 1024);
  machine.memory_available =
      std::min(machine.memory, first_number(field("/proc/meminfo", "MemAvailable")) * 1024);
  utsname names{};
  if (uname(&names) == 0)
    machine.system = std::string(names.sysname) + " " + names.release + " " + names.machine;
  return machine;
}

int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace graft::cli
