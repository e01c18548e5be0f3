#include <new>

#include "graft/cli/exit_code.h"
#include "graft/tests/support/test.h"

using namespace graft;
using namespace graft::cli;

TEST_CASE("exit codes: each kind of error has the documented one") {
  CHECK(exit_code_of(ConfigError("x")) == ExitCode::usage);
  CHECK(exit_code_of(DeviceError("x")) == ExitCode::usage);
  CHECK(exit_code_of(FormatError("f", 0, "x")) == ExitCode::bad_input);
  CHECK(exit_code_of(IoError("x")) == ExitCode::io);
  CHECK(exit_code_of(std::filesystem::filesystem_error("x", std::error_code())) == ExitCode::io);
  CHECK(exit_code_of(NonFiniteError("x")) == ExitCode::non_finite);
  CHECK(exit_code_of(OutOfMemory("x")) == ExitCode::out_of_memory);
  CHECK(exit_code_of(std::bad_alloc()) == ExitCode::out_of_memory);
  CHECK(exit_code_of(ShapeError("x")) == ExitCode::internal);
  CHECK(exit_code_of(std::runtime_error("x")) == ExitCode::internal);
  CHECK(static_cast<int>(ExitCode::interrupted) == 130);
  CHECK(static_cast<int>(ExitCode::terminated) == 143);
}
