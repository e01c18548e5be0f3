#include "graft/cli/exit_code.h"

#include <filesystem>
#include <new>

#include "graft/tensor/error.h"

namespace graft::cli {
namespace {

template <class E>
bool is(const std::exception& error) {
  return dynamic_cast<const E*>(&error) != nullptr;
}

}  // namespace

ExitCode exit_code_of(const std::exception& error) {
  // A device that was asked for and is not there is a wrong setting.
  if (is<ConfigError>(error) || is<DeviceError>(error))
    return ExitCode::usage;
  if (is<FormatError>(error))
    return ExitCode::bad_input;
  if (is<IoError>(error) || is<std::filesystem::filesystem_error>(error))
    return ExitCode::io;
  if (is<NonFiniteError>(error))
    return ExitCode::non_finite;
  if (is<OutOfMemory>(error) || is<std::bad_alloc>(error))
    return ExitCode::out_of_memory;
  return ExitCode::internal;
}

}  // namespace graft::cli
