// A completion queue: finished requests on their way back to the caller, who polls, blocks, or watches an eventfd.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "host/serving/request_store.hpp"

namespace warpkem::host {

// What a queue asks of the scheduler that fills it.
class QueueServer {
 public:
  // A waiter offers its thread. True if it ran the queue's only request.
  virtual bool help(const CompletionQueue& queue) = 0;
  virtual void wake_executor() noexcept = 0;
  virtual void cancel_all(const CompletionQueue& queue) = 0;

 protected:
  ~QueueServer() = default;
};

// How a queue reaches its scheduler, which may be shut down first.
class SchedulerLink {
 public:
  explicit SchedulerLink(QueueServer* scheduler) noexcept : scheduler_(scheduler) {}

  // Calls f(scheduler) unless it is gone; it stays until f returns.
  template <class F>
  bool with(F f) {
    const Inside inside(inside_);
    QueueServer* const s = scheduler_.load();
    return s != nullptr && f(*s);
  }
  void cut() noexcept;  // returns when nobody is inside, and tells the queues
  bool is_cut() const noexcept { return cut_.load(); }

  // Every queue, from its making to its end.
  void add(CompletionQueue& queue) noexcept;
  void remove(CompletionQueue& queue) noexcept;

 private:
  class Inside {
   public:
    explicit Inside(std::atomic<unsigned>& count) noexcept : count_(count) { count_.fetch_add(1); }
    ~Inside() { count_.fetch_sub(1); }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;

   private:
    std::atomic<unsigned>& count_;
  };

  std::atomic<QueueServer*> scheduler_;
  std::atomic<unsigned> inside_{0};
  std::atomic<bool> cut_{false};
  std::mutex mutex_;  // guards queues_; taken before a queue's
  CompletionQueue* queues_ = nullptr;
};

// Thread-safe. The mutex is held for a few list operations per batch, not per request.
class CompletionQueue {
 public:
  CompletionQueue(std::shared_ptr<RequestStore> store, std::shared_ptr<SchedulerLink> link) noexcept
      : store_(std::move(store)), link_(std::move(link)) {
    link_->add(*this);
  }
  CompletionQueue(const CompletionQueue&) = delete;
  CompletionQueue& operator=(const CompletionQueue&) = delete;
  virtual ~CompletionQueue();  // nothing may be unfinished; completions that nobody fetched are dropped

  bool forked() const noexcept { return store_->fork_guard.forked(); }
  const RequestStore* store() const noexcept { return store_.get(); }

  // Up to out.size() completions, oldest first; 0: there is none now.
  std::size_t poll(std::span<CompletionRecord> out) noexcept;
  // The same, as soon as there are `least`, or all that are still to come, or after `timeout_us`. If the queue waits
  // for one small request only, this thread may run it. Throws Error(aborted) in place of waiting for ever for what
  // cannot come: the engine was shut down, and nothing is under way.
  std::size_t wait(std::span<CompletionRecord> out, std::size_t least, std::uint64_t timeout_us);
  // A descriptor that is readable while the queue is not empty; the queue's own. Throws Error.
  int event_fd();

  // Engine side. A request is announced before it is submitted and pushed when it is finished.
  void announce(std::size_t n) noexcept {
    unfinished_.fetch_add(n);
    to_come_.fetch_add(n);
  }
  void withdraw(std::size_t n) noexcept;  // was not submitted after all
  void push(RequestChain finished) noexcept;
  std::size_t unfinished() const noexcept { return unfinished_.load() & ~ownerless; }
  // A submission, which lies in its inbox by now, left the waking of engine threads to the wait that follows it.
  void owe_wake() noexcept { owes_wake_.store(true); }

  // Cancels what can be, waits for the rest.
  void finish();
  // Cancels what can be, and deletes the queue when the rest is done, now or on another thread.
  void finish_later() noexcept;
  void tell_that_engine_is_gone() noexcept;

 private:
  friend class SchedulerLink;
  static constexpr std::size_t ownerless = ~(SIZE_MAX >> 1);  // a bit of unfinished_

  bool is_over() const noexcept { return link_->is_cut() && to_come_.load() == 0; }
  void subtract_unfinished(std::size_t n) noexcept;  // the last touch: the queue may be gone then
  // With mutex_ held.
  bool enough(std::size_t least) const noexcept {
    return ready_.size >= least || (!ready_.empty() && to_come_.load() == 0);
  }
  RequestChain detach(std::size_t most) noexcept;

  std::size_t hand_over(RequestChain chain, std::span<CompletionRecord> out) noexcept;
  void wake_executor() noexcept;
  void pay_wake() noexcept;

  const std::shared_ptr<RequestStore> store_;
  const std::shared_ptr<SchedulerLink> link_;
  std::atomic<std::size_t> unfinished_{0};  // announced, and their push has not ended
  std::atomic<std::size_t> to_come_{0};     // announced, and not in ready_ so far
  std::atomic<bool> owes_wake_{false};
  std::atomic<std::size_t> ready_size_{0};  // of ready_, to look at without the lock
  alignas(64) std::mutex mutex_;
  std::condition_variable filled_;
  RequestChain ready_;
  unsigned waiters_ = 0;
  std::size_t least_ = 0, most_ = 0;  // how many completions they wait for
  int event_fd_ = -1;
  CompletionQueue *before_ = nullptr, *behind_ = nullptr;  // among those of link_, guarded by its mutex
};

}  // namespace warpkem::host
