// Waits for a batch that a backend has.
#pragma once

#include <stdio.h>

#include <condition_variable>
#include <mutex>

#include "host/backends/backend.hpp"

namespace warpkem::host {

// For one batch.
class Waiter {
 public:
  Completion completion() noexcept {
    return {[](void* context, const Outcome& outcome) noexcept { static_cast<Waiter*>(context)->finish(outcome); },
            this};
  }
  void wait() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return finished_; });
  }
  Status status() const noexcept { return status_; }
  const char* text() const noexcept { return text_; }

 private:
  void finish(const Outcome& outcome) noexcept {
    const std::scoped_lock lock(mutex_);
    status_ = outcome.status;
    if (status_ != Status::ok) snprintf(text_, sizeof text_, "%s", outcome.text);
    finished_ = true;
    done_.notify_one();
  }

  std::mutex mutex_;
  std::condition_variable done_;
  bool finished_ = false;
  Status status_ = Status::ok;
  char text_[512] = "";
};

}  // namespace warpkem::host
