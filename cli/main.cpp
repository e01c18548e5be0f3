#include <string>
#include <vector>

#include "graft/cli/commands.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return static_cast<int>(graft::cli::run_command(arguments));
}
