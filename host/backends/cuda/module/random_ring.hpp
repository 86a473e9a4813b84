// The host's randomness on its way to a device.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "host/backends/cuda/module/resources.hpp"

namespace warpkem::cuda {

// Page-locked memory through which a device gets the host's randomness: pieces that are filled, copied from on the
// caller's stream, and wiped and given back by a host function behind the copy.
class RandomRing {
 public:
  class Piece {
   public:
    std::uint8_t* data = nullptr;
    std::size_t bytes = 0;
    std::atomic<bool> busy{false};

    void wipe_and_release() noexcept;
  };

  // Makes room for several pieces of `bytes` at a time. Throws CudaError.
  void reserve(std::size_t bytes);

  // A free piece of at least `bytes`, which is then busy; null if there is none. Allocates nothing.
  Piece* acquire(std::size_t bytes) noexcept;

  // Frees the page-locked memory, but what a device may still read or a host function touch. A context is current that
  // may free it.
  void clear() noexcept;
  bool empty() const noexcept { return segments_.empty(); }
  void forget() noexcept;  // leaks it
  ~RandomRing() { forget(); }

 private:
  struct Segment {
    PinnedBuffer memory;
    std::vector<Piece> pieces;
  };

  std::mutex mutex_;                                // guards the list
  std::vector<std::unique_ptr<Segment>> segments_;  // pieces of each are larger than those before
};

}  // namespace warpkem::cuda
