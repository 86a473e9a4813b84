#include "host/serving/completion_queue.hpp"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

namespace warpkem::host {

void SchedulerLink::cut() noexcept {
  scheduler_.store(nullptr);
  while (inside_.load() != 0) std::this_thread::yield();
  const std::scoped_lock lock(mutex_);
  cut_.store(true);
  for (CompletionQueue* queue = queues_; queue != nullptr; queue = queue->behind_) queue->tell_that_engine_is_gone();
}

void SchedulerLink::add(CompletionQueue& queue) noexcept {
  const std::scoped_lock lock(mutex_);
  queue.behind_ = queues_;
  if (queues_ != nullptr) queues_->before_ = &queue;
  queues_ = &queue;
}

void SchedulerLink::remove(CompletionQueue& queue) noexcept {
  const std::scoped_lock lock(mutex_);
  (queue.before_ != nullptr ? queue.before_->behind_ : queues_) = queue.behind_;
  if (queue.behind_ != nullptr) queue.behind_->before_ = queue.before_;
}

CompletionQueue::~CompletionQueue() {
  link_->remove(*this);
  if (event_fd_ >= 0) close(event_fd_);
  store_->recycle(ready_);
}

void CompletionQueue::push(RequestChain finished) noexcept {
  const std::size_t n = finished.size;
  if (n == 0) return;
  bool awaited;
  bool by_one;
  {
    const std::scoped_lock lock(mutex_);
    const bool was_empty = ready_.empty();
    (ready_.last != nullptr ? ready_.last->next : ready_.first) = finished.first;
    ready_.last = finished.last;
    ready_.size += n;
    ready_size_.store(ready_.size, std::memory_order_release);
    to_come_.fetch_sub(n);
    // After the size, which poll looks at first: who is told by the descriptor finds something.
    if (was_empty && event_fd_ >= 0) {
      const std::uint64_t one = 1;
      static_cast<void>(!write(event_fd_, &one, sizeof one));
    }
    awaited = waiters_ != 0 && enough(least_);
    by_one = least_ == most_;
  }
  // Without the lock, which a waiter that takes this core at once would only stumble over.
  if (awaited) by_one ? filled_.notify_one() : filled_.notify_all();
  subtract_unfinished(n);
}

void CompletionQueue::subtract_unfinished(std::size_t n) noexcept {
  if (unfinished_.fetch_sub(n) == (n | ownerless)) delete this;
}

void CompletionQueue::withdraw(std::size_t n) noexcept {
  {
    const std::scoped_lock lock(mutex_);
    to_come_.fetch_sub(n);
    filled_.notify_all();
  }
  subtract_unfinished(n);
}

RequestChain CompletionQueue::detach(std::size_t most) noexcept {
  RequestChain chain;
  if (ready_.empty()) return chain;
  if (most >= ready_.size) {
    chain = ready_;
    ready_ = {};
  } else {
    Request* last = ready_.first;
    for (std::size_t i = 1; i < most; ++i) last = last->next;
    chain = {ready_.first, last, most};
    ready_.first = last->next;
    ready_.size -= most;
    last->next = nullptr;
  }
  ready_size_.store(ready_.size, std::memory_order_release);
  if (ready_.empty() && event_fd_ >= 0) {
    std::uint64_t count;
    static_cast<void>(!read(event_fd_, &count, sizeof count));
  }
  // A wake may have gone to another waiter than the one that took this much.
  if (waiters_ != 0 && enough(least_)) least_ == most_ ? filled_.notify_one() : filled_.notify_all();
  return chain;
}

std::size_t CompletionQueue::hand_over(RequestChain chain, std::span<CompletionRecord> out) noexcept {
  std::size_t n = 0;
  for (const Request* r = chain.first; r != nullptr; r = r->next) {
    out[n++] = r->completion();
  }
  store_->recycle(chain);
  return n;
}

void CompletionQueue::wake_executor() noexcept {
  link_->with([](QueueServer& s) { return s.wake_executor(), true; });
}

void CompletionQueue::pay_wake() noexcept {
  if (owes_wake_.load(std::memory_order_relaxed) && owes_wake_.exchange(false)) wake_executor();
}

std::size_t CompletionQueue::poll(std::span<CompletionRecord> out) noexcept {
  if (out.empty()) return 0;
  pay_wake();
  if (ready_size_.load(std::memory_order_acquire) == 0) return 0;
  RequestChain chain;
  {
    const std::scoped_lock lock(mutex_);
    chain = detach(out.size());
  }
  return hand_over(chain, out);
}

std::size_t CompletionQueue::wait(std::span<CompletionRecord> out, std::size_t least, std::uint64_t timeout_us) {
  if (out.empty()) return 0;
  least = std::clamp<std::size_t>(least, 1, out.size());
  if (ready_size_.load(std::memory_order_acquire) >= least || timeout_us == 0) {
    if (const std::size_t n = poll(out); n != 0 || timeout_us == 0) return n;
  }
  // Taken before the count is looked at: a wake that is owed for another thread's request makes the count larger.
  const bool owed = owes_wake_.load(std::memory_order_relaxed) && owes_wake_.exchange(false);
  const bool helped = unfinished_.load() == 1 && link_->with([this](QueueServer& s) { return s.help(*this); });
  if (owed && !helped) wake_executor();
  RequestChain chain;
  {
    std::unique_lock lock(mutex_);
    least_ = waiters_ == 0 ? least : std::min(least_, least);
    most_ = waiters_ == 0 ? least : std::max(most_, least);
    ++waiters_;
    const auto filled = [&] { return enough(least); };
    constexpr std::uint64_t forever_us = std::uint64_t{1} << 50;
    if (timeout_us >= forever_us) {
      filled_.wait(lock, [&] { return filled() || is_over(); });
    } else {
      filled_.wait_for(lock, std::chrono::microseconds(timeout_us), filled);
    }
    --waiters_;
    chain = detach(out.size());
    if (chain.empty() && timeout_us >= forever_us) {
      throw Error(Status::aborted, "the engine was shut down, and the queue has nothing under way");
    }
  }
  return hand_over(chain, out);
}

int CompletionQueue::event_fd() {
  const std::scoped_lock lock(mutex_);
  if (event_fd_ < 0) {
    event_fd_ = eventfd(ready_.empty() ? 0 : 1, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event_fd_ < 0) throw Error(Status::out_of_memory, std::string("eventfd: ") + strerror(errno));
  }
  return event_fd_;
}

void CompletionQueue::finish() {
  link_->with([this](QueueServer& s) { return s.cancel_all(*this), true; });
  pay_wake();
  while (unfinished() != 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
}

void CompletionQueue::finish_later() noexcept {
  link_->with([this](QueueServer& s) { return s.cancel_all(*this), true; });
  pay_wake();
  if (unfinished_.fetch_or(ownerless) == 0) delete this;
}

void CompletionQueue::tell_that_engine_is_gone() noexcept {
  const std::scoped_lock lock(mutex_);
  filled_.notify_all();
}

}  // namespace warpkem::host
