// The C ABI of the scheduler: submissions, cancelling, shutdown (warpkem/async.h).
#include <algorithm>
#include <string>
#include <string_view>

#include "host/api/arguments.hpp"
#include "host/api/options.hpp"
#include "host/api/queue_handle.hpp"
#include "host/api/seam.hpp"
#include "host/core/operation.hpp"
#include "host/serving/scheduler.hpp"
#include "host/serving/submission.hpp"
#include "warpkem/async.h"

namespace {

using namespace warpkem::host;

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

}  // extern "C"
