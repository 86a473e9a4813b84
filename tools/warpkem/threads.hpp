// Threads that say what they were for when they cannot be started, and the processor time of all.
#pragma once

#include <fmt/core.h>

#include <ctime>
#include <functional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "tools/warpkem/error.hpp"

namespace warpkem::tool {

// Processor time of all threads of this process so far.
inline double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// What `make` gives, a std::thread or the like. Throws Error where that takes a thread that the system does not give.
template <class Make>
auto with_thread(const std::string& purpose, const Make& make) {
  try {
    return make();
  } catch (const std::system_error& error) {
    throw Error(fmt::format("no thread can be started for {}: {} (see the limits of the process: ulimit -u, -v, -s)",
                            purpose, error.code().message()));
  }
}

// Threads that are told to stop, and joined, whatever happens.
class Threads {
 public:
  explicit Threads(std::function<void()> stop) : stop_(std::move(stop)) {}
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  ~Threads() {
    stop_();
    join();
  }

  template <class Make>
  void start(const std::string& purpose, const Make& make) {
    threads_.reserve(threads_.size() + 1);
    threads_.push_back(with_thread(purpose, make));
  }
  void join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  std::function<void()> stop_;
  std::vector<std::thread> threads_;
};

}  // namespace warpkem::tool
