// The C ABI of the scheduler (warpkem/async.h).
#include <stddef.h>
#include <string.h>

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "host/api/arguments.hpp"
#include "host/api/options.hpp"
#include "host/api/seam.hpp"
#include "host/core/operation.hpp"
#include "host/serving/completion_queue.hpp"
#include "host/serving/scheduler.hpp"
#include "host/serving/submission.hpp"
#include "warpkem/async.h"

struct warpkem_queue final : warpkem::host::CompletionQueue {
  using CompletionQueue::CompletionQueue;
};

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

// One descriptor of a call.
void fill(Request& r, const warpkem_batch& batch, const Engine& engine, const Submission& submission) {
  const Operation operation = public_operation(batch.operation);
  if (batch.count > UINT32_MAX) throw Error(Status::invalid_argument, "count of a request is above 4294967295");
  submission.fill(r, checked_batch(engine, batch, operation), {batch.user_data, batch.failed, batch.items_by_backend});
}

// From a caller that was compiled against another version of the header. Apart, since the copy costs more than the
// rest.
[[gnu::noinline]] void fill_from_other_version(Request& r, const warpkem_batch& given, const Engine& engine,
                                               const Submission& submission) {
  warpkem_batch batch{};
  copy_struct(batch, &given, "batch");
  fill(r, batch, engine, submission);
}

warpkem_status answer(const Submission::Result& result) noexcept {
  return result.status == Status::ok ? WARPKEM_OK : fail(result.status, result.why);
}

// Looks at `count` descriptors and submits them, or those before the first that is wrong. Throws std::bad_alloc, and
// then took none.
warpkem_status submit_portion(const Engine& engine, RequestPool& pool, Submission& submission,
                              const unsigned char* batches, std::size_t distance, std::size_t count,
                              warpkem_request* requests, std::size_t* submitted) {
  RequestChain spare = pool.get(count), filled;
  try {
    for (const unsigned char* at = batches; !spare.empty(); at += distance) {
      const warpkem_batch& batch = *reinterpret_cast<const warpkem_batch*>(at);
      if (const Request* const next = spare.first->next) next->prefetch();
      if (batch.struct_size != distance) throw Error(Status::invalid_argument, "batches differ in struct_size");
      if (distance == sizeof batch) {
        fill(*spare.first, batch, engine, submission);
      } else {
        fill_from_other_version(*spare.first, batch, engine, submission);
      }
      filled.push_back(spare.pop_front());
    }
  } catch (const Error& error) {
    pool.put(spare);
    const warpkem_status status = answer(submission.submit(filled, requests, submitted));
    return status != WARPKEM_OK ? status : fail(error.status(), error.what());
  } catch (...) {
    pool.put(spare);
    submission.give_back(filled);
    throw;
  }
  return answer(submission.submit(filled, requests, submitted));
}

warpkem_status submit(warpkem_engine* handle, const warpkem_batch* batches, std::size_t num_batches,
                      const warpkem_submit_options* given, warpkem_request* requests, std::size_t* submitted) {
  if (submitted != nullptr) *submitted = 0;
  Engine& engine = warpkem::host::usable(handle);
  if (given == nullptr) throw Error(Status::invalid_argument, "options is NULL");
  warpkem_submit_options options{};
  copy_struct(options, given, "options");
  if ((options.queue != nullptr) == (options.callback != nullptr)) {
    throw Error(Status::invalid_argument, "options: either a queue or a callback");
  }
  if (options.request_class > WARPKEM_BULK) {
    throw Error(Status::invalid_argument,
                "options.request_class " + std::to_string(options.request_class) + " is unknown");
  }
  if ((options.flags & ~WARPKEM_WILL_WAIT) != 0) {
    throw Error(Status::invalid_argument, "options.flags: unknown bits in " + std::to_string(options.flags));
  }
  if (options.reserved != 0) {
    throw Error(Status::invalid_argument, "options.reserved is " + std::to_string(options.reserved) + ", not 0");
  }
  if (options.flags != 0 && options.queue == nullptr) {
    throw Error(Status::invalid_argument, "WARPKEM_WILL_WAIT is for queues");
  }
  Scheduler& scheduler = handle->scheduler();
  if (options.queue != nullptr && options.queue->store() != scheduler.store().get()) {
    throw Error(Status::invalid_argument, "the queue is another engine's");
  }
  if (num_batches == 0) return WARPKEM_OK;
  if (batches == nullptr) throw Error(Status::invalid_argument, "batches is NULL");
  if (reinterpret_cast<std::uintptr_t>(batches) % alignof(warpkem_batch) != 0) {
    throw Error(Status::invalid_argument, "batches is not aligned for its members");
  }
  // Also the distance to the next, which must be aligned like the first.
  const std::size_t distance = batches->struct_size;
  check_struct_size(distance, known_struct<warpkem_batch>, "batches[0]");
  const SubmitOptions submit_options{.queue = options.queue,
                                     .callback = options.callback,
                                     .context = options.context,
                                     .request_class = static_cast<RequestClass>(options.request_class),
                                     .max_delay_us = options.max_delay_us,
                                     .deadline_us = options.deadline_us,
                                     .timeout_us = options.timeout_us,
                                     .will_wait = (options.flags & WARPKEM_WILL_WAIT) != 0};
  Submission submission(scheduler, submit_options);
  // By portions: requests are taken from the pool only for descriptors that are looked at next.
  constexpr std::size_t portion_most = 1024;
  const auto* at = reinterpret_cast<const unsigned char*>(batches);
  for (std::size_t left = num_batches;;) {
    // What cannot be taken is not even looked at: an overloaded engine has no time to lose on it.
    const std::size_t room = options.timeout_us != 0 ? left : scheduler.store()->admission.room();
    const std::size_t portion = std::min({left, room, portion_most});
    if (portion == 0) return answer(submission.refuse(left));
    const warpkem_status status =
        submit_portion(engine, scheduler.store()->pool, submission, at, distance, portion, requests, submitted);
    left -= portion;
    if (status == WARPKEM_WOULD_BLOCK) scheduler.metrics().add(Counter::refused, left);
    if (left == 0 || status != WARPKEM_OK) return status;
    at += portion * distance;
    if (requests != nullptr) requests += portion;
  }
}

}  // namespace

extern "C" {

warpkem_status warpkem_configure(warpkem_engine* engine, const warpkem_scheduler_options* given) {
  return guarded([&] {
    static_cast<void>(usable(engine));
    engine->lazy_scheduler.configure(scheduler_options(given));
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_submit(warpkem_engine* engine, const warpkem_batch* batches, size_t num_batches,
                              const warpkem_submit_options* options, warpkem_request* requests, size_t* submitted) {
  return guarded([&] { return submit(engine, batches, num_batches, options, requests, submitted); });
}

int warpkem_in_callback(void) { return Scheduler::in_callback() ? 1 : 0; }

int warpkem_in_callback_of(warpkem_engine* engine) { return engine != nullptr && is_in_callback_of(*engine) ? 1 : 0; }

warpkem_status warpkem_cancel(warpkem_engine* engine, warpkem_request request) {
  return guarded([&] {
    static_cast<void>(usable(engine));
    if (Scheduler* const scheduler = engine->lazy_scheduler.started()) scheduler->cancel(request);
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_shutdown(warpkem_engine* engine, uint32_t how) {
  return guarded([&] {
    static_cast<void>(usable(engine));
    if (how > WARPKEM_ABORT) throw Error(Status::invalid_argument, "how " + std::to_string(how) + " is unknown");
    refuse_in_callback(*engine, "a shutdown");
    engine->scheduler().shut_down(how == WARPKEM_DRAIN);
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_take_back(warpkem_engine* engine, const char* backend) {
  return guarded([&] {
    Engine& e = usable(engine);
    if (backend == nullptr) throw Error(Status::invalid_argument, "backend is NULL");
    const auto order = e.order();
    const auto found =
        std::ranges::find_if(order, [&](const Engine::Slot* s) { return s->entry->name == std::string_view(backend); });
    if (found == order.end()) {
      throw Error(Status::unsupported, "backend \"" + std::string(backend) + "\" is not in use here");
    }
    engine->scheduler().take_back(**found);
    return WARPKEM_OK;
  });
}

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
