// Which executor takes what, how much of it, and on which backend.
#include <string.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <iterator>
#include <utility>

#include "host/serving/calibration.hpp"
#include "host/serving/scheduler.hpp"

namespace warpkem::host {

namespace {

// A batch on a core takes about this long: long enough that forming it does not count, short enough to wait for.
constexpr double cpu_batch_ns = 1e6;
constexpr std::size_t cpu_batch_least = 8, cpu_batch_most = 256;
// Many executors share a queue out no finer than so: with AVX2 an item costs much the same alone as among four, and
// many executors would wait for the lock under which they take so little.
constexpr std::size_t share_floor = 4, executors_per_item_of_floor = 4;
// A device takes all that waits, since its batches cost the less the larger they are, but no more than it does in this
// time, for the sake of other kinds.
constexpr double device_batch_ns = 5e6;
constexpr std::size_t device_batch_least = 256, device_batch_most = 32768;  // two are a queue of the default length
constexpr std::uint64_t interactive_is_recent_ns = 100'000'000;
// Small requests that a waiting caller may run itself.
constexpr std::uint32_t help_most_items = 8;

}  // namespace

bool Scheduler::usable(const Engine::Slot& slot, std::uint64_t now) const noexcept {
  return !slot.quarantined.load(std::memory_order_relaxed) && health_[slot.number].suspended_until_ns <= now;
}

bool Scheduler::nobody_left(const Kind& kind) const noexcept {
  return std::ranges::none_of(engine_.candidates(), [&](const Engine::Slot* s) {
    return s->abilities.has(kind) && !s->quarantined.load(std::memory_order_relaxed);
  });
}

// The backend that fresh work of the kind gets on this executor (null kind: of any); null: none of this executor's.
Engine::Slot* Scheduler::fresh_slot(const Executor& executor, const Kind* kind, std::uint64_t now) const noexcept {
  const auto order = engine_.candidates();
  for (const bool even_suspended : {false, true}) {
    const auto good = [&](const Engine::Slot* s) {
      if (kind != nullptr && !s->abilities.has(*kind)) return false;
      return even_suspended ? !s->quarantined.load(std::memory_order_relaxed) : usable(*s, now);
    };
    if (engine_.forced()) {
      const auto first = std::ranges::find_if(order, good);
      if (first == order.end()) continue;
      return std::ranges::find(executor.slots, *first) != executor.slots.end() ? *first : nullptr;
    }
    if (const auto mine = std::ranges::find_if(executor.slots, good); mine != executor.slots.end()) return *mine;
    // Another executor has one that works: what is suspended here is left alone.
    if (std::ranges::any_of(order, good)) return nullptr;
  }
  return nullptr;
}

// What is queued is not for this executor now: tells one that it is for, which may have looked before that was so, and
// looks again itself when a backend of its own is no longer suspended.
void Scheduler::leave_to_another(const Executor& executor, const Kind& kind, std::uint64_t now,
                                 std::uint64_t& next) noexcept {
  for (const Engine::Slot* slot : executor.slots) {
    if (!slot->abilities.has(kind)) continue;
    const std::uint64_t until = health_[slot->number].suspended_until_ns;
    if (until > now && !slot->quarantined.load(std::memory_order_relaxed)) next = std::min(next, until);
  }
  for (const auto& other : executors_) {
    const bool asleep = other->state != Executor::State::awake && other->in_flight < other->depth;
    if (asleep && fresh_slot(*other, &kind, now) != nullptr) return wake(*other);
  }
}

bool Scheduler::may_rework(const Engine::Slot& slot, const BatchRun& run) noexcept {
  return slot.abilities.has(run.stage_kind()) && !slot.quarantined.load(std::memory_order_relaxed) &&
         (run.tried >> slot.number & 1) == 0 && (run.stage != BatchRun::Stage::check || &slot != run.done_by);
}

bool Scheduler::can_rework(const BatchRun& run) const noexcept {
  if (!engine_.options().fail_over && run.stage != BatchRun::Stage::check && !run.tests_pairs()) return false;
  // Pairs may be tested where they may be made, by the same backend too.
  const auto order = run.tests_pairs() ? engine_.candidates() : engine_.order();
  return std::ranges::any_of(order, [&](const Engine::Slot* s) { return may_rework(*s, run); });
}

BatchRun* Scheduler::take_rework(Executor& executor, std::uint64_t now) noexcept {
  BatchRun* before = nullptr;
  for (BatchRun* run = rework_first_; run != nullptr; before = run, run = run->next) {
    const auto candidates = engine_.candidates();
    const auto fits = [&](const Engine::Slot* s) {
      if (run->tests_pairs() && std::ranges::find(candidates, s) == candidates.end()) return false;
      return may_rework(*s, *run);
    };
    const auto fits_now = [&](const Engine::Slot* s) { return fits(s) && usable(*s, now); };
    auto slot = std::ranges::find_if(executor.slots, fits_now);
    if (run->stage == BatchRun::Stage::check) {
      // The last of them that can is the one that is nearest to the specification.
      const auto last = std::find_if(executor.slots.rbegin(), executor.slots.rend(), fits_now);
      slot = last != executor.slots.rend() ? std::prev(last.base()) : executor.slots.end();
    }
    if (slot == executor.slots.end()) slot = std::ranges::find_if(executor.slots, fits);
    const bool lost = !can_rework(*run);  // the last candidate went meanwhile: any executor ends it
    if (slot == executor.slots.end() && !lost) continue;
    (before != nullptr ? before->next : rework_first_) = run->next;
    if (rework_last_ == run) rework_last_ = before;
    run->next = nullptr;
    run->slot = lost ? nullptr : *slot;
    return run;
  }
  return nullptr;
}

void Scheduler::give_up_rework() noexcept {
  for (BatchRun* run = rework_first_; run != nullptr; run = run->next) {
    if (run->stage == BatchRun::Stage::check) continue;
    run->failure = Status::aborted;
    run->tried = ~0u;  // so that the next executor ends it
  }
  if (rework_first_ != nullptr) wake_all();
}

Cost Scheduler::cost(const Engine::Slot& slot, const Bucket& bucket) const noexcept {
  return costs_[slot.number]->cost(bucket.kind);
}

std::uint64_t Scheduler::full_batch(const Executor& executor, const Cost& cost,
                                    const Engine::Slot& slot) const noexcept {
  if (options_.batch_items != 0) return options_.batch_items;
  if (executor.on_cpu) {
    const auto items = static_cast<std::size_t>(cpu_batch_ns / cost.item_ns) & ~std::size_t{7};
    return std::clamp(items, cpu_batch_least, cpu_batch_most);
  }
  const auto items = static_cast<std::size_t>(device_batch_ns / cost.item_ns);
  return std::clamp(items, std::clamp(slot.backend->info().preferred_count, device_batch_least, device_batch_most),
                    device_batch_most);
}

// More than a batch of it. Most requests are found to be small at the first look.
bool Scheduler::is_large(const Request& r) const noexcept {
  if (r.count <= (options_.batch_items != 0 ? options_.batch_items : cpu_batch_least)) return false;
  if (options_.batch_items != 0) return true;
  // Devices come first, cores last: whose batches are smaller, says it.
  const Kind kind = r.work.kind();
  return std::ranges::any_of(
      std::array{executors_.front().get(), executors_.back().get()}, [&](const Executor* executor) {
        const auto slot =
            std::ranges::find_if(executor->slots, [&](const Engine::Slot* s) { return s->abilities.has(kind); });
        if (slot == executor->slots.end()) return false;
        return r.count > full_batch(*executor, costs_[(*slot)->number]->cost(kind), **slot);
      });
}

// Whether other work may come upon a batch of it that should not wait for long: interactive work upon bulk, and in a
// class what is small upon large requests, if they are more than a cut.
bool Scheduler::is_cut(const Bucket& bucket, const Cost& cost, std::uint64_t now) const noexcept {
  const auto is_recent = [now](std::uint64_t last_ns) { return now < last_ns + interactive_is_recent_ns; };
  if (bucket.request_class == RequestClass::bulk &&
      (former_.items(RequestClass::interactive) != 0 || is_recent(last_interactive_ns_))) {
    return true;
  }
  return bucket.large != nullptr && cost.of(bucket.large_items) > options_.bulk_cut_ns &&
         (former_.has_small(bucket.request_class) ||
          is_recent(last_small_ns_[static_cast<std::size_t>(bucket.request_class)]));
}

Scheduler::Portion Scheduler::portion(const Executor& executor, const Engine::Slot& slot, const Bucket& bucket,
                                      std::uint64_t now) const noexcept {
  const Cost c = cost(slot, bucket);
  const auto full = static_cast<std::size_t>(full_batch(executor, c, slot));
  std::size_t most = full;
  // A short queue is shared out, so that the cores finish together.
  if (executor.on_cpu && cpu_executors_ > 1) {
    const std::size_t share = (bucket.items + cpu_executors_ - 1) / cpu_executors_;
    most = std::min(most, std::max(share, std::min(cpu_executors_ / executors_per_item_of_floor, share_floor)));
  }
  if (is_cut(bucket, c, now)) {
    const double room = std::max(0.0, static_cast<double>(options_.bulk_cut_ns) - c.fixed_ns);
    most = std::min(most, std::max<std::size_t>(1, static_cast<std::size_t>(room / c.item_ns)));
    return {most, 0};  // what is cut stays cut
  }
  const bool may_be_more = executor.on_cpu && most == full && options_.batch_items == 0;
  return {most, may_be_more ? full / 2 : 0};
}

// When `executor` would have done the bucket's items if it began as soon as it can.
std::uint64_t Scheduler::expected_end(const Executor& executor, const Engine::Slot& slot, const Bucket& bucket,
                                      std::uint64_t now) const noexcept {
  const Cost c = cost(slot, bucket);
  std::size_t items = bucket.items;
  if (executor.on_cpu) items = (items + cpu_executors_ - 1) / cpu_executors_;
  std::uint64_t begin = std::max(now, executor.busy_until_ns);
  // What is overdue is expected to take as long again.
  if (executor.in_flight != 0 && executor.busy_until_ns < now) begin += now - executor.busy_until_ns;
  return begin + c.of(items);
}

// When the executor may take more; 0: at once. A device gets a second batch in three cases: a kind fills one, a request
// asked for less delay, or the first batch is nearly done. (A request that just misses the second batch then waits for
// that batch and its own, not for a third.) In each case the batch is for the kind whose turn it is.
std::uint64_t Scheduler::opens_ns(const Executor& executor, const Engine::Slot& slot,
                                  std::uint64_t now) const noexcept {
  if (executor.on_cpu || executor.in_flight == 0) return 0;
  std::uint64_t opens = executor.busy_until_ns - std::min(executor.busy_until_ns, options_.max_delay_ns);
  for (const Bucket* b = former_.first_active(); b != nullptr; b = b->next_active) {
    if (!slot.abilities.has(b->kind)) continue;
    const Cost c = cost(slot, *b);
    if (is_cut(*b, c, now)) continue;  // the others would wait for both
    if (b->items >= full_batch(executor, c, slot)) return 0;
    opens = std::min(opens, b->hasty_ns);
  }
  return std::max<std::uint64_t>(opens, 1);
}

bool Scheduler::worth(Executor& executor, Engine::Slot& slot, const Bucket& bucket, std::uint64_t opens_ns,
                      std::uint64_t now, std::uint64_t& next) noexcept {
  if (const std::uint64_t at = std::max(bucket.close_ns, opens_ns); opens_ns != 0 && now < at) {
    next = std::min(next, at);
    return false;
  }
  const bool is_due = bucket.close_ns <= now;
  // A device takes work that is due at once. A CPU executor first looks whether a device would be done with it sooner.
  if (!mixed_ || (is_due && !executor.on_cpu)) return true;
  const std::size_t piece = std::min(bucket.items, portion(executor, slot, bucket, now).most);
  const std::uint64_t mine =
      executor.on_cpu ? now + cost(slot, bucket).of(piece) : expected_end(executor, slot, bucket, now);
  for (const auto& other : executors_) {
    if (other->on_cpu == executor.on_cpu || other->in_flight >= other->depth) continue;
    if (is_due && (other->in_flight == 0 || other->busy_until_ns <= now)) continue;
    const Engine::Slot* const theirs = fresh_slot(*other, &bucket.kind, now);
    if (theirs == nullptr || expected_end(*other, *theirs, bucket, now) >= mine) continue;
    if (other->state != Executor::State::awake) wake(*other);
    // No submission wakes this executor meanwhile.
    next = std::min(next, is_due ? std::min(other->busy_until_ns, now + options_.max_delay_ns) : bucket.close_ns);
    return false;
  }
  return true;
}

BatchRun* Scheduler::spare_run(std::size_t pieces) noexcept {
  try {
    if (spare_runs_ == nullptr) {
      BatchRun& made = runs_.emplace_back();
      made.scheduler = this;
      spare_runs_ = &made;
    }
    spare_runs_->pieces.reserve(pieces);
  } catch (const std::bad_alloc&) {  // then what it has from earlier batches will do
  }
  return spare_runs_ != nullptr && spare_runs_->pieces.capacity() != 0 ? spare_runs_ : nullptr;
}

void Scheduler::begin(Executor* executor, BatchRun& run, std::uint64_t now) noexcept {
  spare_runs_ = std::exchange(run.next, nullptr);
  ++active_runs_;
  run.taken_ns = now;
  run.executor = executor;
  if (executor != nullptr) ++executor->in_flight;
}

BatchRun* Scheduler::take(Executor& executor, std::uint64_t now, std::uint64_t& next) noexcept {
  drain_inboxes();
  sweep(now);
  if (executor.in_flight >= executor.depth) return nullptr;
  if (BatchRun* const run = take_rework(executor, now)) {
    run->executor = &executor;
    ++executor.in_flight;
    return run;
  }
  while (former_.items() != 0) {
    // Of a device, which has one slot; on the CPU it is 0.
    const std::uint64_t opens = opens_ns(executor, *executor.slots.front(), now);
    Bucket* const bucket = former_.next([&](const Bucket& b) {
      Engine::Slot* const s = fresh_slot(executor, &b.kind, now);
      if (s != nullptr) return worth(executor, *s, b, opens, now, next);
      if (nobody_left(b.kind)) return true;
      leave_to_another(executor, b.kind, now, next);
      return false;
    });
    if (bucket == nullptr) return nullptr;
    Engine::Slot* const slot = fresh_slot(executor, &bucket->kind, now);
    const bool lost = slot == nullptr;
    const auto [most, slack] = lost ? Portion{bucket->items, 0} : portion(executor, *slot, *bucket, now);
    BatchRun* const run = spare_run(std::min(most + slack, bucket->items));
    if (run == nullptr) {
      former_.refuse(*bucket, most, Status::out_of_memory, ended_);
      return nullptr;
    }
    const std::size_t room = run->pieces.capacity(), taken = std::min(most, room);
    former_.take(*bucket, taken, std::min(slack, room - taken), now, run->pieces, ended_);
    if (run->pieces.empty()) continue;  // all of them had been cancelled, or had expired
    std::size_t items = 0;
    for (const Piece& piece : run->pieces) items += piece.count;
    begin(&executor, *run, now);
    run->slot = slot;
    if (slot != nullptr) {
      const std::uint64_t service = cost(*slot, *bucket).of(items);
      former_.charge(*bucket, service);
      executor.expect(*run, service, now);
    }
    // An executor that takes work wakes the next one if there is more.
    if (former_.items() != 0 && options_.threads) {
      for (const auto& other : executors_) {
        const bool is_free = other.get() != &executor && other->in_flight < other->depth;
        const bool device_may_care = !other->on_cpu && other->state == Executor::State::parked &&
                                     former_.items() >= other->slots.front()->backend->info().preferred_count;
        if (!is_free || (other->state != Executor::State::idle && !device_may_care)) continue;
        wake(*other);
        break;
      }
    }
    return run;
  }
  return nullptr;
}

bool Scheduler::help(const CompletionQueue& queue) {
  BatchRun* run = nullptr;
  {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock() || cpu_executors_ == 0 || helpers_ >= cpu_executors_ || mode_ != Mode::open) return false;
    // Busy executors make better batches of what waits than its callers would one by one.
    const auto is_idle = [](const auto& executor) {
      return executor->on_cpu && executor->state == Executor::State::idle;
    };
    if (running_.load(std::memory_order_relaxed) && std::ranges::none_of(executors_, is_idle) &&
        std::ranges::any_of(executors_, [](const auto& executor) { return executor->in_flight != 0; })) {
      return false;
    }
    drain_inboxes();
    Bucket* const only = former_.first_active();
    if (only == nullptr || only->next_active != nullptr) return false;
    Bucket& bucket = *only;
    const Request& r = *bucket.first;
    if (r.queue != &queue || bucket.first != bucket.last || r.taken != 0 || r.count > help_most_items) return false;
    const std::uint64_t now = clock_.now_ns();
    Engine::Slot* const slot = fresh_slot(*executors_.back(), &bucket.kind, now);
    if (slot == nullptr || !slot->entry->on_cpu) return false;
    run = spare_run(1);
    if (run == nullptr) return false;
    former_.take(bucket, r.count, 0, now, run->pieces, ended_);
    if (run->pieces.empty()) {
      timer_.notify_one();  // it had been cancelled, or had expired
      return true;
    }
    begin(nullptr, *run, now);
    run->slot = slot;
    ++helpers_;
  }
  metrics_.add(Counter::helped, 1);
  execute(*run);
  const std::scoped_lock lock(mutex_);
  --helpers_;
  return true;
}

void Scheduler::calibrate(const Executor& executor) {
  for (const Engine::Slot* slot : executor.slots) {
    if (executor.on_cpu && &executor != executors_.back().get()) return;  // the last one is enough
    try {
      const std::optional<Cost> cost = measure(*slot, clock_);
      const std::scoped_lock lock(mutex_);
      if (cost) costs_[slot->number]->calibrate(*cost);
    } catch (const std::bad_alloc&) {  // then the guess stands until batches correct it
    }
  }
}

}  // namespace warpkem::host
