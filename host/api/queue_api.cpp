// The C ABI of completion queues (warpkem/async.h).
#include <stddef.h>

#include <span>
#include <string>

#include "host/api/queue_handle.hpp"
#include "host/api/seam.hpp"
#include "host/serving/scheduler.hpp"
#include "warpkem/async.h"

namespace {

using namespace warpkem::host;

static_assert(sizeof(CompletionRecord) == sizeof(warpkem_completion) &&
              offsetof(CompletionRecord, request) == offsetof(warpkem_completion, request) &&
              offsetof(CompletionRecord, failed) == offsetof(warpkem_completion, failed) &&
              offsetof(CompletionRecord, status) == offsetof(warpkem_completion, status));

std::span<CompletionRecord> records(warpkem_completion* completions, std::size_t capacity) noexcept {
  return {reinterpret_cast<CompletionRecord*>(completions), capacity};
}

CompletionQueue& usable(warpkem_queue* queue) {
  if (queue == nullptr) throw Error(Status::invalid_argument, "queue is NULL");
  if (queue->forked()) throw Error(Status::forked, "the queue was inherited through fork");
  return *queue;
}

void refuse_in_callback(const CompletionQueue& queue, const char* what) {
  if (Scheduler::in_callback_of(queue.store())) {
    throw Error(Status::would_deadlock, std::string(what) + " in a callback of its engine would deadlock");
  }
}

}  // namespace

extern "C" {

warpkem_status warpkem_queue_new(warpkem_engine* engine, warpkem_queue** queue) {
  return guarded([&] {
    if (queue == nullptr) throw Error(Status::invalid_argument, "queue is NULL");
    *queue = nullptr;
    static_cast<void>(usable(engine));
    Scheduler& scheduler = engine->scheduler();
    *queue = new warpkem_queue(scheduler.store(), scheduler.link());
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_queue_free(warpkem_queue* queue) {
  return guarded([&] {
    if (queue == nullptr || queue->forked()) return WARPKEM_OK;  // the parent's locks are left alone
    refuse_in_callback(*queue, "freeing a queue");
    queue->finish();
    delete queue;
    return WARPKEM_OK;
  });
}

void warpkem_queue_free_later(warpkem_queue* queue) {
  if (queue != nullptr && !queue->forked()) queue->finish_later();
}

warpkem_status warpkem_queue_poll(warpkem_queue* queue, warpkem_completion* completions, size_t capacity,
                                  size_t* count) {
  return guarded([&] {
    CompletionQueue& q = usable(queue);
    if (count == nullptr || (completions == nullptr && capacity != 0)) {
      throw Error(Status::invalid_argument, count == nullptr ? "count is NULL" : "completions is NULL");
    }
    *count = q.poll(records(completions, capacity));
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_queue_wait(warpkem_queue* queue, warpkem_completion* completions, size_t capacity,
                                  uint64_t timeout_us, size_t* count) {
  return warpkem_queue_wait_many(queue, completions, capacity, 1, timeout_us, count);
}

warpkem_status warpkem_queue_wait_many(warpkem_queue* queue, warpkem_completion* completions, size_t capacity,
                                       size_t least, uint64_t timeout_us, size_t* count) {
  return guarded([&] {
    CompletionQueue& q = usable(queue);
    if (count == nullptr || (completions == nullptr && capacity != 0)) {
      throw Error(Status::invalid_argument, count == nullptr ? "count is NULL" : "completions is NULL");
    }
    refuse_in_callback(q, "waiting");
    *count = 0;
    *count = q.wait(records(completions, capacity), least, timeout_us);
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_queue_fd(warpkem_queue* queue, int* fd) {
  return guarded([&] {
    CompletionQueue& q = usable(queue);
    if (fd == nullptr) throw Error(Status::invalid_argument, "fd is NULL");
    *fd = q.event_fd();
    return WARPKEM_OK;
  });
}

}  // extern "C"
