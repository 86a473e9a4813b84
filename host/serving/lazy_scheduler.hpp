// The scheduler of an engine, made at the first submission. An engine without submissions has none.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "host/serving/scheduler.hpp"

namespace warpkem::host {

// Goes before its engine does.
class LazyScheduler {
 public:
  LazyScheduler() = default;
  LazyScheduler(const LazyScheduler&) = delete;
  LazyScheduler& operator=(const LazyScheduler&) = delete;
  ~LazyScheduler() { reset(); }

  Scheduler& of(Engine& engine);
  // Before that: how it is to be made. Throws Error(invalid_argument) afterwards.
  void configure(const SchedulerOptions& options);
  // Null if nothing was ever submitted.
  Scheduler* started() const noexcept { return scheduler_.load(std::memory_order_acquire); }
  // Shuts it down, if there is one, and ends it.
  void reset() noexcept;

 private:
  std::mutex mutex_;
  std::unique_ptr<SchedulerOptions> options_;
  std::unique_ptr<Scheduler> owner_;
  std::atomic<Scheduler*> scheduler_{nullptr};
};

}  // namespace warpkem::host
