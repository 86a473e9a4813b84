#include "host/serving/submission.hpp"

#include <string.h>

#include <utility>

#include "host/core/operation.hpp"
#include "host/engine/key_set.hpp"

namespace warpkem::host {

namespace {

std::size_t bytes_of(const Batch& b) noexcept {
  const Algorithm& algorithm = *find_algorithm(b.algorithm);
  std::size_t bytes = 0;
  for_each_array(
      [&](Array a, const auto& array) {
        if (array.present()) bytes += record_bytes(algorithm, a, b.dk_format);
      },
      b);
  return bytes * b.count;
}

// Takes the first `n` requests of a chain into a chain of their own.
RequestChain pop_front(RequestChain& chain, std::size_t n) noexcept {
  if (n == chain.size) return std::exchange(chain, {});
  RequestChain first;
  while (first.size != n) first.push_back(chain.pop_front());
  return first;
}

}  // namespace

void Submission::fill(Request& r, const Batch& batch, const SubmitterData& data) const noexcept {
  r.work = Work(batch);
  r.submitted_ns = now_ns_;
  const std::uint64_t usual_delay = scheduler_.options().max_delay_ns;
  const std::uint64_t delay = options_.max_delay_us != 0 ? options_.max_delay_us * std::uint64_t{1000} : usual_delay;
  r.close_ns = now_ns_ + delay;
  r.is_hasty = delay < usual_delay;
  constexpr std::uint64_t longest_us = std::uint64_t{1} << 50;
  r.deadline_ns =
      options_.deadline_us != 0 && options_.deadline_us < longest_us ? now_ns_ + options_.deadline_us * 1000 : never;
  r.count = static_cast<std::uint32_t>(batch.count);
  r.taken = 0;
  r.request_class = options_.request_class;
  r.left.store(r.count, std::memory_order_relaxed);
  r.failed.store(0, std::memory_order_relaxed);
  r.fatal.store(0, std::memory_order_relaxed);
  r.last_failure = 0;
  r.queue = options_.queue;
  r.callback = options_.callback;
  r.context = options_.context;
  r.user_data = data.user_data;
  r.failed_out = data.failed;
  r.items_by_backend = data.items_by_backend;
  r.bytes = bytes_of(batch);
  if (r.items_by_backend != nullptr) memset(r.items_by_backend, 0, Engine::max_backends * sizeof *r.items_by_backend);
  if (r.work.keys != nullptr) r.work.keys->retain();
}

void Submission::give_back(RequestChain filled) noexcept {
  for (Request* r = filled.first; r != nullptr; r = r->next) r->work.release_keys();
  scheduler_.store()->pool.put(filled);
}

// Requests that are admitted. If the engine was shut down they are given back.
void Submission::hand_over(RequestChain admitted, std::uint64_t*& handles, std::size_t* submitted) {
  if (admitted.empty()) return;
  const std::size_t n = admitted.size;
  if (handles != nullptr) {
    for (const Request* r = admitted.first; r != nullptr; r = r->next) *handles++ = r->handle();
  }
  if (options_.queue != nullptr) options_.queue->announce(n);
  try {
    scheduler_.submit(admitted, !options_.will_wait);
    if (options_.will_wait) options_.queue->owe_wake();
  } catch (...) {
    if (options_.queue != nullptr) options_.queue->withdraw(n);
    for (Request* r = admitted.first; r != nullptr; r = r->next) r->work.release_keys();
    scheduler_.store()->recycle(admitted);
    throw;
  }
  if (submitted != nullptr) *submitted += n;
}

Submission::Result Submission::refuse(std::size_t requests, const char* why) noexcept {
  // Also while one waited for room: there will never be any.
  if (scheduler_.closed()) return {Status::aborted, "the engine was shut down"};
  scheduler_.metrics().add(Counter::refused, requests);
  if (why != nullptr) return {Status::would_block, why};
  return {Status::would_block, scheduler_.store()->admission.waiters() != 0
                                   ? "others wait for room in the engine's queue"
                                   : "the engine's queue is full"};
}

Submission::Result Submission::refuse_too_large(const Request& r, std::size_t requests) {
  const Admission& admission = scheduler_.store()->admission;
  const std::string bound =
      r.charge() > admission.most_items()
          ? std::to_string(r.charge()) + " items, above max_items, " + std::to_string(admission.most_items())
          : std::to_string(r.bytes) + " bytes of records, above max_bytes, " + std::to_string(admission.most_bytes());
  text_ = "a request of " + bound + ", is taken only while nothing else is under way";
  return refuse(requests, text_.c_str());
}

Submission::Result Submission::submit(RequestChain filled, std::uint64_t* handles, std::size_t* submitted) {
  Admission& admission = scheduler_.store()->admission;
  bool is_too_large = false;
  try {
    // Not all at once, if there is no room for that: as many as fit, and then again, as room appears.
    for (std::size_t admitted = admission.admit(filled);;) {
      hand_over(pop_front(filled, admitted), handles, submitted);
      if (filled.empty()) return {};
      is_too_large = admission.exceeds_bound(*filled.first);
      if (is_too_large || options_.timeout_us == 0) break;
      if (Scheduler::in_callback_of(scheduler_.store().get())) {
        throw Error(Status::would_deadlock, "waiting for room in a callback of the engine would deadlock");
      }
      const std::uint64_t waited_us = (scheduler_.now_ns() - now_ns_) / 1000;
      if (options_.timeout_us <= waited_us) break;
      admitted = admission.wait(filled, options_.timeout_us - waited_us);
      if (admitted == 0) break;
    }
    const std::size_t refused = filled.size;
    const Result result = is_too_large ? refuse_too_large(*filled.first, refused) : refuse(refused);
    give_back(filled);
    return result;
  } catch (...) {
    give_back(filled);
    throw;
  }
}

}  // namespace warpkem::host
