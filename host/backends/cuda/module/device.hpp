// One GPU as a pool drives it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <string>

#include "host/backends/cuda/interface.hpp"
#include "host/backends/cuda/module/resident.hpp"

namespace warpkem::cuda {

class Device {
 public:
  Device(const DeviceInfo& info, std::size_t number, std::size_t chunk)
      : info_(info), number_(number), chunk_(chunk), limit_(chunk) {}

  const DeviceInfo& info() const noexcept { return info_; }
  int ordinal() const noexcept { return info_.ordinal; }
  std::size_t number() const noexcept { return number_; }  // within its pool
  std::string name() const { return "cuda device " + std::to_string(info_.ordinal) + " (" + info_.name + ")"; }

  // Most items of one chunk. Memory that ran out halves it; it comes back slowly, for whoever took the memory may be
  // gone.
  std::size_t limit() const noexcept { return limit_.load(std::memory_order_relaxed); }
  void ran_out_of_memory(std::size_t items) noexcept {
    limit_.store(std::max<std::size_t>(1, std::min(limit(), items) / 2), std::memory_order_relaxed);
    shortages_.fetch_add(1, std::memory_order_relaxed);
    successes_.store(0, std::memory_order_relaxed);
  }
  // How often it ran out: at a new shortage every lane gives up what it holds between chunks.
  std::size_t shortages() const noexcept { return shortages_.load(std::memory_order_relaxed); }
  void succeeded() noexcept {
    if (limit() == chunk_ || successes_.fetch_add(1, std::memory_order_relaxed) % 64 != 63) return;
    limit_.store(std::min(chunk_, limit() * 2), std::memory_order_relaxed);
  }

  RandomRing& random() noexcept { return random_; }  // of resident batches

 private:
  DeviceInfo info_;
  std::size_t number_;
  std::size_t chunk_;
  std::atomic<std::size_t> limit_;
  std::atomic<std::size_t> successes_{0};
  std::atomic<std::size_t> shortages_{0};
  RandomRing random_;
};

}  // namespace warpkem::cuda
