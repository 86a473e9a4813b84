#include "tools/warpkem/serve/stalls.hpp"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

#include <chrono>
#include <thread>

#include "tools/warpkem/serve/clock.hpp"

namespace warpkem::tool {

namespace {

// Samples at fixed times. A late wake-up counts once for every sample that it missed (no coordinated omission), so the
// distribution is comparable with latencies of requests.
void watch(const std::atomic<bool>& over, FineHistogram& stall_ns) {
  prctl(PR_SET_TIMERSLACK, 1);
  // Rare enough to take no part in the load, and in step with no scheduler's tick.
  constexpr std::uint64_t period_ns = 7'300'000;
  std::uint64_t due = now_ns() + period_ns;
  while (!over.load(std::memory_order_relaxed)) {
    const std::uint64_t before = now_ns();
    if (due > before) std::this_thread::sleep_for(std::chrono::nanoseconds(due - before));
    for (const std::uint64_t now = now_ns(); due <= now; due += period_ns) stall_ns.add(now - due);
  }
}

}  // namespace

StallWatch::StallWatch() {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  if (sched_getaffinity(0, sizeof usable, &usable) != 0) return;  // more cores than the set has room for
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &usable)) continue;
    FineHistogram& stall_ns = stalls_.emplace_back();
    threads_.start("the measurement of stalls", [&] {
      std::thread thread([this, &stall_ns] { watch(over_, stall_ns); });
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(core, &one);
      pthread_setaffinity_np(thread.native_handle(), sizeof one, &one);
      return thread;
    });
  }
}

FineHistogram StallWatch::stop() {
  over_ = true;
  threads_.join();
  FineHistogram all;
  for (const FineHistogram& stall_ns : stalls_) all.merge(stall_ns);
  return all;
}

}  // namespace warpkem::tool
