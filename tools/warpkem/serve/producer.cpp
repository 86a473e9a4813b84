#include "tools/warpkem/serve/producer.hpp"

#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>

#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/serve/clock.hpp"

namespace warpkem::tool {

namespace {

// What does not come back within half a minute is lost.
constexpr std::uint64_t lost_after_ns = 30'000'000'000;

}  // namespace

Producer::Producer(LoadState& load, std::size_t number, std::size_t num_requests)
    : load_(load), number_(number), random_(load.options.seed * 1000 + number), requests_(num_requests) {
  check(warpkem_queue_new(load_.engine, &queue_));
  options_.struct_size = sizeof options_;
  options_.deadline_us = load_.options.deadline_us;
  if (load_.options.rate > 0) {
    delivered_.reserve(num_requests);
    taken_.reserve(num_requests);
    options_.callback = [](void* context, const warpkem_completion* completion) {
      Producer& p = *static_cast<Producer*>(context);
      const std::scoped_lock lock(p.delivered_mutex_);
      p.delivered_.push_back({*completion, now_ns()});
    };
    options_.context = this;
  } else {
    options_.queue = queue_;
    // The thread that waits for a lone request runs it itself, as wait() in async.hpp does.
    if (num_requests == 1) options_.flags = WARPKEM_WILL_WAIT;
  }
  for (std::size_t i = num_requests; i-- != 0;) free_.push_back(i);
  completions_.resize(load_.options.hand_over);
  batches_.resize(load_.options.hand_over);
  chosen_.resize(load_.options.hand_over);
  handles_.resize(load_.options.hand_over);
  for (std::size_t i = 0; i < num_requests; ++i) requests_[i].prepare(load_.mix.pick(random_), i);
}

Producer::~Producer() { warpkem_queue_free(queue_); }

void Producer::run() {
  prctl(PR_SET_TIMERSLACK, 1);
  const bool is_open = load_.options.rate > 0;
  if (is_open) {
    open_loop();
  } else {
    closed_loop();
  }
  give_up_refused();
  const auto none_for_long = [this, is_open] {
    if (!is_open) return collect(lost_after_ns / 1000) == 0;
    for (const std::uint64_t end = now_ns() + lost_after_ns; now_ns() < end;) {
      if (take_back_delivered() != 0) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  };
  while (free_.size() != requests_.size() && !none_for_long()) {
  }
  report.lost = requests_.size() - free_.size();
}

void Producer::closed_loop() {
  while (!load_.stop.load(std::memory_order_relaxed)) {
    while (room() != 0) {
      const std::size_t n = may_submit(room());
      if (n == 0) return;
      const std::uint64_t now = now_ns();
      const std::uint64_t refused = report.refused;
      submit(n, [now](std::size_t) { return now; });
      if (report.refused != refused) break;
    }
    if (free_.size() + laid_out() == requests_.size()) continue;
    collect(100'000);
  }
}

// By callbacks: a queue's waiter would be woken for almost every request.
void Producer::open_loop() {
  struct Closing {
    Arrivals& arrivals;
    ~Closing() { arrivals.close(); }
  } const closing{load_.arrivals};
  std::vector<std::uint64_t> due;
  bool refused = false;
  std::uint64_t full_since_ns = 0;  // and nothing came back
  while (!load_.stop.load(std::memory_order_relaxed)) {
    Arrivals::Turn turn(load_.arrivals, number_);
    if (load_.arrivals.closed()) return;
    do {
      if (take_back_delivered() != 0) full_since_ns = 0;
      if (room() == 0) {
        // After a stall, this producer has more under way than its share of the engine's queue. The turn passes on.
        if (full_since_ns == 0) full_since_ns = now_ns();
        if (now_ns() > full_since_ns + lost_after_ns) return;
        std::this_thread::sleep_for(std::chrono::nanoseconds(Arrivals::nap_ns));
        break;
      }
      turn.take(room(), load_.options.hand_over, refused, due);
      const std::uint64_t refused_before = report.refused;
      const std::size_t n = may_submit(due.size());
      submit(n, [&](std::size_t i) { return due[i]; });
      if (n < due.size()) return;
      refused = report.refused != refused_before;
    } while (!turn.is_over() && !load_.stop.load(std::memory_order_relaxed));
  }
}

std::size_t Producer::room() const { return std::min(load_.options.hand_over, free_.size() + laid_out()); }

std::size_t Producer::may_submit(std::size_t wanted) {
  if (load_.options.requests == 0) return wanted;
  const std::int64_t before = load_.left.fetch_sub(static_cast<std::int64_t>(wanted));
  return static_cast<std::size_t>(std::clamp<std::int64_t>(before, 0, static_cast<std::int64_t>(wanted)));
}

void Producer::lay_out() {
  const std::size_t i = free_.back();
  free_.pop_back();
  Request& request = requests_[i];
  // The engine must not write to outputs that it delivered without results.
  if (request.is_void && !request.is_zero()) ++report.wrong;
  if (request.bad) request.restore_key();
  if (load_.mix.has_several()) request.prepare(load_.mix.pick(random_), i);
  if (load_.computes) {
    request.ask(random_(), roll(load_.drawn));
    if (request.kind->can_be_bad() && roll(load_.options.bad)) request.spoil_key(random_());
    if (load_.options.verifies()) request.poison_outputs();
  }
  --first_;
  std::construct_at(&batches_[first_]);  // in place: an assignment would copy zeros there
  request.describe(batches_[first_], i, load_.options.verifies());
  chosen_[first_] = i;
}

template <class IntendedNs>
void Producer::submit(std::size_t wanted, IntendedNs intended_ns) {
  if (wanted == 0) return;
  while (laid_out() < wanted) lay_out();
  for (std::size_t i = 0; i < wanted; ++i) {
    Request& request = requests_[chosen_[first_ + i]];
    request.intended_ns = intended_ns(i);
    request.in_flight = true;
  }
  std::size_t taken = 0;
  const double cancel = load_.options.cancel;
  options_.request_class = roll(load_.options.bulk) ? WARPKEM_BULK : WARPKEM_INTERACTIVE;
  const warpkem_status status = warpkem_submit(load_.engine, &batches_[first_], wanted, &options_,
                                               cancel > 0 ? handles_.data() : nullptr, &taken);
  report.offered += wanted;
  report.accepted += taken;
  if (status == WARPKEM_WOULD_BLOCK) {
    report.refused += wanted - taken;
  } else {
    check(status);
  }
  for (std::size_t i = taken; i < wanted; ++i) requests_[chosen_[first_ + i]].in_flight = false;
  for (std::size_t i = 0; cancel > 0 && i < taken; ++i) {
    if (roll(cancel)) check(warpkem_cancel(load_.engine, handles_[i]));
  }
  first_ += taken;
}

void Producer::give_up_refused() {
  for (; first_ != batches_.size(); ++first_) free_.push_back(chosen_[first_]);
}

std::size_t Producer::collect(std::uint64_t timeout_us) {
  std::size_t n = 0;
  // To wake a producer for every batch would keep the cores busier than the scheduler does.
  check(
      warpkem_queue_wait_many(queue_, completions_.data(), completions_.size(), requests_.size() / 2, timeout_us, &n));
  const std::uint64_t now = n != 0 ? now_ns() : 0;
  for (std::size_t i = 0; i < n; ++i) take_back(completions_[i], now);
  return n;
}

std::size_t Producer::take_back_delivered() {
  taken_.clear();
  {
    const std::scoped_lock lock(delivered_mutex_);
    taken_.swap(delivered_);
  }
  for (const Delivered& d : taken_) take_back(d.completion, d.at_ns);
  return taken_.size();
}

void Producer::take_back(const warpkem_completion& completion, std::uint64_t now) {
  const auto i = reinterpret_cast<std::size_t>(completion.user_data);
  Request& request = requests_[i];
  if (!request.in_flight) {
    ++report.duplicated;
    return;
  }
  request.in_flight = false;
  free_.push_back(i);
  ++report.completed;
  report.latency_ns.add(now - std::min(now, request.intended_ns));
  if (load_.computes) check_results(request, completion);
  if (completion.status == WARPKEM_OK) return;
  if (completion.status == WARPKEM_CANCELLED && load_.options.cancel > 0) {
    ++report.cancelled;
  } else if (completion.status == WARPKEM_EXPIRED && load_.options.deadline_us != 0) {
    ++report.expired;
  } else if (!request.bad || completion.status != request.expected_status()) {
    ++report.failed;
  }
}

void Producer::check_results(Request& request, const warpkem_completion& completion) {
  const bool ok = completion.status == WARPKEM_OK;
  const bool as_expected = completion.status == request.expected_status();
  bool right = !ok || !request.bad;
  report.expected_failures += request.bad && as_expected;
  if (load_.options.verifies()) {
    right = right && request.item_status == completion.status && completion.failed == (ok ? 0 : 1);
    right = right && (ok ? request.is_right(load_.portable) : request.is_zero());
    ++report.verified;
    request.is_void = !ok;
    if (ok && !request.derand) {
      // Randomness that comes twice would be as good as none.
      right = right && memcmp(last_drawn_.data(), request.out1(), last_drawn_.size()) != 0;
      memcpy(last_drawn_.data(), request.out1(), last_drawn_.size());
      ++report.verified_drawn;
    }
  }
  if (!right) ++report.wrong;
}

}  // namespace warpkem::tool
