// The graphs of one slot. A batch of kernels::launch() with the copies and the wipe around it is a chain of calls whose
// arguments stay the same while the slot's memory and the batch's description do; so it is captured when it comes for
// the second time, and from then on is one call.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>
#include <list>

#include "host/backends/cuda/module/forks.hpp"
#include "host/backends/cuda/module/resources.hpp"
#include "kernels/launch.hpp"

namespace warpkem::cuda {

// Used by one thread. Its owner clears it before memory of the slot goes. A prepared set may go before the graphs that
// read it: they are found only by a batch with the same addresses, which then are another set's of the same shape.
class GraphCache {
 public:
  GraphCache() = default;
  GraphCache(const GraphCache&) = delete;
  GraphCache& operator=(const GraphCache&) = delete;

  using Enqueue = std::function<void(cudaStream_t, const kernels::Fork&)>;  // may throw CudaError

  // Enqueues `work` as a graph of what `enqueue` puts into the streams that it is given. False if `work` comes for the
  // first time, or where anything fails: then the caller must enqueue it, which does no harm to what a failed call may
  // have queued.
  bool replay(const kernels::DeviceBatch& work, cudaStream_t stream, const Enqueue& enqueue) noexcept;

  void clear() noexcept { entries_.clear(); }
  void forget() noexcept;  // leaks them all

 private:
  // Enough for keygen, encaps and decaps of any 1 to 256 items: 84.
  static constexpr std::size_t most_entries = 128;

  struct Entry {
    kernels::DeviceBatch work;
    unsigned times_seen = 0;
    GraphExec graph;  // null: not captured yet, or it failed, and is not tried again
  };

  Entry& find(const kernels::DeviceBatch& work);
  GraphExec capture(const Enqueue& enqueue);
  Graph end_capture();

  std::list<Entry> entries_;  // the latest first
  Stream stream_;             // nothing runs on these: a capture that fails to end takes no slot's stream with it
  OwnedFork fork_;
};

}  // namespace warpkem::cuda
