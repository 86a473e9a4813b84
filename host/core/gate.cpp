#include "host/core/gate.hpp"

#include <time.h>

#include <algorithm>

#include "host/core/thread_local.hpp"

namespace warpkem::host {

namespace {

// Passes of this thread, of whatever gate: a thread that forks, or ends the process, while it is inside itself (from a
// signal handler, say) must not wait for itself.
WARPKEM_THREAD_LOCAL unsigned own_passes = 0;

constexpr long pause_ns = 50'000;
constexpr time_t patience_s = 10;

void pause_a_little() noexcept {
  const timespec pause{0, pause_ns};
  nanosleep(&pause, nullptr);
}

time_t now_s() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec;
}

}  // namespace

void Gate::enter() noexcept {
  // Counted first: either before_fork() sees the count, or this sees the fork.
  inside_.fetch_add(1);
  if (own_passes++ != 0) return;
  while (forks_.load() != 0) {
    inside_.fetch_sub(1);
    while (forks_.load() != 0) pause_a_little();
    inside_.fetch_add(1);
  }
}

void Gate::leave() noexcept {
  --own_passes;
  inside_.fetch_sub(1);
}

void Gate::wait_for_others() const noexcept {
  for (const time_t end = now_s() + patience_s; inside_.load() > own_passes && now_s() <= end;) pause_a_little();
}

void Gate::before_fork() noexcept {
  forks_.fetch_add(1);
  wait_for_others();
}

void Gate::after_fork_in_parent() noexcept { forks_.fetch_sub(1); }

void Gate::after_fork_in_child() noexcept {
  // Of all threads that were inside, or forking, the child has this one.
  inside_.store(std::min(inside_.load(), own_passes));
  forks_.store(0);
}

}  // namespace warpkem::host
