// Which lane takes what, how much of it, and on which backend.
#include <string.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <iterator>
#include <utility>

#include "host/serving/scheduler.hpp"

namespace warpkem::host {

namespace {

// A batch on a core takes about this long: long enough that forming it does not count, short enough to wait for.
constexpr double cpu_batch_ns = 1e6;
constexpr std::size_t cpu_batch_least = 8, cpu_batch_most = 256;
// Many lanes share a queue out no finer than so: with AVX2 an item costs much the same alone as among four, and many
// lanes would wait for the lock under which they take so little.
constexpr std::size_t share_floor = 4, lanes_per_item_of_floor = 4;
// A device takes all that waits, since its batches cost the less the larger they are, but no more than it does in this
// time, for the sake of other kinds.
constexpr double device_batch_ns = 5e6;
constexpr std::size_t device_batch_least = 256, device_batch_most = 32768;  // two are a queue of the default length
constexpr std::uint64_t interactive_is_recent_ns = 100'000'000;
// Small requests that a waiting caller may run itself.
constexpr std::uint32_t help_most_items = 8;

}  // namespace

void Lane::expect(BatchRun& run, std::uint64_t service_ns, std::uint64_t now) noexcept {
  run.expected_ns = service_ns;
  expected_ns += service_ns;
  busy_until_ns = std::max(now, busy_until_ns) + service_ns;
}

void Lane::forget(BatchRun& run) noexcept {
  const std::uint64_t service_ns = std::exchange(run.expected_ns, 0);
  expected_ns -= service_ns;
  busy_until_ns -= std::min(busy_until_ns, service_ns);
}

std::uint64_t Lane::finish(BatchRun& run, std::uint64_t now) noexcept {
  forget(run);
  busy_until_ns = now + expected_ns;
  const bool in_order = finished_began_ns <= run.began_ns;
  const std::uint64_t since = in_order ? std::max(run.began_ns, finished_ns) : run.began_ns;
  finished_ns = now;
  finished_began_ns = run.began_ns;
  return since;
}

bool Scheduler::usable(const Engine::Slot& slot, std::uint64_t now) const noexcept {
  return !slot.quarantined.load(std::memory_order_relaxed) && health_[slot.number].suspended_until_ns <= now;
}

bool Scheduler::nobody_left(const Kind& kind) const noexcept {
  return std::ranges::none_of(engine_.candidates(), [&](const Engine::Slot* s) {
    return s->abilities.has(kind) && !s->quarantined.load(std::memory_order_relaxed);
  });
}

// The backend that fresh work of the kind gets on this lane (null kind: of any); null: none of this lane's.
Engine::Slot* Scheduler::fresh_slot(const Lane& lane, const Kind* kind, std::uint64_t now) const noexcept {
  const auto order = engine_.candidates();
  for (const bool even_suspended : {false, true}) {
    const auto good = [&](const Engine::Slot* s) {
      if (kind != nullptr && !s->abilities.has(*kind)) return false;
      return even_suspended ? !s->quarantined.load(std::memory_order_relaxed) : usable(*s, now);
    };
    if (engine_.forced()) {
      const auto first = std::ranges::find_if(order, good);
      if (first == order.end()) continue;
      return std::ranges::find(lane.slots, *first) != lane.slots.end() ? *first : nullptr;
    }
    if (const auto mine = std::ranges::find_if(lane.slots, good); mine != lane.slots.end()) return *mine;
    // Another lane has one that works: what is suspended here is left alone.
    if (std::ranges::any_of(order, good)) return nullptr;
  }
  return nullptr;
}

// What is queued is not for this lane now: tells one that it is for, which may have looked before that was so, and
// looks again itself when a backend of its own is no longer suspended.
void Scheduler::leave_to_another(const Lane& lane, const Kind& kind, std::uint64_t now, std::uint64_t& next) noexcept {
  for (const Engine::Slot* slot : lane.slots) {
    if (!slot->abilities.has(kind)) continue;
    const std::uint64_t until = health_[slot->number].suspended_until_ns;
    if (until > now && !slot->quarantined.load(std::memory_order_relaxed)) next = std::min(next, until);
  }
  for (const auto& other : lanes_) {
    const bool asleep = other->state != Lane::State::awake && other->in_flight < other->depth;
    if (asleep && fresh_slot(*other, &kind, now) != nullptr) return wake(*other);
  }
}

bool Scheduler::may_rework(const Engine::Slot& slot, const BatchRun& run) noexcept {
  return slot.abilities.has(run.kind()) && !slot.quarantined.load(std::memory_order_relaxed) &&
         (run.tried >> slot.number & 1) == 0 && (run.stage != BatchRun::Stage::check || &slot != run.done_by);
}

bool Scheduler::can_rework(const BatchRun& run) const noexcept {
  if (!engine_.options().fail_over && run.stage != BatchRun::Stage::check) return false;
  return std::ranges::any_of(engine_.order(), [&](const Engine::Slot* s) { return may_rework(*s, run); });
}

BatchRun* Scheduler::take_rework(Lane& lane, std::uint64_t now) noexcept {
  BatchRun* before = nullptr;
  for (BatchRun* run = rework_first_; run != nullptr; before = run, run = run->next) {
    const auto fits = [&](const Engine::Slot* s) { return may_rework(*s, *run); };
    const auto fits_now = [&](const Engine::Slot* s) { return fits(s) && usable(*s, now); };
    auto slot = std::ranges::find_if(lane.slots, fits_now);
    if (run->stage == BatchRun::Stage::check) {
      // The last of them that can is the one that is nearest to the specification.
      const auto last = std::find_if(lane.slots.rbegin(), lane.slots.rend(), fits_now);
      slot = last != lane.slots.rend() ? std::prev(last.base()) : lane.slots.end();
    }
    if (slot == lane.slots.end()) slot = std::ranges::find_if(lane.slots, fits);
    const bool lost = !can_rework(*run);  // the last candidate went meanwhile: any lane ends it
    if (slot == lane.slots.end() && !lost) continue;
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
    run->tried = ~0u;  // so that the next lane ends it
  }
  if (rework_first_ != nullptr) wake_all();
}

Cost Scheduler::cost(const Engine::Slot& slot, const Bucket& bucket) const noexcept {
  return costs_[slot.number]->cost(bucket.kind);
}

std::uint64_t Scheduler::full_batch(const Lane& lane, const Cost& cost, const Engine::Slot& slot) const noexcept {
  if (options_.batch_items != 0) return options_.batch_items;
  if (lane.on_cpu) {
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
  return std::ranges::any_of(std::array{lanes_.front().get(), lanes_.back().get()}, [&](const Lane* lane) {
    const auto slot = std::ranges::find_if(lane->slots, [&](const Engine::Slot* s) { return s->abilities.has(kind); });
    if (slot == lane->slots.end()) return false;
    return r.count > full_batch(*lane, costs_[(*slot)->number]->cost(kind), **slot);
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

Scheduler::Portion Scheduler::portion(const Lane& lane, const Engine::Slot& slot, const Bucket& bucket,
                                      std::uint64_t now) const noexcept {
  const Cost c = cost(slot, bucket);
  const auto full = static_cast<std::size_t>(full_batch(lane, c, slot));
  std::size_t most = full;
  // A short queue is shared out, so that the cores finish together.
  if (lane.on_cpu && cpu_lanes_ > 1) {
    const std::size_t share = (bucket.items + cpu_lanes_ - 1) / cpu_lanes_;
    most = std::min(most, std::max(share, std::min(cpu_lanes_ / lanes_per_item_of_floor, share_floor)));
  }
  if (is_cut(bucket, c, now)) {
    const double room = std::max(0.0, static_cast<double>(options_.bulk_cut_ns) - c.fixed_ns);
    most = std::min(most, std::max<std::size_t>(1, static_cast<std::size_t>(room / c.item_ns)));
    return {most, 0};  // what is cut stays cut
  }
  const bool may_be_more = lane.on_cpu && most == full && options_.batch_items == 0;
  return {most, may_be_more ? full / 2 : 0};
}

// When `lane` would have done the bucket's items if it began as soon as it can.
std::uint64_t Scheduler::expected_end(const Lane& lane, const Engine::Slot& slot, const Bucket& bucket,
                                      std::uint64_t now) const noexcept {
  const Cost c = cost(slot, bucket);
  std::size_t items = bucket.items;
  if (lane.on_cpu) items = (items + cpu_lanes_ - 1) / cpu_lanes_;
  std::uint64_t begin = std::max(now, lane.busy_until_ns);
  // What is overdue is expected to take as long again.
  if (lane.in_flight != 0 && lane.busy_until_ns < now) begin += now - lane.busy_until_ns;
  return begin + c.of(items);
}

// When the lane may take more, if that is not at once (0). A device gets a second batch only if a kind fills one, if
// somebody asked for less delay, or so late that whoever just misses it waits for one batch and its own, not for two.
// Whatever the cause, it is then for the kind whose turn it is.
std::uint64_t Scheduler::opens_ns(const Lane& lane, const Engine::Slot& slot, std::uint64_t now) const noexcept {
  if (lane.on_cpu || lane.in_flight == 0) return 0;
  std::uint64_t opens = lane.busy_until_ns - std::min(lane.busy_until_ns, options_.max_delay_ns);
  for (const Bucket* b = former_.first_active(); b != nullptr; b = b->next_active) {
    if (!slot.abilities.has(b->kind)) continue;
    const Cost c = cost(slot, *b);
    if (is_cut(*b, c, now)) continue;  // the others would wait for both
    if (b->items >= full_batch(lane, c, slot)) return 0;
    opens = std::min(opens, b->hasty_ns);
  }
  return std::max<std::uint64_t>(opens, 1);
}

bool Scheduler::worth(Lane& lane, Engine::Slot& slot, const Bucket& bucket, std::uint64_t opens_ns, std::uint64_t now,
                      std::uint64_t& next) noexcept {
  if (const std::uint64_t at = std::max(bucket.close_ns, opens_ns); opens_ns != 0 && now < at) {
    next = std::min(next, at);
    return false;
  }
  const bool is_due = bucket.close_ns <= now;
  // Nobody is choosy about work that has waited its time, but for a device that takes it as soon as it is late enough.
  if (!mixed_ || (is_due && !lane.on_cpu)) return true;
  const std::size_t piece = std::min(bucket.items, portion(lane, slot, bucket, now).most);
  const std::uint64_t mine = lane.on_cpu ? now + cost(slot, bucket).of(piece) : expected_end(lane, slot, bucket, now);
  for (const auto& other : lanes_) {
    if (other->on_cpu == lane.on_cpu || other->in_flight >= other->depth) continue;
    if (is_due && (other->in_flight == 0 || other->busy_until_ns <= now)) continue;
    const Engine::Slot* const theirs = fresh_slot(*other, &bucket.kind, now);
    if (theirs == nullptr || expected_end(*other, *theirs, bucket, now) >= mine) continue;
    if (other->state != Lane::State::awake) wake(*other);
    // Nobody wakes this lane for what comes meanwhile.
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

void Scheduler::begin(Lane* lane, BatchRun& run, std::uint64_t now) noexcept {
  spare_runs_ = std::exchange(run.next, nullptr);
  ++active_runs_;
  run.taken_ns = now;
  run.lane = lane;
  if (lane != nullptr) ++lane->in_flight;
}

BatchRun* Scheduler::take(Lane& lane, std::uint64_t now, std::uint64_t& next) noexcept {
  drain_inboxes();
  sweep(now);
  if (lane.in_flight >= lane.depth) return nullptr;
  if (BatchRun* const run = take_rework(lane, now)) {
    run->lane = &lane;
    ++lane.in_flight;
    return run;
  }
  while (former_.items() != 0) {
    // Of a device, which has one slot; on the CPU it is 0.
    const std::uint64_t opens = opens_ns(lane, *lane.slots.front(), now);
    Bucket* const bucket = former_.next([&](const Bucket& b) {
      Engine::Slot* const s = fresh_slot(lane, &b.kind, now);
      if (s != nullptr) return worth(lane, *s, b, opens, now, next);
      if (nobody_left(b.kind)) return true;
      leave_to_another(lane, b.kind, now, next);
      return false;
    });
    if (bucket == nullptr) return nullptr;
    Engine::Slot* const slot = fresh_slot(lane, &bucket->kind, now);
    const bool lost = slot == nullptr;
    const auto [most, slack] = lost ? Portion{bucket->items, 0} : portion(lane, *slot, *bucket, now);
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
    begin(&lane, *run, now);
    run->slot = slot;
    if (slot != nullptr) {
      const std::uint64_t service = cost(*slot, *bucket).of(items);
      former_.charge(*bucket, service);
      lane.expect(*run, service, now);
    }
    // Whoever takes work wakes the next lane if there is more.
    if (former_.items() != 0 && options_.threads) {
      for (const auto& other : lanes_) {
        const bool is_free = other.get() != &lane && other->in_flight < other->depth;
        const bool device_may_care = !other->on_cpu && other->state == Lane::State::parked &&
                                     former_.items() >= other->slots.front()->backend->info().preferred_count;
        if (!is_free || (other->state != Lane::State::idle && !device_may_care)) continue;
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
    if (!lock.owns_lock() || cpu_lanes_ == 0 || helpers_ >= cpu_lanes_ || mode_ != Mode::open) return false;
    // Busy lanes make better batches of what waits than its callers would one by one.
    const auto is_idle = [](const auto& lane) { return lane->on_cpu && lane->state == Lane::State::idle; };
    if (running_.load(std::memory_order_relaxed) && std::ranges::none_of(lanes_, is_idle) &&
        std::ranges::any_of(lanes_, [](const auto& lane) { return lane->in_flight != 0; })) {
      return false;
    }
    drain_inboxes();
    Bucket* const only = former_.first_active();
    if (only == nullptr || only->next_active != nullptr) return false;
    Bucket& bucket = *only;
    const Request& r = *bucket.first;
    if (r.queue != &queue || bucket.first != bucket.last || r.taken != 0 || r.count > help_most_items) return false;
    const std::uint64_t now = clock_.now_ns();
    Engine::Slot* const slot = fresh_slot(*lanes_.back(), &bucket.kind, now);
    if (slot == nullptr || !slot->entry->on_cpu) return false;
    run = spare_run(1);
    if (run == nullptr) return false;
    former_.take(bucket, r.count, 0, now, run->pieces, ended_);
    if (run->pieces.empty()) {
      clerk_.notify_one();  // it had been cancelled, or had expired
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

// Measures what encapsulation costs on the lane's backends, with a key that everybody may know.
void Scheduler::calibrate(Lane& lane) {
  const Algorithm& a = *find_algorithm(reference_algorithm);
  for (Engine::Slot* slot : lane.slots) {
    const auto has = [slot](Operation operation) {
      return slot->abilities.has({operation, reference_algorithm, DkFormat::expanded, false});
    };
    if (!has(Operation::keygen) || !has(Operation::encaps)) continue;
    if (lane.on_cpu && &lane != lanes_.back().get()) return;  // one of them is enough
    const std::size_t large =
        lane.on_cpu ? 32 : std::clamp<std::size_t>(slot->backend->info().preferred_count, 64, 4096);
    try {
      SecureBuffer seed(a.seed_bytes), ek(a.ek_bytes), dk(a.dk_record(DkFormat::expanded)), m(large * a.m_bytes),
          c(large * a.c_bytes), K(large * a.K_bytes);
      std::vector<std::uint8_t> statuses(large);
      const auto timed = [&](Batch batch) {
        batch.algorithm = a.id;
        batch.statuses = statuses.data();
        std::ranges::fill(statuses, static_cast<std::uint8_t>(ItemStatus::pending));
        struct Done {
          std::mutex mutex;
          std::condition_variable changed;
          bool finished = false, good = false;
        } done;
        const std::uint64_t begin = clock_.now_ns();
        const WorkerPool::Alone alone;
        slot->backend->submit(batch, {[](void* context, const Outcome& outcome) noexcept {
                                        Done& d = *static_cast<Done*>(context);
                                        const std::scoped_lock lock(d.mutex);
                                        d.finished = true;
                                        d.good = outcome.status == Status::ok;
                                        d.changed.notify_one();
                                      },
                                      &done});
        std::unique_lock lock(done.mutex);
        done.changed.wait(lock, [&] { return done.finished; });
        return done.good ? clock_.now_ns() - begin : 0;
      };
      Batch keygen;
      keygen.operation = Operation::keygen;
      keygen.count = 1;
      keygen.seeds = {seed.data(), a.seed_bytes, nullptr};
      keygen.ek_out = {ek.data(), a.ek_bytes, nullptr};
      keygen.dk_out = {dk.data(), dk.size(), nullptr};
      if (timed(keygen) == 0) continue;
      const std::vector<const std::uint8_t*> same(large, ek.data());
      Batch encaps;
      encaps.operation = Operation::encaps;
      encaps.m = {m.data(), a.m_bytes, nullptr};
      encaps.ek = {nullptr, 0, same.data()};
      encaps.c_out = {c.data(), a.c_bytes, nullptr};
      encaps.K_out = {K.data(), a.K_bytes, nullptr};
      std::uint64_t one = never, many = never;
      for (int repeat = 0; repeat < 3; ++repeat) {
        encaps.count = 1;
        if (const std::uint64_t t = timed(encaps); t != 0) one = std::min(one, t);
        encaps.count = large;
        if (const std::uint64_t t = timed(encaps); t != 0) many = std::min(many, t);
      }
      if (one == never || many == never) continue;
      const double item =
          std::max(1.0, static_cast<double>(many > one ? many - one : 0) / static_cast<double>(large - 1));
      const std::scoped_lock lock(mutex_);
      costs_[slot->number]->calibrate({std::max(0.0, static_cast<double>(one) - item), item});
    } catch (const std::bad_alloc&) {  // then the guess stands until batches correct it
    }
  }
}

}  // namespace warpkem::host
