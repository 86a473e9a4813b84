// What becomes of a batch: run, redone elsewhere, checked, and its requests completed.
#include <stdio.h>

#include <algorithm>
#include <array>
#include <exception>
#include <span>
#include <utility>

#include "host/core/thread_local.hpp"
#include "host/engine/key_set.hpp"
#include "host/serving/scheduler.hpp"

namespace warpkem::host {

namespace {

// The callbacks that the calling thread is in, the innermost first: one may call another engine.
struct CallbackFrame {
  const RequestStore* store;  // of the engine whose it is
  const CallbackFrame* outer;
};
WARPKEM_THREAD_LOCAL const CallbackFrame* innermost_callback = nullptr;

constexpr std::uint64_t back_off_first_ns = 10'000'000, back_off_most_ns = 10'000'000'000;

// Finished requests, by queue, so that each queue is filled once per batch.
class Deliveries {
 public:
  void add(Request* r) noexcept {
    ++size_;
    if (r->queue == nullptr) return callbacks_.push_back(r);
    for (Entry& e : entries_) {
      if (e.queue == r->queue) return e.chain.push_back(r);
    }
    Entry& e = entries_[next_++ % entries_.size()];
    if (e.queue != nullptr) e.queue->push(e.chain);
    e = {r->queue, {}};
    e.chain.push_back(r);
  }
  void fill_queues() noexcept {
    for (Entry& e : entries_) {
      if (e.queue != nullptr) e.queue->push(std::exchange(e, {}).chain);
    }
  }
  RequestChain& callbacks() noexcept { return callbacks_; }
  std::size_t size() const noexcept { return size_; }

 private:
  struct Entry {
    CompletionQueue* queue = nullptr;
    RequestChain chain;
  };
  std::array<Entry, 16> entries_{};
  std::size_t next_ = 0, size_ = 0;
  RequestChain callbacks_;
};

}  // namespace

bool Scheduler::in_callback() noexcept { return innermost_callback != nullptr; }

bool Scheduler::in_callback_of(const RequestStore* store) noexcept {
  for (const CallbackFrame* frame = innermost_callback; frame != nullptr; frame = frame->outer) {
    if (frame->store == store) return true;
  }
  return false;
}

double Scheduler::sentinel_of(const Engine::Slot& slot) const noexcept {
  return slot.entry->on_cpu ? options_.cpu_sentinel : options_.device_sentinel;
}

void Scheduler::execute(BatchRun& run) noexcept {
  if (run.slot == nullptr) return resolve(run);
  if (!run.built()) {
    try {
      if (!run.build(engine_.random())) log(LogLevel::warning, "the random number generator failed");
    } catch (const std::bad_alloc&) {
      run.failure = Status::out_of_memory;
      return resolve(run);
    }
    metrics_.add(Counter::batches, 1);
    metrics_.add(Counter::batch_items, run.items());
    metrics_.batch_sizes.add(run.items());
  }
  if (run.tests_pairs() && !run.are_pairs_prepared()) {
    try {
      run.prepare_pairs(engine_.pairwise(), engine_.random());
    } catch (const Error& error) {
      log(LogLevel::warning, "the random number generator failed");
      run.failure = error.status();
      return resolve(run);
    } catch (const std::bad_alloc&) {
      run.failure = Status::out_of_memory;
      return resolve(run);
    }
  }
  if (run.batch_items() == 0) return resolve(run);  // every item names a bad key, or wants randomness
  run.began_ns = clock_.now_ns();
  const Completion done{[](void* context, const Outcome& outcome) noexcept {
                          BatchRun& r = *static_cast<BatchRun*>(context);
                          r.scheduler->finish(r, outcome);
                        },
                        &run};
  Backend& backend = *run.slot->backend;
  Batch batch = run.batch();
  batch.on_one_thread = true;
  // `run` may be another batch's by the time that either of these returns.
  if (give_form(batch, backend, done)) backend.submit(batch, done);
}

void Scheduler::finish(BatchRun& run, const Outcome& outcome) noexcept {
  try {
    finish_or_throw(run, outcome);
  } catch (const std::bad_alloc&) {
    run.failure = Status::out_of_memory;
    resolve(run);
  }
}

void Scheduler::finish_or_throw(BatchRun& run, const Outcome& outcome) {
  Engine::Slot& slot = *run.slot;
  const std::uint64_t now = clock_.now_ns();
  const Kind kind = run.stage_kind();
  const std::size_t given = run.batch_items();
  const std::size_t undone = run.collect();
  const bool failed = undone != 0;
  if (run.stage != BatchRun::Stage::check) slot.done.add(kind.operation, kind.algorithm, given - undone);
  run.service_ns += now - run.began_ns;
  {
    const std::scoped_lock lock(mutex_);
    const std::uint64_t since = run.executor != nullptr ? run.executor->finish(run, now) : run.began_ns;
    Health& health = health_[slot.number];
    if (!failed) {
      costs_[slot.number]->observe(kind, given, now - std::min(now, since));
      health = {};
    } else {
      health.back_off_ns = std::clamp(2 * health.back_off_ns, back_off_first_ns, back_off_most_ns);
      health.suspended_until_ns = now + health.back_off_ns;
    }
  }
  if (failed) {
    run.tried |= 1u << slot.number;
    const char* const text = outcome.status != Status::ok ? outcome.text : "left items undone";
    log(LogLevel::warning, "%s: %s", slot.entry->name, text);
    if (outcome.status == Status::out_of_memory) run.failure = Status::out_of_memory;
  }

  if (run.stage == BatchRun::Stage::check) {
    if (failed || slot.quarantined.load()) {
      run.tried |= 1u << slot.number;
      run.check_again();
      return rework(run);
    }
    metrics_.add(Counter::checked, given);
    const std::size_t differ = run.compare();
    if (differ == 0) return complete_or_test(run);
    metrics_.add(Counter::mismatched, differ);
    // One of the two is wrong. Backends stand in the table in the order of their speed, the specification itself at the
    // end: the one that is nearer to it is believed.
    const bool checker_is_wrong = slot.number < run.done_by->number;
    const Engine::Slot& believed = checker_is_wrong ? *run.done_by : slot;
    char verdict[256];
    snprintf(verdict, sizeof verdict, "%zu of %zu recomputed items differ: %s is believed", differ, given,
             believed.entry->name);
    if (checker_is_wrong) {
      quarantine(slot, verdict);
      run.tried |= 1u << slot.number;
      run.check_again();
      return rework(run);
    }
    quarantine(*run.done_by, verdict);
    run.tried |= 1u << run.done_by->number;
    run.distrust();
    run.retry();
    metrics_.add(Counter::redone, run.batch_items());
    return rework(run);
  }

  if (run.tests_pairs()) {
    if (failed || slot.quarantined.load()) {
      run.tried |= 1u << slot.number;
      return rework(run);
    }
    if (run.stage == BatchRun::Stage::pair_encaps) {
      run.go_on_with_decaps();
      return rework(run);
    }
    if (const std::size_t bad = run.judge_pairs(); bad != 0) {
      log(LogLevel::warning, "%zu of %zu key pairs failed their pairwise consistency test", bad, given);
    }
    return complete(run);
  }

  // What was under way when its backend was found out is not believed either.
  if (slot.quarantined.load()) {
    run.tried |= 1u << slot.number;
    run.distrust();
    run.retry();
    metrics_.add(Counter::redone, run.batch_items());
    return rework(run);
  }
  if (failed) {
    run.retry();
    metrics_.add(Counter::redone, undone);
    return rework(run);
  }
  run.done_by = &slot;
  const double fraction = sentinel_of(slot);
  if (fraction > 0) {
    const auto chance = static_cast<std::uint32_t>(std::min(4294967295.0, fraction * 4294967296.0));
    std::uint64_t dice;
    {
      const std::scoped_lock lock(mutex_);
      dice_ ^= dice_ << 13, dice_ ^= dice_ >> 7, dice_ ^= dice_ << 17;
      dice = dice_ * 0x9e3779b97f4a7c15u | 1;
    }
    try {
      if (run.choose(chance, dice)) return rework(run);
    } catch (const std::bad_alloc&) {
      metrics_.add(Counter::unchecked, run.chosen_items());
    }
  }
  complete_or_test(run);
}

// A key generation whose results are final may have pairs to test.
void Scheduler::complete_or_test(BatchRun& run) noexcept {
  PairwiseChoice& choice = engine_.pairwise();
  if (run.kind().operation != Operation::keygen || !choice.any()) return complete(run);
  const std::uint64_t first = choice.take(run.items());
  if (!choice.chooses_among(first, run.items())) return complete(run);
  run.expect_pairs(first);
  rework(run);
}

void Scheduler::resolve(BatchRun& run) noexcept {
  if (run.stage == BatchRun::Stage::check) metrics_.add(Counter::unchecked, run.batch_items());
  if (run.tests_pairs()) {
    run.fail_pairs(engine_.pairwise(), run.failure);
  } else if (run.built()) {
    run.fail_pending(run.failure);
    return complete_or_test(run);  // of what was done
  }
  complete(run);
}

void Scheduler::rework(BatchRun& run) noexcept {
  {
    const std::scoped_lock lock(mutex_);
    if (can_rework(run)) {
      if (run.executor != nullptr) --run.executor->in_flight;
      run.executor = nullptr;
      run.next = nullptr;
      (rework_last_ != nullptr ? rework_last_->next : rework_first_) = &run;
      rework_last_ = &run;
      wake_all();
      if (mode_ == Mode::abort) timer_.notify_one();
      return;
    }
  }
  resolve(run);
}

void Scheduler::complete(BatchRun& run) noexcept {
  const std::uint64_t now = clock_.now_ns();
  Deliveries deliveries;
  {
    const std::size_t slot = run.done_by != nullptr ? run.done_by->number : no_backend;
    Tally wait(metrics_, slot, run.kind(), Phase::wait), service(metrics_, slot, run.kind(), Phase::service),
        total(metrics_, slot, run.kind(), Phase::total);
    // Of a request in several batches, the first one ends its wait, the last one itself.
    for (const Piece& piece : run.pieces) {
      if (piece.first == 0) wait.add(run.taken_ns - std::min(run.taken_ns, piece.request->submitted_ns));
    }
    run.scatter([&](Request* r) {
      service.add(run.service_ns);
      total.add(now - std::min(now, r->submitted_ns));
      conclude(*r);
      deliveries.add(r);
    });
  }
  metrics_.add(Counter::completed, deliveries.size());
  deliveries.fill_queues();
  call_back(deliveries.callbacks());
  unfinished_.fetch_sub(deliveries.size());
  release(run);
}

void Scheduler::deliver(RequestChain ended) noexcept {
  if (ended.empty()) return;
  const std::uint64_t now = clock_.now_ns();
  Deliveries deliveries;
  while (!ended.empty()) {
    Request* const r = ended.pop_front();
    const std::uint64_t waited = now - std::min(now, r->submitted_ns);
    if (r->taken == 0) Tally(metrics_, no_backend, r->work.kind(), Phase::wait).add(waited);
    Tally(metrics_, no_backend, r->work.kind(), Phase::total).add(waited);
    conclude(*r);
    deliveries.add(r);
  }
  metrics_.add(Counter::completed, deliveries.size());
  deliveries.fill_queues();
  call_back(deliveries.callbacks());
  unfinished_.fetch_sub(deliveries.size());  // the last touch
}

// The requests are given back first, so that their places are free for what the callbacks submit.
void Scheduler::call_back(RequestChain chain) noexcept {
  struct Call {
    CompletionFunction callback;
    void* context;
    CompletionRecord completion;
  };
  std::array<Call, 64> calls;
  const CallbackFrame frame{store_.get(), innermost_callback};
  innermost_callback = &frame;
  while (!chain.empty()) {
    std::size_t n = 0;
    RequestChain some;
    while (n < calls.size() && !chain.empty()) {
      Request* const r = chain.pop_front();
      calls[n++] = {r->callback, r->context, r->completion()};
      some.push_back(r);
    }
    store_->recycle(some);
    for (const Call& call : std::span(calls).first(n)) {
      // Its request has completed: what it throws harms nobody else's.
      try {
        call.callback(call.context, call.completion.to_public());
      } catch (const std::exception& exception) {
        log(LogLevel::warning, "a completion callback threw an exception: %s", exception.what());
      } catch (...) {
        log(LogLevel::warning, "a completion callback threw what is not a std::exception");
      }
    }
  }
  innermost_callback = frame.outer;
}

void Scheduler::conclude(Request& r) noexcept {
  const std::uint8_t fatal = r.fatal.load(std::memory_order_relaxed);
  std::size_t failed = r.failed.load(std::memory_order_relaxed);
  if (fatal != 0) {
    for (std::size_t i = 0; i < r.count; ++i) {
      r.work.zero_outputs(i);
      if (r.work.statuses != nullptr) r.work.statuses[i] = fatal;
    }
    failed = r.count;
    r.failed.store(r.count, std::memory_order_relaxed);
    r.status = static_cast<Status>(fatal);
    metrics_.add(Counter::cancelled, r.status == Status::cancelled);
    metrics_.add(Counter::expired, r.status == Status::expired);
    metrics_.add(Counter::aborted, r.status == Status::aborted);
  } else if (failed != 0) {
    r.status = r.count == 1 ? static_cast<Status>(r.last_failure) : Status::item_failed;
  } else {
    r.status = Status::ok;
  }
  metrics_.add(Counter::failed, failed != 0);
  if (r.failed_out != nullptr) *r.failed_out = failed;
  r.work.release_keys();
}

void Scheduler::release(BatchRun& run) noexcept {
  run.reset_secrets();
  const std::scoped_lock lock(mutex_);
  if (Executor* const executor = run.executor) {
    --executor->in_flight;
    executor->forget(run);  // if no backend had it
    if (executor->state == Executor::State::parked) wake(*executor);
  }
  run.reset();
  run.next = std::exchange(spare_runs_, &run);
  --active_runs_;
}

void Scheduler::quarantine(Engine::Slot& slot, const char* why) noexcept {
  if (slot.quarantined.exchange(true)) return;
  metrics_.add(Counter::quarantines, 1);
  log(LogLevel::warning, "%s is in quarantine: %s", slot.entry->name, why);
  const std::scoped_lock lock(mutex_);
  wake_all();  // what was its may be somebody else's now
}

void Scheduler::take_back(Engine::Slot& slot) {
  slot.quarantined.store(false);
  const std::scoped_lock lock(mutex_);
  health_[slot.number] = {};
  wake_all();
}

}  // namespace warpkem::host
