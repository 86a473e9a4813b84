// Submission without waiting for C++20, over warpkem/async.h: queues, wait, wait_for, and awaitables. Included by
// warpkem.hpp.
#pragma once

#if !defined(__cplusplus) || __cplusplus < 201709L  // gcc 10 says that of its C++20
#error "warpkem/async.hpp needs C++20, as with -std=c++20; for C and older C++ there is async.h"
#else

#include <algorithm>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "warpkem/warpkem.hpp"

namespace warpkem {

/// How requests are submitted, as warpkem_submit_options. Negative durations count as already elapsed.
struct SubmitOptions {
  bool bulk = false;                       // true: WARPKEM_BULK
  std::chrono::microseconds max_delay{0};  // 0: the engine's
  std::chrono::microseconds deadline{0};   // counted from the call; 0: none
  std::chrono::microseconds timeout{0};    // how long to wait for room; 0: not at all
};

namespace detail {

constexpr std::uint64_t not_below_zero(std::chrono::microseconds time) noexcept {
  return static_cast<std::uint64_t>(std::max<std::chrono::microseconds::rep>(time.count(), 0));
}

// 0 means "not set" in the C struct, so a negative duration becomes 1 us.
constexpr std::uint64_t elapsed_as_one(std::chrono::microseconds time) noexcept {
  return time.count() < 0 ? 1 : static_cast<std::uint64_t>(time.count());
}

inline warpkem_submit_options submit_options(const SubmitOptions& options) noexcept {
  warpkem_submit_options o{};
  o.struct_size = sizeof o;
  o.request_class = options.bulk ? WARPKEM_BULK : WARPKEM_INTERACTIVE;
  o.max_delay_us = static_cast<std::uint32_t>(std::min<std::uint64_t>(elapsed_as_one(options.max_delay), UINT32_MAX));
  o.deadline_us = elapsed_as_one(options.deadline);
  o.timeout_us = not_below_zero(options.timeout);
  return o;
}

inline void check(warpkem_status status) {
  if (status != WARPKEM_OK) throw Error(status, warpkem_last_error());
}

}  // namespace detail

/// A completion queue. Move-only; its calls are thread-safe. The destructor cancels the requests that no backend has
/// begun and waits for the others. In a callback of its engine it does not wait: requests that were begun then go on
/// using their arrays for some time.
class Queue {
 public:
  explicit Queue(const Engine& engine) { detail::check(warpkem_queue_new(engine.get(), &queue_)); }
  Queue(Queue&& other) noexcept : queue_(std::exchange(other.queue_, nullptr)) {}
  Queue& operator=(Queue&& other) noexcept {
    std::swap(queue_, other.queue_);
    return *this;
  }
  ~Queue() {
    if (warpkem_queue_free(queue_) == WARPKEM_WOULD_DEADLOCK) warpkem_queue_free_later(queue_);
  }
  warpkem_queue* get() const noexcept { return queue_; }

  /// Fetches up to completions.size() completions without waiting. Returns their number.
  std::size_t poll(std::span<warpkem_completion> completions) const {
    std::size_t count = 0;
    detail::check(warpkem_queue_poll(queue_, completions.data(), completions.size(), &count));
    return count;
  }
  /// Waits for `least` completions, or for all if fewer are under way. Returns their number. Throws Error; ABORTED: the
  /// engine was shut down and no completion can come.
  std::size_t wait(std::span<warpkem_completion> completions, std::size_t least = 1) const {
    std::size_t count = 0;
    detail::check(
        warpkem_queue_wait_many(queue_, completions.data(), completions.size(), least, WARPKEM_FOREVER, &count));
    return count;
  }
  /// Waits at most `timeout` for the first completion. Returns the number fetched; 0: the time is over.
  std::size_t wait_for(std::span<warpkem_completion> completions, std::chrono::microseconds timeout) const {
    std::size_t count = 0;
    detail::check(
        warpkem_queue_wait(queue_, completions.data(), completions.size(), detail::not_below_zero(timeout), &count));
    return count;
  }
  /// An eventfd that is readable while the queue is not empty. The queue owns it.
  int fd() const {
    int fd = -1;
    detail::check(warpkem_queue_fd(queue_, &fd));
    return fd;
  }

 private:
  warpkem_queue* queue_ = nullptr;
};

/// Submits requests that complete in `queue`. Returns how many were taken: fewer than all only if the engine's queue is
/// full. Throws Error.
inline std::size_t submit(const Engine& engine, const Queue& queue, std::span<const warpkem_batch> batches,
                          const SubmitOptions& options = {}, warpkem_request* requests = nullptr) {
  warpkem_submit_options o = detail::submit_options(options);
  o.queue = queue.get();
  std::size_t submitted = 0;
  const warpkem_status status = warpkem_submit(engine.get(), batches.data(), batches.size(), &o, requests, &submitted);
  if (status != WARPKEM_WOULD_BLOCK) detail::check(status);
  return submitted;
}

/// Submits one request and waits for it. On an idle engine the calling thread runs it. After `timeout` the request is
/// cancelled; if a backend has begun it, the call waits for the backend. When the call returns or throws, the request's
/// memory belongs to the caller again. Throws Error; WOULD_DEADLOCK: in a callback of the engine, nothing was
/// submitted.
inline warpkem_completion wait(const Engine& engine, const warpkem_batch& batch, const SubmitOptions& options = {},
                               std::optional<std::chrono::microseconds> timeout = {}) {
  if (warpkem_in_callback_of(engine.get()) != 0)
    throw Error(WARPKEM_WOULD_DEADLOCK, "a wait in a callback would deadlock");
  const Queue queue(engine);
  warpkem_submit_options o = detail::submit_options(options);
  o.queue = queue.get();
  o.flags = WARPKEM_WILL_WAIT;
  warpkem_request request = 0;
  detail::check(warpkem_submit(engine.get(), &batch, 1, &o, &request, nullptr));
  warpkem_completion completion{};
  if (timeout && queue.wait_for({&completion, 1}, *timeout) != 0) return completion;
  if (timeout) detail::check(warpkem_cancel(engine.get(), request));
  queue.wait({&completion, 1});
  return completion;
}

/// The same with a time limit: a request that no backend has begun in time completes as CANCELLED.
inline warpkem_completion wait_for(const Engine& engine, const warpkem_batch& batch, std::chrono::microseconds timeout,
                                   const SubmitOptions& options = {}) {
  return wait(engine, batch, options, timeout);
}

/// `co_await async(engine, batch)` yields the warpkem_completion. The coroutine resumes on one of the engine's threads,
/// where it may submit but must not wait for that engine (WOULD_DEADLOCK). Throws Error if the request is not taken.
/// The coroutine frame and the request's arrays must stay valid while the coroutine is suspended. To end the wait
/// sooner, cancel `*request` or shut the engine down: the coroutine then resumes with CANCELLED or ABORTED. `*request`
/// is written before the coroutine can resume.
class [[nodiscard]] Awaitable {
 public:
  Awaitable(const Engine& engine, const warpkem_batch& batch, const SubmitOptions& options,
            warpkem_request* request) noexcept
      : engine_(engine.get()), batch_(batch), options_(detail::submit_options(options)), request_(request) {}
  Awaitable(const Awaitable&) = delete;
  Awaitable& operator=(const Awaitable&) = delete;

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> caller) noexcept {
    caller_ = caller;
    options_.callback = [](void* context, const warpkem_completion* completion) {
      Awaitable& self = *static_cast<Awaitable*>(context);
      self.completion_ = *completion;
      self.caller_.resume();
    };
    options_.context = this;
    // Once the request is taken, the coroutine may resume on another thread and destroy *this before the call returns.
    const warpkem_status status = warpkem_submit(engine_, &batch_, 1, &options_, request_, nullptr);
    if (status == WARPKEM_OK) return true;
    refused_ = status;
    return false;
  }
  warpkem_completion await_resume() const {
    detail::check(refused_);
    return completion_;
  }

 private:
  warpkem_engine* engine_;
  warpkem_batch batch_;  // a copy: the descriptor may be a temporary
  warpkem_submit_options options_;
  warpkem_request* request_;
  std::coroutine_handle<> caller_;
  warpkem_completion completion_{};
  warpkem_status refused_ = WARPKEM_OK;
};

inline Awaitable async(const Engine& engine, const warpkem_batch& batch, const SubmitOptions& options = {},
                       warpkem_request* request = nullptr) noexcept {
  return Awaitable(engine, batch, options, request);
}

}  // namespace warpkem

#endif
