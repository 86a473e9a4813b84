// The threads that CPU backends share. A call's own thread always works too, so a pool of one thread has none of its
// own.
#pragma once

#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace warpkem::host {

// The cores that the thread which makes an engine may use. The engine's threads run there, whoever's call starts them:
// otherwise they would inherit the core of a thread that is pinned to one. Signals are left to the application's own
// threads.
class Cores {
 public:
  Cores() noexcept;

  unsigned count() const noexcept;
  // Throw std::system_error, or std::bad_alloc.
  std::thread start(std::function<void()> body) const;
  std::thread start_on(unsigned number, std::function<void()> body) const;  // on one, counted round

 private:
  cpu_set_t set_;
};

class WorkerPool {
 public:
  // `threads` is how many may work on one call, its own among them; 0 is taken as 1. They start at first use.
  WorkerPool(unsigned threads, bool pin, const Cores& cores);
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;
  ~WorkerPool();  // joins: a forked child, where the threads are not, must not come here

  unsigned threads() const noexcept { return threads_; }

  // Calls work(context, first, count) for pieces of [0, count), each but the last a multiple of `grain`, from this
  // thread and the pool's; returns when all are done. Pieces shrink towards the end, so that the threads finish
  // together.
  using Work = void (*)(void* context, std::size_t first, std::size_t count) noexcept;
  void run(std::size_t count, std::size_t grain, Work work, void* context) noexcept;

 private:
  struct Job {
    Work work;
    void* context;
    std::size_t count;
    std::size_t grain;
    Job* next_job = nullptr;
    std::atomic<std::size_t> next{0};
    std::atomic<unsigned> helpers{0};  // pool threads inside; changed under mutex_
  };

  void start_threads() noexcept;
  void help();
  void work_on(Job& job) noexcept;
  void add(Job& job) noexcept;     // under mutex_, as the next
  void remove(Job& job) noexcept;  // if it is still there

  const unsigned threads_;
  const bool pin_;
  const Cores cores_;

  std::mutex mutex_;
  std::condition_variable work_added_, helper_left_;
  Job* jobs_ = nullptr;                // those with pieces left, oldest first
  std::atomic<bool> has_jobs_{false};  // changed under mutex_
  bool stopping_ = false;
  bool started_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace warpkem::host
