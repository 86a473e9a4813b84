#include "tools/warpkem/temporaries.hpp"

#include <fmt/core.h>
#include <pthread.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <thread>

#include "tools/warpkem/error.hpp"
#include "tools/warpkem/threads.hpp"

namespace warpkem::tool {
namespace {

// A table of fixed size, so that the handler of a fault can read it without a lock and without memory of the heap.
struct Entry {
  std::atomic<int> folder{-1};  // -1: free
  std::array<char, 32> name{};
};
constinit std::array<Entry, 16> entries;

void remove_all() noexcept {
  for (const Entry& entry : entries) {
    const int folder = entry.folder.load();
    if (folder >= 0) unlinkat(folder, entry.name.data(), 0);
  }
}

// Signals from outside are taken by a thread of their own: it may wait for the lock.
[[noreturn]] void signal_loop(sigset_t signals) {
  int number = 0;
  while (sigwait(&signals, &number) != 0) {
  }
  const std::scoped_lock hold(names_lock());
  remove_all();
  std::signal(number, SIG_DFL);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, number);
  pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
  std::raise(number);
  std::_Exit(128 + number);
}

// A fault cannot wait: the thread that it struck may hold the lock. The handler was reset when it was called, so that
// the signal, raised again, ends the process when the handler returns.
void on_fault(int number) {
  remove_all();
  std::raise(number);
}

constexpr std::array faults{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};

// What ends a process by default; SIGKILL and what stops it or is ignored aside.
constexpr std::array endings{SIGHUP,  SIGINT,  SIGQUIT,   SIGTERM, SIGALRM, SIGUSR1,  SIGUSR2,
                             SIGXCPU, SIGPROF, SIGVTALRM, SIGIO,   SIGPWR,  SIGSTKFLT};

bool has_default_action(int number) {
  struct sigaction action {};
  return sigaction(number, nullptr, &action) == 0 && (action.sa_flags & SA_SIGINFO) == 0 &&
         action.sa_handler == SIG_DFL;
}

}  // namespace

std::mutex& names_lock() {
  static auto* const lock = new std::mutex;  // never destroyed: the thread of signals may use it until the very end
  return *lock;
}

void remember_temporary(int folder, const std::string& name) {
  const auto free = std::ranges::find_if(entries, [](const Entry& entry) { return entry.folder.load() < 0; });
  if (free == entries.end() || name.size() >= free->name.size()) throw Error("too many temporary files");
  *std::ranges::copy(name, free->name.begin()).out = 0;
  free->folder.store(folder);
}

void forget_temporary(int folder, const std::string& name) noexcept {
  for (Entry& entry : entries) {
    if (entry.folder.load() == folder && name == entry.name.data()) entry.folder.store(-1);
  }
}

std::string new_temporary_name() {
  std::uint64_t random = 0;
  if (getrandom(&random, sizeof random, 0) != sizeof random) throw Error("the system has no random numbers");
  return fmt::format(".warpkem-{:016x}", random);
}

void remove_temporaries_on_signals() {
  names_lock();
  for (const int number : faults) {
    if (!has_default_action(number)) continue;  // a sanitizer's, for example
    struct sigaction action {};
    action.sa_handler = on_fault;
    action.sa_flags = SA_RESETHAND;
    sigaction(number, &action, nullptr);
  }

  sigset_t blocked, signals;
  pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  sigemptyset(&signals);
  const auto take = [&](int number) {
    if (has_default_action(number) && sigismember(&blocked, number) == 0) sigaddset(&signals, number);
  };
  std::ranges::for_each(endings, take);
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) take(number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // for all threads to come
  with_thread("signals", [&] { return std::thread(signal_loop, signals); }).detach();
}

}  // namespace warpkem::tool
