// A scheduler that a test moves step by step: a manual clock, no threads, and a backend that keeps what it gets.
#pragma once

#include <cstddef>
#include <deque>
#include <mutex>

#include "tests/host/serving.hpp"

namespace warpkem::testing {

// A backend that keeps what it gets until the test says what becomes of it, in any order.
struct Held {
  struct Entry {
    scripted::Backend* inner;
    host::Batch batch;
    host::Completion done;
  };
  std::mutex mutex;
  std::deque<Entry> entries;

  scripted::Behaviour behaviour() {
    return [this](scripted::Backend& inner, const host::Batch& batch, host::Completion done) {
      const std::scoped_lock lock(mutex);
      entries.push_back({&inner, batch, done});
    };
  }
  std::size_t size() {
    const std::scoped_lock lock(mutex);
    return entries.size();
  }
  Entry take(std::size_t i) {
    const std::scoped_lock lock(mutex);
    Entry e = entries.at(i);
    entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(i));
    return e;
  }
  void finish(std::size_t i = 0) {
    const Entry e = take(i);
    e.inner->submit(e.batch, e.done);
  }
  void fail(std::size_t i = 0, std::size_t items_done = 0) {
    const Entry e = take(i);
    if (items_done != 0)
      e.inner->submit(slice(e.batch, 0, items_done), {[](void*, const host::Outcome&) noexcept {}, nullptr});
    e.done.call(e.done.context, {host::Status::backend_failed, "told to fail"});
  }
};

struct Manual {
  ManualClock clock;
  host::SchedulerOptions options() {
    host::SchedulerOptions o;
    o.threads = false;
    o.clock = &clock;
    o.device_sentinel = 0;
    return o;
  }
};

inline host::EngineOptions one_thread() {
  host::EngineOptions o;
  o.threads = 1;
  return o;
}

}  // namespace warpkem::testing
