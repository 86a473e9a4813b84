// A submitted request while the engine has it: pooled, so that the hot path allocates nothing, and linked into
// whichever list it is on (inbox, bucket, completion queue). The caller's handle is a number, so a late cancel cannot
// touch another's.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "host/core/status.hpp"
#include "host/serving/clock.hpp"
#include "host/serving/completion.hpp"
#include "host/serving/work.hpp"

namespace warpkem::host {

class CompletionQueue;
struct Bucket;

enum class RequestClass : std::uint8_t { interactive = 0, bulk = 1 };

struct alignas(64) Request {
  // What the scheduler reads and writes under its lock.
  Request* next = nullptr;
  Request* previous = nullptr;
  Bucket* bucket = nullptr;  // null: not in one, as between two uses: a late cancel may look
  std::uint64_t submitted_ns = 0;
  std::uint64_t close_ns = 0;           // its batch closes then at the latest
  std::uint64_t deadline_ns = 0;        // expires if no backend has begun it by then
  std::uint32_t count = 0;              // items
  std::uint32_t taken = 0;              // of which so many were given to batches
  std::atomic<std::uint64_t> state{0};  // generation << 8 | flags

  // Written by whoever finishes items.
  std::atomic<std::uint32_t> left{0};    // items without a status
  std::atomic<std::uint32_t> failed{0};  // items that failed
  Status status = Status::ok;            // once finished
  std::atomic<std::uint8_t> fatal{0};    // a Status that ends the request as a whole
  std::uint8_t last_failure = 0;         // an item's, for a request of one item

  RequestClass request_class = RequestClass::interactive;
  bool is_hasty = false;  // wants less delay than the engine's
  bool is_large = false;  // in its bucket: behind those that are not
  std::uint32_t slot_in_pool = 0;
  CompletionQueue* queue = nullptr;  // or
  CompletionFunction callback = nullptr;
  void* context = nullptr;
  void* user_data = nullptr;
  std::size_t* failed_out = nullptr;
  std::uint64_t* items_by_backend = nullptr;
  std::size_t bytes = 0;  // of its records
  Work work;

  static constexpr std::uint64_t live = 1, cancel_asked = 2;

  // Many requests are gone through, cold and one after the other.
  void prefetch() const noexcept {
    for (std::size_t line = 0; line < sizeof *this; line += 64)
      __builtin_prefetch(reinterpret_cast<const std::uint8_t*>(this) + line);
  }
  std::uint64_t handle() const noexcept {
    return (state.load(std::memory_order_relaxed) >> 8) << 32 | (slot_in_pool + std::uint64_t{1});
  }
  CompletionRecord completion() const noexcept {
    return {user_data, handle(), failed.load(std::memory_order_relaxed), static_cast<std::uint32_t>(status), 0};
  }
  bool cancel_is_asked() const noexcept { return (state.load(std::memory_order_relaxed) & cancel_asked) != 0; }
  // What a backend has begun is finished, late or not.
  bool expires(std::uint64_t now_ns) const noexcept { return deadline_ns <= now_ns && taken == 0; }
  // What counts against the bounds.
  std::size_t charge() const noexcept { return count != 0 ? count : 1; }
};
static_assert(sizeof(Request) <= 256, "four cache lines");

// A singly linked list of requests, oldest first.
struct RequestChain {
  Request* first = nullptr;
  Request* last = nullptr;
  std::size_t size = 0;

  void push_back(Request* r) noexcept {
    r->next = nullptr;
    (last != nullptr ? last->next : first) = r;
    last = r;
    ++size;
  }
  Request* pop_front() noexcept {
    Request* const r = first;
    first = r->next;
    if (first == nullptr) last = nullptr;
    --size;
    return r;
  }
  bool empty() const noexcept { return first == nullptr; }
};

}  // namespace warpkem::host
