// Second streams for steps of a batch that do not wait for each other (kernels/launch.hpp).
#pragma once

#include <mutex>
#include <vector>

#include "host/backends/cuda/module/resources.hpp"
#include "kernels/launch.hpp"

namespace warpkem::cuda {

struct OwnedFork {
  Stream stream;
  Event parted, met;

  kernels::Fork get() const noexcept { return {stream.get(), parted.get(), met.get()}; }
  void forget() noexcept { stream.forget(), parted.forget(), met.forget(); }
};
OwnedFork make_fork();

// Those of a device's resident batches, each of which has one while it is enqueued.
class Forks {
 public:
  // Makes some, if there are none yet. Throws CudaError.
  void reserve();

  OwnedFork take() noexcept;  // an empty one if all are in use
  void give_back(OwnedFork fork) noexcept;

  void clear() noexcept;  // A context is current that may destroy them.
  bool empty() const noexcept { return free_.empty(); }
  void forget() noexcept;  // leaks them
  ~Forks() { forget(); }

 private:
  std::mutex mutex_;
  std::vector<OwnedFork> free_;  // the longest unused first: what was enqueued on a stream holds up what follows
};

}  // namespace warpkem::cuda
