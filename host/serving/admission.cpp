#include "host/serving/admission.hpp"

#include <chrono>

namespace warpkem::host {

void Admission::limit(std::size_t items, std::size_t bytes) noexcept {
  most_items_ = items;
  most_bytes_ = bytes;
}

// The mutex is held for some nanoseconds. To sleep for it would cost a thousand times that.
std::unique_lock<std::mutex> Admission::lock() noexcept {
  constexpr int tries = 50;
  for (int i = 0; i < tries; ++i) {
    if (std::unique_lock held(mutex_, std::try_to_lock); held.owns_lock()) return held;
  }
  return std::unique_lock(mutex_);
}

// The sums are compared without being formed: a bound may be the largest number there is.
bool Admission::fits(std::size_t items, std::size_t bytes) const noexcept {
  const std::size_t items_now = items_.load(std::memory_order_relaxed),
                    bytes_now = bytes_.load(std::memory_order_relaxed);
  return items_now <= most_items_ && items <= most_items_ - items_now && bytes_now <= most_bytes_ &&
         bytes <= most_bytes_ - bytes_now;
}

std::size_t Admission::take(const RequestChain& requests) noexcept {
  std::size_t taken = 0;
  for (const Request* r = requests.first; r != nullptr; r = r->next, ++taken) {
    const std::size_t items = items_.load(std::memory_order_relaxed);
    if (items != 0 && !fits(r->charge(), r->bytes)) break;
    items_.store(items + r->charge(), std::memory_order_relaxed);
    bytes_.store(bytes_.load(std::memory_order_relaxed) + r->bytes, std::memory_order_relaxed);
  }
  return taken;
}

std::size_t Admission::admit(const RequestChain& requests) noexcept {
  std::size_t items = 0, bytes = 0;
  for (const Request* r = requests.first; r != nullptr; r = r->next) items += r->charge(), bytes += r->bytes;
  const auto held = lock();
  if (first_ != nullptr || stopped_) return 0;
  if (!fits(items, bytes)) return take(requests);
  items_.store(items_.load(std::memory_order_relaxed) + items, std::memory_order_relaxed);
  bytes_.store(bytes_.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
  return requests.size;
}

void Admission::serve() noexcept {
  while (first_ != nullptr) {
    Waiter& waiter = *first_;
    waiter.admitted = take(waiter.requests);
    if (waiter.admitted == 0) return;
    leave(waiter);
    waiter.served.notify_one();  // under the lock, without which the waiter does not go away
  }
}

void Admission::leave(Waiter& waiter) noexcept {
  (waiter.before != nullptr ? waiter.before->behind : first_) = waiter.behind;
  (waiter.behind != nullptr ? waiter.behind->before : last_) = waiter.before;
  waiters_.store(waiters_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
}

void Admission::release(std::size_t items, std::size_t bytes) noexcept {
  const auto held = lock();
  items_.store(items_.load(std::memory_order_relaxed) - items, std::memory_order_relaxed);
  bytes_.store(bytes_.load(std::memory_order_relaxed) - bytes, std::memory_order_relaxed);
  if (first_ != nullptr) serve();
}

std::size_t Admission::wait(const RequestChain& requests, std::uint64_t timeout_us) {
  Waiter waiter{requests};
  std::unique_lock held(mutex_);
  if (stopped_) return 0;
  waiter.before = last_;
  (last_ != nullptr ? last_->behind : first_) = &waiter;
  last_ = &waiter;
  waiters_.store(waiters_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  serve();  // room may have come since admit() found none
  const auto is_over = [&] { return waiter.admitted != 0 || stopped_; };
  constexpr std::uint64_t forever_us = std::uint64_t{1} << 50;
  if (timeout_us >= forever_us) {
    waiter.served.wait(held, is_over);
  } else {
    waiter.served.wait_for(held, std::chrono::microseconds(timeout_us), is_over);
  }
  if (waiter.admitted != 0) return waiter.admitted;
  leave(waiter);
  if (!stopped_) serve();  // there may be room for the next
  return 0;
}

void Admission::stop() noexcept {
  const std::scoped_lock held(mutex_);
  stopped_ = true;
  for (Waiter* waiter = first_; waiter != nullptr; waiter = waiter->behind) waiter->served.notify_one();
}

}  // namespace warpkem::host
