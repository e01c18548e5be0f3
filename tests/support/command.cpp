#include "graft/tests/support/command.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <pty.h>
#include <sstream>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace graft::test {
namespace {

void redirect(const std::filesystem::path& file, int flags, int descriptor) {
  const int opened = open(file.c_str(), flags, 0600);
  if (opened < 0 || dup2(opened, descriptor) < 0)
    _exit(127);
}

void write_file(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

/// All that is written to a terminal until its other side closes it.
std::string read_terminal(int terminal) {
  std::string text;
  char buffer[4096];
  for (ssize_t count; (count = read(terminal, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<size_t>(count));
  return text;
}

std::filesystem::path program_of(const CommandOptions& options) {
  if (!options.program.empty())
    return options.program;
  const char* graft = std::getenv("GRAFT_COMMAND");
  REQUIRE_MESSAGE(graft != nullptr, "GRAFT_COMMAND is not set; run the tests with tools/test");
  return std::filesystem::absolute(graft);
}

/// Asks again and again, for half a minute at most.
bool comes_true(const std::function<bool()>& condition) {
  using namespace std::chrono_literals;
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline)
      return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

}  // namespace

RunningCommand::RunningCommand(const std::vector<std::string>& arguments,
                               const CommandOptions& options) {
  // Found here: what a child threw would come out as a second run of the test program.
  const std::filesystem::path program = program_of(options);
  write_file(folder_ / "in", options.input);
  winsize size{.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
  process_ = options.on_terminal ? forkpty(&terminal_, nullptr, nullptr, &size) : fork();
  REQUIRE(process_ >= 0);
  if (process_ == 0)
    exec_child(program, arguments, options);
}

void RunningCommand::exec_child(const std::filesystem::path& program,
                                const std::vector<std::string>& arguments,
                                const CommandOptions& options) const {
  redirect(folder_ / "in", O_RDONLY, 0);
  if (!options.on_terminal) {
    redirect(options.output.empty() ? folder_ / "out" : options.output, O_WRONLY | O_CREAT, 1);
    redirect(folder_ / "err", O_WRONLY | O_CREAT, 2);
  }
  unsetenv("NO_COLOR");
  setenv("TERM", "xterm", 1);
  for (const auto& [name, value] : options.environment)
    setenv(name.c_str(), value.c_str(), 1);
  if (options.max_file_bytes > 0) {
    const auto limit = static_cast<rlim_t>(options.max_file_bytes);
    const rlimit limits{.rlim_cur = limit, .rlim_max = limit};
    setrlimit(RLIMIT_FSIZE, &limits);
  }
  if (!options.directory.empty() && chdir(options.directory.c_str()) != 0)
    _exit(127);
  std::vector<char*> words = {const_cast<char*>("graft")};
  for (const std::string& argument : arguments)
    words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  execv(program.c_str(), words.data());
  _exit(127);
}

RunningCommand::~RunningCommand() {
  if (process_ > 0) {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }
  if (terminal_ >= 0)
    close(terminal_);
}

void RunningCommand::wait_for_lines(const std::filesystem::path& file, int64_t count) const {
  const bool came = comes_true([&] {
    const std::string text = content_of(file);
    return std::count(text.begin(), text.end(), '\n') >= count;
  });
  REQUIRE_MESSAGE(came, file.string(), " did not get ", count,
                  " lines; stderr: ", content_of(folder_ / "err"));
}

void RunningCommand::wait_for(const std::filesystem::path& file) const {
  const bool came = comes_true([&] { return std::filesystem::exists(file); });
  REQUIRE_MESSAGE(came, file.string(), " was not made; stderr: ", content_of(folder_ / "err"));
}

int64_t RunningCommand::open_files() const {
  const std::filesystem::path open = "/proc/" + std::to_string(process_) + "/fd";
  return std::distance(std::filesystem::directory_iterator(open), {});
}

void RunningCommand::send(int number) const {
  REQUIRE(kill(process_, number) == 0);
}

CommandResult RunningCommand::finish() {
  CommandResult result;
  if (terminal_ >= 0)
    result.out = read_terminal(terminal_);
  int status = 0;
  REQUIRE(waitpid(process_, &status, 0) == process_);
  process_ = -1;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (terminal_ < 0) {
    result.out = content_of(folder_ / "out");
    result.err = content_of(folder_ / "err");
  }
  return result;
}

CommandResult run_graft(const std::vector<std::string>& arguments, const CommandOptions& options) {
  return RunningCommand(arguments, options).finish();
}

std::string content_of(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

std::map<std::string, std::string> snapshot(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  if (!std::filesystem::exists(folder))
    return files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    files[std::filesystem::relative(entry.path(), folder).string()] =
        entry.is_regular_file() ? content_of(entry.path()) : "(folder)";
  return files;
}

}  // namespace graft::test
