// A lock that a forked child never finds locked: held by a process that is not this one, it counts as free. For what is
// rare and short.
#pragma once

#include <sched.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>

namespace warpkem::provider {

class ForkLock {
 public:
  void lock() noexcept {
    const pid_t own = getpid();
    for (pid_t holder = 0; !holder_.compare_exchange_weak(holder, own, std::memory_order_acquire);) {
      if (holder == own) {
        sched_yield();
        holder = 0;
      }
    }
  }
  void unlock() noexcept { holder_.store(0, std::memory_order_release); }

 private:
  std::atomic<pid_t> holder_{0};
};

}  // namespace warpkem::provider
