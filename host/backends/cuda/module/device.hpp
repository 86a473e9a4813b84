// One GPU as a pool drives it.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>

#include "host/backends/cuda/interface.hpp"
#include "host/backends/cuda/module/forks.hpp"
#include "host/backends/cuda/module/random_ring.hpp"

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

  // Its lanes: whether one has opened it.
  void opened() noexcept { is_open_.store(true, std::memory_order_relaxed); }
  bool is_open() const noexcept { return is_open_.load(std::memory_order_relaxed); }

  // A device that could not be opened (another process has it to itself, it is being reset) costs every batch a try of
  // a tenth of a second. So it is left alone for a second, and after each failure that follows for twice as long.
  // Guarded by the pool's mutex.
  bool rests() const noexcept { return num_rests_ != 0 && Clock::now() < rests_until_; }
  void rest(const char* why) noexcept {
    if (rests()) return;  // several lanes failed at once
    constexpr unsigned most = 9;
    rests_until_ = Clock::now() + std::chrono::seconds(1) * (1u << std::min(num_rests_++, most));
    std::snprintf(why_it_rests_.data, sizeof why_it_rests_.data, "%s", why);
  }
  const char* why_it_rests() const noexcept { return why_it_rests_.data; }

  // Bytes that may hold secrets and are kept until the process ends, for they could not be wiped.
  void keeps(std::size_t bytes) noexcept { kept_bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  std::size_t kept_bytes() const noexcept { return kept_bytes_.load(std::memory_order_relaxed); }

  // What resident batches share. A context is current where it is freed.
  RandomRing& random() noexcept { return random_; }
  Forks& forks() noexcept { return forks_; }
  bool has_shared() const noexcept { return !random_.empty() || !forks_.empty(); }
  void free_shared() noexcept { random_.clear(), forks_.clear(); }
  void leak_shared() noexcept { random_.forget(), forks_.forget(); }

 private:
  using Clock = std::chrono::steady_clock;

  DeviceInfo info_;
  std::size_t number_;
  std::size_t chunk_;
  std::atomic<std::size_t> limit_;
  std::atomic<std::size_t> successes_{0};
  std::atomic<std::size_t> shortages_{0};
  std::atomic<bool> is_open_{false};
  Clock::time_point rests_until_{};
  unsigned num_rests_ = 0;
  Text why_it_rests_;
  std::atomic<std::size_t> kept_bytes_{0};
  RandomRing random_;
  Forks forks_;
};

}  // namespace warpkem::cuda
