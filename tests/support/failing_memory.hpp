// Memory that runs out when a test says so. A program that links this has allocation functions of its own, for every
// library in it: malloc and its kin (operator new calls them), mmap, pthread_create and eventfd, counted together.
#pragma once

#include <climits>

namespace warpkem::test {

struct MemoryPlan {
  long first = LONG_MAX, last = LONG_MAX;  // the allocations [first, last) fail, counted from 0
  bool only_other_threads = false;         // count those of threads that the library made
};

// From now on. On the thread that calls this, only what is inside a LibraryCall counts; on other threads, everything.
void memory_fails(const MemoryPlan& plan) noexcept;
// The end of it. Returns how many allocations there were, and how many failed.
struct MemoryCounts {
  long all, failed;
};
MemoryCounts memory_holds() noexcept;

class LibraryCall {
 public:
  LibraryCall() noexcept;
  ~LibraryCall();
  LibraryCall(const LibraryCall&) = delete;
  LibraryCall& operator=(const LibraryCall&) = delete;
};

}  // namespace warpkem::test
