#include "host/serving/scheduler.hpp"

#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <utility>

#include "host/core/thread_number.hpp"
#include "host/engine/key_set.hpp"

namespace warpkem::host {

namespace {

// An executor that has run dry looks again for so long before it sleeps, where work was seen to come so soon: waking a
// thread costs more than the batch it comes for.
constexpr std::uint64_t linger_most_ns = 50'000;
// How often an executor looks again at work that it left to another: no submission wakes it meanwhile.
constexpr std::uint64_t decline_most_ns = 200'000;
// Expired requests are looked for at most this often.
constexpr std::uint64_t sweep_every_ns = 1'000'000;
constexpr Cost cpu_guess{1'000, 20'000};
constexpr Cost device_guess{150'000, 100};

}  // namespace

Scheduler::Scheduler(Engine& engine, const SchedulerOptions& options)
    : engine_(engine),
      options_(options),
      clock_(options.clock != nullptr ? *options.clock : own_clock_),
      store_(std::make_shared<RequestStore>()),
      link_(std::make_shared<SchedulerLink>(this)),
      costs_(Engine::max_backends) {
  store_->admission.limit(options.most_items, options.most_bytes);
  // Not from the caller's function: it may fail, or call the engine, which is locked now.
  if (getrandom(&dice_, sizeof dice_, GRND_NONBLOCK) != sizeof dice_) dice_ = clock_.now_ns();
  dice_ |= 1;
  std::vector<Engine::Slot*> on_cpu;
  for (Engine::Slot* slot : engine_.order()) {
    costs_[slot->number] = std::make_unique<CostModel>(slot->entry->on_cpu ? cpu_guess : device_guess);
    if (slot->entry->on_cpu) {
      on_cpu.push_back(slot);
      continue;
    }
    executors_.push_back(std::make_unique<Executor>());
    executors_.back()->on_cpu = false;
    executors_.back()->slots = {slot};
    executors_.back()->depth = 2;
  }
  mixed_ = !executors_.empty() && !on_cpu.empty() && !engine_.forced();
  cpu_executors_ = on_cpu.empty() ? 0 : std::max(1u, engine_.options().threads);
  for (std::size_t i = 0; i < cpu_executors_; ++i) {
    executors_.push_back(std::make_unique<Executor>());
    executors_.back()->slots = on_cpu;
  }
}

Scheduler::~Scheduler() { shut_down(false); }

// ---- submission

void Scheduler::submit(RequestChain requests, bool wake) {
  if (requests.empty()) return;
  const std::size_t n = requests.size;
  unfinished_.fetch_add(n);
  // After the count, which shut_down() waits for: either it sees the count or this sees that it closed.
  if (closed_.load()) {
    unfinished_.fetch_sub(n);
    throw Error(Status::aborted, "the engine was shut down");
  }
  if (!running_.load(std::memory_order_acquire) && options_.threads) {
    const std::scoped_lock lock(mutex_);
    try {
      if (!started_) start_threads();
    } catch (const std::exception& error) {  // std::system_error, std::bad_alloc
      unfinished_.fetch_sub(n);
      throw Error(Status::out_of_memory, std::string("a thread could not be started: ") + error.what());
    }
  }
  metrics_.add(Counter::submitted, n);
  // The inbox runs from the newest to the oldest.
  std::uint64_t deadline = never;
  Request* const oldest = requests.first;
  Request* newest = nullptr;
  for (Request* r = oldest; r != nullptr;) {
    Request* const next = r->next;
    r->next = newest;
    newest = r;
    deadline = std::min(deadline, r->deadline_ns);
    r = next;
  }
  std::atomic<Request*>& last = inboxes_[this_thread_number() % num_shards].last;
  Request* before = last.load(std::memory_order_relaxed);
  do {
    oldest->next = before;
  } while (!last.compare_exchange_weak(before, newest));
  // From here on the requests may be gone.
  if (deadline < timer_ns_.load()) {
    const std::scoped_lock lock(mutex_);
    if (deadline < timer_ns_.load()) {
      timer_ns_.store(deadline);
      timer_.notify_one();
    }
  }
  if (wake && idle_.load() != 0) wake_executor();
}

bool Scheduler::cancel(std::uint64_t handle) {
  RequestChain ended;
  {
    const RequestPool::Found found = store_->pool.ask_cancel(handle);
    Request* const r = found.get();
    if (r == nullptr) return false;
    const std::scoped_lock lock(mutex_);
    drain_inboxes();
    // Its place may have been given to another request meanwhile, which is then not marked.
    if ((r->state.load() >> 8) != handle >> 32 || !r->cancel_is_asked() || r->bucket == nullptr) return true;
    former_.remove(r);
    if (!BatchFormer::end(r, Status::cancelled)) return true;
    // A callback belongs on the engine's threads.
    (r->callback != nullptr ? ended_ : ended).push_back(r);
    if (r->callback != nullptr) timer_.notify_one();
  }
  deliver(ended);
  return true;
}

void Scheduler::cancel_all(const CompletionQueue& queue) {
  RequestChain ended;
  {
    const std::scoped_lock lock(mutex_);
    drain_inboxes();
    former_.sweep(ended, [&](const Request& r) { return r.queue == &queue ? Status::cancelled : Status::ok; });
  }
  deliver(ended);
}

std::size_t Scheduler::queued() {
  const std::scoped_lock lock(mutex_);
  drain_inboxes();
  return former_.items();
}

void Scheduler::drain_inboxes() noexcept {
  for (Inbox& inbox : inboxes_) {
    if (inbox.last.load() == nullptr) continue;
    Request* oldest = nullptr;
    for (Request* r = inbox.last.exchange(nullptr); r != nullptr;) {
      Request* const next = r->next;
      if (next != nullptr) next->prefetch();
      r->next = oldest;
      oldest = r;
      r = next;
    }
    for (Request* r = oldest; r != nullptr;) {
      Request* const next = r->next;
      if (r->request_class == RequestClass::interactive) last_interactive_ns_ = r->submitted_ns;
      if (r->count != 0) {
        const bool large = is_large(*r);
        if (!large) last_small_ns_[static_cast<std::size_t>(r->request_class)] = r->submitted_ns;
        former_.add(r, large);
      } else {
        ended_.push_back(r);
      }
      r = next;
    }
  }
}

bool Scheduler::inboxes_empty() const noexcept {
  return std::ranges::all_of(inboxes_, [](const Inbox& inbox) { return inbox.last.load() == nullptr; });
}

void Scheduler::sweep(std::uint64_t now) noexcept {
  if (mode_ == Mode::abort) {
    former_.sweep(ended_, [](const Request&) { return Status::aborted; });
    return;
  }
  if (timer_ns_.load() > now || next_sweep_ns_ > now) return;
  timer_ns_.store(never);
  drain_inboxes();  // what is pushed from now on sees that `never`
  std::uint64_t next = never;
  former_.sweep(ended_, [&](const Request& r) {
    if (r.expires(now)) return Status::expired;
    if (r.taken == 0) next = std::min(next, r.deadline_ns);
    return Status::ok;
  });
  // A long queue is looked through more rarely, so that looking never takes more than a part of the time.
  next_sweep_ns_ = now + std::max(sweep_every_ns, std::uint64_t{200} * former_.items());
  if (next != never) timer_ns_.store(std::min(timer_ns_.load(), next));
}

// ---- threads

// Throws std::system_error or std::bad_alloc if a backend would have no executor; may be called again then.
void Scheduler::start_threads() {
  const Cores& cores = engine_.cores();
  if (!timer_thread_.joinable()) timer_thread_ = cores.start([this] { timer_main(); });
  unsigned number = 0;
  bool one_on_cpu = false;
  for (const auto& executor : executors_) {
    const auto body = [this, &l = *executor] { executor_main(l); };
    const bool pin = engine_.options().pin_threads && executor->on_cpu;
    const unsigned core = pin ? number++ : 0;
    try {
      if (!executor->thread.joinable()) executor->thread = pin ? cores.start_on(core, body) : cores.start(body);
      one_on_cpu = one_on_cpu || executor->on_cpu;
    } catch (const std::exception&) {
      // With fewer executors of the CPU it is slower, not wrong.
      if (!executor->on_cpu || !one_on_cpu) throw;
      executor->state = Executor::State::parked;
      executor->in_flight = executor->depth;
    }
  }
  started_ = true;
  running_.store(true, std::memory_order_release);
}

void Scheduler::executor_main(Executor& executor) {
  if (mixed_ && !options_.manual_calibration) calibrate(executor);
  std::unique_lock lock(mutex_);
  std::uint64_t linger_ns = linger_most_ns, linger_until = 0;
  for (;;) {
    std::uint64_t next = never;
    BatchRun* const run = take(executor, clock_.now_ns(), next);
    if (run != nullptr || !ended_.empty()) {
      const RequestChain ended = std::exchange(ended_, {});
      lock.unlock();
      deliver(ended);
      if (run != nullptr) execute(*run);
      linger_until = clock_.now_ns() + linger_ns;
      lock.lock();
      continue;
    }
    if (stopping_) return;
    const bool full = executor.in_flight >= executor.depth;
    if (!full && linger_until != 0 && next == never) {
      lock.unlock();
      while (inboxes_empty() && clock_.now_ns() < linger_until) std::this_thread::yield();
      linger_until = 0;
      lock.lock();
      continue;
    }
    const bool parks = full || next != never;
    executor.state = parks ? Executor::State::parked : Executor::State::idle;
    if (!parks) {
      idle_.fetch_add(1);
      // After the count, which submitters look at: either they see it or this sees what they pushed.
      if (!inboxes_empty()) {
        wake(executor);
        continue;
      }
    }
    const std::uint64_t asleep_since = clock_.now_ns();
    if (next == never) {
      executor.wake.wait(lock);
      linger_ns = clock_.now_ns() - asleep_since < linger_most_ns ? linger_most_ns : linger_ns / 2;
    } else if (next > asleep_since) {
      executor.wake.wait_for(lock, std::chrono::nanoseconds(std::min(next - asleep_since, decline_most_ns)));
    }
    wake(executor);
  }
}

void Scheduler::timer_main() {
  std::unique_lock lock(mutex_);
  for (;;) {
    const std::uint64_t now = clock_.now_ns();
    if (mode_ == Mode::abort) {
      drain_inboxes();
      give_up_rework();
    }
    sweep(now);
    if (!ended_.empty()) {
      const RequestChain ended = std::exchange(ended_, {});
      lock.unlock();
      deliver(ended);
      lock.lock();
      continue;
    }
    if (stopping_) return;
    std::uint64_t next = timer_ns_.load();
    if (next != never) next = std::max({next, next_sweep_ns_, now + 1});
    if (mode_ == Mode::abort) next = now + 1'000'000;  // late submissions may still arrive
    if (next == never) {
      timer_.wait(lock);
    } else {
      timer_.wait_for(lock, std::chrono::nanoseconds(next - now));
    }
  }
}

void Scheduler::wake(Executor& executor) noexcept {
  if (executor.state == Executor::State::idle) idle_.fetch_sub(1);
  executor.state = Executor::State::awake;
  executor.wake.notify_one();
}

void Scheduler::wake_all() noexcept {
  for (const auto& executor : executors_) wake(*executor);
}

void Scheduler::wake_executor() noexcept {
  const std::scoped_lock lock(mutex_);
  Executor* chosen = nullptr;
  int rank = 0;
  const std::uint64_t now = clock_.now_ns();
  for (const auto& executor : executors_) {
    if (executor->state != Executor::State::idle) continue;
    const int its_rank = (fresh_slot(*executor, nullptr, now) != nullptr ? 2 : 0) + (executor->on_cpu ? 1 : 0);
    if (chosen == nullptr || its_rank >= rank) chosen = executor.get(), rank = its_rank;
  }
  if (chosen != nullptr) wake(*chosen);
}

// ---- the end

void Scheduler::shut_down(bool drain) {
  {
    std::unique_lock lock(mutex_);
    closed_.store(true);
    store_->admission.stop();
    if (mode_ != Mode::abort) mode_ = drain ? Mode::drain : Mode::abort;
    if (!options_.threads && mode_ == Mode::abort) {
      drain_inboxes();
      sweep(0);
      give_up_rework();
      const RequestChain ended = std::exchange(ended_, {});
      lock.unlock();
      deliver(ended);
      lock.lock();
    }
    timer_.notify_one();
    wake_all();
    // What finishes last has no way to say so that would not touch what goes away now.
    while (unfinished_.load() != 0 || active_runs_ != 0 || helpers_ != 0) {
      changed_.wait_for(lock, std::chrono::milliseconds(1));
    }
    if (stopping_) return;  // another call was first
    stopping_ = true;
    timer_.notify_one();
    wake_all();
  }
  link_->cut();
  for (const auto& executor : executors_) {
    if (executor->thread.joinable()) executor->thread.join();
  }
  if (timer_thread_.joinable()) timer_thread_.join();
}

void Scheduler::await_idle() {
  std::unique_lock lock(mutex_);
  while (unfinished_.load() != 0 || active_runs_ != 0 || helpers_ != 0) {
    changed_.wait_for(lock, std::chrono::milliseconds(1));
  }
}

bool Scheduler::step(std::uint64_t& next_ns) {
  bool moved = false;
  next_ns = never;
  for (const auto& executor : executors_) {
    std::unique_lock lock(mutex_);
    std::uint64_t next = never;
    const std::uint64_t now = clock_.now_ns();
    BatchRun* const run = take(*executor, now, next);
    next_ns = std::min(next_ns, next);
    const RequestChain ended = std::exchange(ended_, {});
    lock.unlock();
    deliver(ended);
    if (run != nullptr) execute(*run);
    moved = moved || run != nullptr || !ended.empty();
  }
  next_ns = std::min(next_ns, timer_ns_.load());
  return moved;
}

void Scheduler::log(LogLevel level, const char* format, ...) const noexcept {
  if (options_.log == nullptr) return;
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  try {
    options_.log(options_.log_context, static_cast<std::uint32_t>(level), text);
  } catch (...) {  // there is nobody left to tell
  }
}

}  // namespace warpkem::host
