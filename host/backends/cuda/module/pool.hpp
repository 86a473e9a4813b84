// The devices of one backend and the queue that feeds them. A batch is cut into chunks as lanes ask for them; a lane is
// a thread with a slot of its own that takes one chunk at a time through copy-in, compute and copy-out, so several
// lanes keep both directions of the link and the multiprocessors busy at once, and a faster device comes back for more.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "host/backends/cuda/interface.hpp"
#include "host/backends/cuda/module/device.hpp"
#include "host/backends/cuda/module/lane.hpp"
#include "host/backends/cuda/module/resources.hpp"
#include "host/core/operation.hpp"
#include "kernels/launch.hpp"

namespace warpkem::cuda {

// A prepared set: its expanded keys, and a status for each, on every device that could take them.
class Keys {
 public:
  Keys(Pool& pool, std::size_t devices, const host::Batch& batch)
      : pool_(pool),
        parts_(devices),
        count_(batch.count),
        kind_(host::spec_of(batch.operation).key == host::Array::ek ? kernels::KeyKind::ek : kernels::KeyKind::dk),
        bytes_per_key_(kernels::form_bytes(batch.algorithm, kind_)) {
    for (Part& part : parts_) part.keys = this;
  }

  Pool& pool() const noexcept { return pool_; }
  std::size_t bytes_per_key() const noexcept { return bytes_per_key_; }
  bool ready_on(std::size_t device) const noexcept { return parts_[device].ready; }
  KeyForms on(std::size_t device) const noexcept {
    std::uint8_t* const memory = parts_[device].memory.data();
    return {memory, bytes_per_key_, count_, memory + count_ * bytes_per_key_, kind_};
  }

 private:
  friend class Pool;
  struct Part {
    Keys* keys = nullptr;
    Device* device = nullptr;  // once it is to be freed
    std::mutex mutex;          // guards making `memory`
    DeviceBuffer memory;
    bool ready = false;
  };

  std::size_t device_bytes() const noexcept { return count_ * (bytes_per_key_ + 1); }

  Pool& pool_;
  std::vector<Part> parts_;  // by Device::number
  std::size_t count_;
  kernels::KeyKind kind_;
  std::size_t bytes_per_key_;
  std::atomic<std::size_t> parts_to_retire_{0};
};

class Pool {
 public:
  Pool(const std::vector<DeviceInfo>& devices, const Options& options);
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool();  // waits for what is under way

  void submit(const host::Batch& batch, const Keys* keys, host::Completion done) noexcept;
  Keys* prepare(const host::Batch& batch);  // blocks; throws host::Error
  void retire(Keys* keys) noexcept;         // wipes and frees it on the devices, in its own time
  // Runs one item on every device; blocks. Throws host::Error if all fail, or if one does and each was asked for.
  void verify(bool every_device);

  const std::vector<std::unique_ptr<Device>>& devices() const noexcept { return devices_; }
  bool forks() const noexcept { return forks_; }
  bool forked() const noexcept;
  bool refuse_zero() const noexcept { return refuse_zero_; }

  // Calls of the runtime make a context on the current device, which may be one that the pool does not drive. This does
  // `work` where they do not: on this thread, if its device is the pool's or has a context anyway, else on a thread of
  // its own. Throws what `work` throws, CudaError and std::system_error.
  void on_own_device(const std::function<void()>& work) const;
  bool may_call_here() const noexcept;

  // See Device::keeps(); of memory whose device is not known, too.
  void keeps(std::size_t bytes) const noexcept { devices_.front()->keeps(bytes); }
  std::size_t kept_bytes() const noexcept;

 private:
  enum class Kind { batch, prepare, retire };

  struct Range {
    std::size_t first = 0, count = 0;
  };

  // A batch under way, or one device's share of preparing or freeing a set. Guarded by mutex_; what a lane reads of its
  // own chunk without it does not change while one is in flight.
  struct Work {
    Kind kind = Kind::batch;
    host::Batch batch;
    host::Completion done;
    const Keys* keys = nullptr;   // batch
    Keys* own_keys = nullptr;     // prepare, retire
    int only_device = -1;         // its number; -1: any
    bool in_place = true;         // registered memory of the caller is used without staging
    std::size_t next = 0;         // items before it have been handed out
    std::size_t in_flight = 0;    // chunks
    std::vector<Range> returned;  // what devices gave back
    std::uint64_t refused = 0;    // devices that shall not try again, by number
    bool failed = false;          // no device is left for it: it ends when nothing is in flight
    host::Status status = host::Status::ok;
    Text text;
    Work* following = nullptr;
  };

  struct Chunk {
    Work* work = nullptr;  // null: the lane shall end, or give up its memory
    Range range;
    bool in_place = true;
    bool trim = false;
  };

  class BlockingWorks;

  Work* new_work(Kind kind, const host::Batch& batch, host::Completion done);
  void enqueue(Work* work) noexcept;
  void start();
  void lane_main(Device& device) noexcept;
  void run_chunk(Lane& lane, Device& device, const Chunk& chunk);
  Chunk take(Device& device, std::size_t shortages) noexcept;
  void give_back(Device& device, const Chunk& chunk, const ChunkFailure& failure) noexcept;
  void end_chunk(const Chunk& chunk) noexcept;
  bool drives(int ordinal) const noexcept;
  bool may_take(const Work& work, const Device& device) const noexcept;
  bool has_items(const Work& work) const noexcept { return !work.returned.empty() || work.next < work.batch.count; }
  void give_up_hopeless() noexcept;
  void complete_finished(std::unique_lock<std::mutex>& lock) noexcept;

  std::vector<std::unique_ptr<Device>> devices_;
  std::size_t streams_;
  std::chrono::milliseconds stuck_;
  bool graphs_, forks_, kernel_copies_, refuse_zero_;
  std::string sysfs_;
  pid_t maker_;

  std::mutex mutex_;
  std::condition_variable work_ready_;
  Work* first_ = nullptr;
  Work* last_ = nullptr;
  Work* spare_ = nullptr;  // finished ones, kept for the next batches
  bool stopping_ = false;
  std::vector<std::thread> lanes_;
};

}  // namespace warpkem::cuda
