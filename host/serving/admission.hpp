// The bound on what is submitted and not yet handed back, in items and in bytes, and the line of those who wait for
// room.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "host/serving/request.hpp"

namespace warpkem::host {

// Thread-safe. What is refused is never counted, so it cannot make another fail. Waiting is first come, first served:
// while somebody waits, whoever comes later is refused, or waits behind them, also if there is room for it.
class Admission {
 public:
  void limit(std::size_t items, std::size_t bytes) noexcept;
  // How many requests might be admitted now, at the most.
  std::size_t room() const noexcept {
    if (waiters_.load(std::memory_order_relaxed) != 0) return 0;
    const std::size_t items = items_.load(std::memory_order_relaxed);
    return items == 0 ? std::max<std::size_t>(1, most_items_) : items < most_items_ ? most_items_ - items : 0;
  }
  // Larger than the bound by itself. It is taken when there is nothing else, and does not wait for that.
  bool exceeds_bound(const Request& r) const noexcept { return r.charge() > most_items_ || r.bytes > most_bytes_; }
  // Takes the first of these requests, as many as fit, and says how many. With `timeout_us` it waits for room for at
  // least one; what is left must then come again, behind the others. 0 also once stop() was called.
  std::size_t admit(const RequestChain& requests) noexcept;
  std::size_t wait(const RequestChain& requests, std::uint64_t timeout_us);
  void release(std::size_t items, std::size_t bytes) noexcept;
  void stop() noexcept;

  std::size_t items() const noexcept { return items_.load(std::memory_order_relaxed); }
  std::size_t bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }
  std::size_t most_items() const noexcept { return most_items_; }
  std::size_t most_bytes() const noexcept { return most_bytes_; }
  unsigned waiters() const noexcept { return waiters_.load(std::memory_order_relaxed); }

 private:
  struct Waiter {
    explicit Waiter(const RequestChain& these) noexcept : requests(these) {}

    const RequestChain& requests;
    std::size_t admitted = 0;
    Waiter *before = nullptr, *behind = nullptr;
    std::condition_variable served;
  };

  std::unique_lock<std::mutex> lock() noexcept;
  // All with mutex_ held.
  bool fits(std::size_t items, std::size_t bytes) const noexcept;
  std::size_t take(const RequestChain& requests) noexcept;
  void serve() noexcept;
  void leave(Waiter& waiter) noexcept;

  std::size_t most_items_ = 65536, most_bytes_ = std::size_t{256} << 20;  // set before the first request
  alignas(64) std::mutex mutex_;
  // Changed under mutex_, looked at without it.
  std::atomic<std::size_t> items_{0};
  std::atomic<std::size_t> bytes_{0};
  std::atomic<unsigned> waiters_{0};
  Waiter *first_ = nullptr, *last_ = nullptr;
  bool stopped_ = false;
};

}  // namespace warpkem::host
