// One lane: a thread's way of taking chunks through one device. It owns a slot (stream, event, pinned and device
// memory), made once and grown while the batches grow; in the steady state it allocates nothing and waits for its own
// chunk alone.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "host/backends/cuda/interface.hpp"
#include "host/backends/cuda/module/cuda_call.hpp"
#include "host/backends/cuda/module/device.hpp"
#include "host/backends/cuda/module/graph_cache.hpp"
#include "host/backends/cuda/module/resources.hpp"
#include "kernels/launch.hpp"

namespace warpkem::cuda {

// Expanded keys in the memory of one device, and a status for each.
struct KeyForms {
  std::uint8_t* forms = nullptr;
  std::size_t stride = 0;
  std::size_t count = 0;
  std::uint8_t* statuses = nullptr;
  kernels::KeyKind kind = kernels::KeyKind::ek;
};

// What becomes of a chunk that did not succeed.
enum class Fate {
  smaller,   // memory ran out: again, with fewer items
  staged,    // again, with no memory of the caller used in place
  refused,   // not on this device again
  unopened,  // the same, and no lane could open the device: it is to be left alone for a while
  lost,      // not on this device again, which is in quarantine
};

// The chunk's statuses are still pending, and no later write of the device reaches the caller's memory.
class ChunkFailure : public std::runtime_error {
 public:
  ChunkFailure(Fate fate, host::Status status, const std::string& text)
      : std::runtime_error(text), fate_(fate), status_(status) {}
  Fate fate() const noexcept { return fate_; }
  host::Status status() const noexcept { return status_; }

 private:
  Fate fate_;
  host::Status status_;
};

// Used by one thread, which calls CUDA for nothing else.
class Lane {
 public:
  // With `graphs`, the lane replays small chunks that repeat. With `forks`, X25519 of hybrids has its own stream. With
  // `kernel_copies`, kernels copy the arrays of a small chunk that is replayed.
  Lane(Device& device, std::chrono::milliseconds stuck, bool graphs, bool forks, bool kernel_copies, bool refuse_zero)
      : device_(device),
        stuck_(stuck),
        replays_(graphs),
        forks_(forks),
        kernel_copies_(kernel_copies),
        refuses_zero_(refuse_zero) {}
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;
  ~Lane();

  // Makes the device current on this thread, and what the lane needs of it beside memory: before anything else that
  // the lane is told to do. `items`: for whom. Throws ChunkFailure.
  void open(const host::Batch& items);

  // Runs `items` and sets their statuses when their outputs are in place. `keys`: the set that they use, or where
  // prepare_* writes its items' forms. `in_place`: registered memory of the caller is used without staging. Throws
  // ChunkFailure.
  void run(const host::Batch& items, const KeyForms& keys, bool in_place);

  // Gives the slot's memory back; the next chunk takes what it needs.
  void trim() noexcept;

  // Device memory for a prepared set. Throws ChunkFailure.
  DeviceBuffer allocate(const host::Batch& items, std::size_t bytes);

  // Wipes and frees memory of the device; what cannot be wiped is kept, and counted.
  void release(DeviceBuffer memory) noexcept;

 private:
  struct Layout;

  static Layout lay_out(const host::Batch& items, std::size_t count, bool in_place);
  Layout choose_layout(const host::Batch& items, std::size_t room, bool in_place) const;
  void make_ready();
  std::size_t reserve(const host::Batch& items, const KeyForms& keys);
  kernels::DeviceBatch device_batch(const host::Batch& items, const Layout& layout,
                                    const KeyForms& keys) const noexcept;
  void stage(const host::Batch& items, const Layout& layout);
  void submit(const host::Batch& items, const Layout& layout, const KeyForms& keys);
  void enqueue(const kernels::DeviceBatch& work, const Layout& layout, const KeyForms& keys, cudaStream_t stream,
               const kernels::Fork& fork);
  template <class Query>
  cudaError_t poll(Query query, const Layout& layout);
  void deliver(const host::Batch& items, const Layout& layout);
  void wipe_staging(const Layout& layout) noexcept;
  [[noreturn]] void fail(const host::Batch& items, const Layout& layout, const CudaError& error);
  bool revive(const Layout& layout);
  void abandon() noexcept;
  std::string context(const host::Batch& items) const;

  Device& device_;
  std::chrono::milliseconds stuck_;
  bool replays_, forks_, kernel_copies_, refuses_zero_;
  bool in_flight_ = false;  // something was queued and its end has not been seen

  Stream stream_;
  OwnedFork fork_;
  Event done_;  // null: not open
  PinnedBuffer pinned_;
  DeviceBuffer memory_;
  DeviceBuffer workspace_;
  GraphCache graphs_;  // of this memory
};

}  // namespace warpkem::cuda
