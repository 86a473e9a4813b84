#include "host/core/worker_pool.hpp"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "host/core/signals.hpp"

namespace warpkem::host {

namespace {

// Keeps signals for the application's own threads.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    const sigset_t left = signals_left_to_the_program();
    pthread_sigmask(SIG_SETMASK, &left, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

// Waits a little for what is likely to come at once: the next batch, the end of a piece. Waking a thread that sleeps
// takes as long, and the kernel may first put it on the core of the thread that wakes it.
template <class Condition>
void spin_until(Condition condition) noexcept {
  constexpr std::chrono::microseconds patience{50};
  const auto end = std::chrono::steady_clock::now() + patience;
  do {
    for (int i = 0; i < 32; ++i) {
      if (condition()) return;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
  } while (std::chrono::steady_clock::now() < end);
}

}  // namespace

Cores::Cores() noexcept {
  CPU_ZERO(&set_);
  if (sched_getaffinity(0, sizeof set_, &set_) == 0 && CPU_COUNT(&set_) != 0) return;
  // There are more than the set has room for.
  const unsigned all = std::clamp(std::thread::hardware_concurrency(), 1u, unsigned{CPU_SETSIZE});
  for (unsigned core = 0; core < all; ++core) CPU_SET(core, &set_);
}

unsigned Cores::count() const noexcept { return static_cast<unsigned>(CPU_COUNT(&set_)); }

std::thread Cores::start(std::function<void()> body) const {
  const SignalsBlocked signals_blocked;
  std::thread thread(std::move(body));
  pthread_setaffinity_np(thread.native_handle(), sizeof set_, &set_);
  return thread;
}

std::thread Cores::start_on(unsigned number, std::function<void()> body) const {
  std::thread thread = start(std::move(body));
  number %= count();
  unsigned core = 0;
  while (!CPU_ISSET(core, &set_) || number-- != 0) ++core;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(core, &one);
  pthread_setaffinity_np(thread.native_handle(), sizeof one, &one);
  return thread;
}

WorkerPool::WorkerPool(unsigned threads, bool pin, const Cores& cores)
    : threads_(std::max(1u, threads)), pin_(pin), cores_(cores) {}

WorkerPool::~WorkerPool() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  work_added_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void WorkerPool::start_threads() noexcept {
  started_ = true;
  try {
    workers_.reserve(threads_ - 1);
    for (unsigned i = 1; i < threads_; ++i) {
      const auto body = [this] { help(); };
      workers_.push_back(pin_ ? cores_.start_on(i, body) : cores_.start(body));
    }
  } catch (const std::exception&) {  // std::system_error, std::bad_alloc: fewer threads are slower, not wrong
  }
}

void WorkerPool::work_on(Job& job) noexcept {
  std::size_t first = job.next.load(std::memory_order_relaxed);
  while (first < job.count) {
    const std::size_t share = (job.count - first) / (2 * std::size_t{threads_});
    const std::size_t piece = std::max(job.grain, share - share % job.grain);
    const std::size_t end = std::min(job.count, first + piece);
    if (!job.next.compare_exchange_weak(first, end, std::memory_order_relaxed)) continue;
    job.work(job.context, first, end - first);
    first = job.next.load(std::memory_order_relaxed);
  }
}

void WorkerPool::help() {
  std::unique_lock lock(mutex_);
  for (;;) {
    lock.unlock();
    spin_until([this] { return has_jobs_.load(std::memory_order_relaxed); });
    lock.lock();
    work_added_.wait(lock, [this] { return stopping_ || jobs_ != nullptr; });
    if (jobs_ == nullptr) return;
    Job& job = *jobs_;
    ++job.helpers;
    lock.unlock();
    work_on(job);
    lock.lock();
    remove(job);  // nothing of it is left to take
    if (--job.helpers == 0) helper_left_.notify_all();
  }
}

void WorkerPool::add(Job& job) noexcept {
  Job** last = &jobs_;
  while (*last != nullptr) last = &(*last)->next_job;
  *last = &job;
  has_jobs_.store(true, std::memory_order_relaxed);
}

void WorkerPool::remove(Job& job) noexcept {
  Job** at = &jobs_;
  while (*at != nullptr && *at != &job) at = &(*at)->next_job;
  if (*at != nullptr) *at = job.next_job;
  has_jobs_.store(jobs_ != nullptr, std::memory_order_relaxed);
}

void WorkerPool::run(std::size_t count, std::size_t grain, Work work, void* context) noexcept {
  if (threads_ == 1 || count <= grain) return work(context, 0, count);
  Job job{work, context, count, grain};
  {
    const std::scoped_lock lock(mutex_);
    if (!started_) start_threads();
    add(job);
  }
  work_added_.notify_all();
  work_on(job);
  std::unique_lock lock(mutex_);
  remove(job);
  lock.unlock();
  spin_until([&job] { return job.helpers.load(std::memory_order_relaxed) == 0; });
  lock.lock();
  helper_left_.wait(lock, [&job] { return job.helpers == 0; });
}

}  // namespace warpkem::host
