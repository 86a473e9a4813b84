// What the machine alone does to a thread that only sleeps.
#pragma once

#include <atomic>
#include <deque>

#include "tools/warpkem/serve/histogram.hpp"
#include "tools/warpkem/threads.hpp"

namespace warpkem::tool {

// Has a thread on each core that the process may use. Each sleeps, and notes how late it wakes.
class StallWatch {
 public:
  // Throws Error.
  StallWatch();

  // Ends the watch.
  FineHistogram stop();

 private:
  std::atomic<bool> over_{false};
  std::deque<FineHistogram> stalls_;
  Threads threads_{[this] { over_ = true; }};
};

}  // namespace warpkem::tool
