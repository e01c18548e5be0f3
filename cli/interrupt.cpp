#include "graft/cli/interrupt.h"

#include <atomic>
#include <csignal>
#include <unistd.h>

namespace graft::cli {
namespace {

std::atomic<int> signal_seen{0};
std::atomic<int> save_wanted{0};
static_assert(std::atomic<int>::is_always_lock_free);  // else a handler may not touch it

extern "C" void remember_signal(int number) {
  int none = 0;
  if (!signal_seen.compare_exchange_strong(none, number))
    _exit(128 + number);
}

extern "C" void remember_save(int) {
  save_wanted = 1;
}

}  // namespace

void watch_signals() {
  struct sigaction action = {};
  action.sa_handler = remember_signal;
  sigemptyset(&action.sa_mask);
  // Without SA_RESTART: a prompt that waits for a line returns.
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction hangup = {};
  sigaction(SIGHUP, nullptr, &hangup);
  if (hangup.sa_handler != SIG_IGN)
    sigaction(SIGHUP, &action, nullptr);
  action.sa_handler = remember_save;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
}

void survive_file_size_limits() {
  signal(SIGXFSZ, SIG_IGN);
}

void survive_broken_pipes() {
  signal(SIGPIPE, SIG_IGN);
}

bool stop_requested() {
  return signal_seen.load() != 0;
}

bool take_save_request() {
  return save_wanted.exchange(0) != 0;
}

void clear_stop_request() {
  signal_seen = 0;
}

ExitCode interrupted_exit_code() {
  return signal_seen.load() == SIGINT ? ExitCode::interrupted : ExitCode::terminated;
}

}  // namespace graft::cli
