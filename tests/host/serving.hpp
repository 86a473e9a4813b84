// What the scheduler's tests share: an engine over scripted backends behind the C ABI, keys, and requests with memory
// of their own.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "host/api/seam.hpp"
#include "host/serving/clock.hpp"
#include "host/serving/scheduler.hpp"
#include "tests/support/scripted_backend.hpp"

namespace warpkem::testing {

class ManualClock : public host::Clock {
 public:
  std::uint64_t now_ns() const noexcept override { return now_.load(); }
  void advance(std::uint64_t ns) { now_ += ns; }
  void advance_us(std::uint64_t us) { advance(us * 1000); }

 private:
  std::atomic<std::uint64_t> now_{1'000'000'000};
};

inline void check(warpkem_status status) {
  if (status != WARPKEM_OK) throw std::runtime_error(warpkem_last_error());
}

// A scheduler with threads.
inline host::SchedulerOptions threaded() { return {}; }

// An engine over scripts, as a handle of the C ABI.
class TestEngine {
 public:
  TestEngine(std::vector<scripted::Script> scripts, const host::SchedulerOptions& options,
             host::EngineOptions engine_options = {})
      : handle_{std::make_shared<host::Engine>(engine_options, scripted::table(std::move(scripts)))} {
    handle_.lazy_scheduler.configure(options);
  }
  // With other backends; `table` lives as long as the engine.
  TestEngine(std::span<const host::BackendEntry> table, const host::SchedulerOptions& options,
             const host::EngineOptions& engine_options)
      : handle_{std::make_shared<host::Engine>(engine_options, table)} {
    handle_.lazy_scheduler.configure(options);
  }
  warpkem_engine* get() { return &handle_; }
  host::Scheduler& scheduler() { return handle_.scheduler(); }
  host::Engine& engine() { return *handle_.engine; }
  warpkem_counters counters() {
    warpkem_counters c{};
    c.struct_size = sizeof c;
    check(warpkem_metrics(get(), &c, nullptr, 0, nullptr));
    return c;
  }
  // Lets every executor move until none does.
  void settle() {
    std::uint64_t next;
    while (scheduler().step(next)) {
    }
  }

 private:
  warpkem_engine handle_;
};

class Queue {
 public:
  explicit Queue(TestEngine& engine) { check(warpkem_queue_new(engine.get(), &queue_)); }
  ~Queue() { EXPECT_EQ(warpkem_queue_free(queue_), WARPKEM_OK); }
  warpkem_queue* get() const { return queue_; }
  std::vector<warpkem_completion> poll(std::size_t capacity = 1024) {
    std::vector<warpkem_completion> completions(capacity);
    std::size_t n = 0;
    check(warpkem_queue_poll(queue_, completions.data(), capacity, &n));
    completions.resize(n);
    return completions;
  }
  std::vector<warpkem_completion> wait(std::uint64_t timeout_us = 30'000'000, std::size_t capacity = 1024) {
    std::vector<warpkem_completion> completions(capacity);
    std::size_t n = 0;
    check(warpkem_queue_wait(queue_, completions.data(), capacity, timeout_us, &n));
    completions.resize(n);
    return completions;
  }

 private:
  warpkem_queue* queue_ = nullptr;
};

// A key pair and an engine that computes truly, for expected results.
struct Oracle {
  explicit Oracle(warpkem_algorithm a)
      : algorithm(a), ek(warpkem_size(a, WARPKEM_SIZE_EK)), dk(warpkem_size(a, WARPKEM_SIZE_DK)) {
    warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
    options.backend = "portable";
    options.threads = 0;
    check(warpkem_engine_new(&options, &engine));
    std::vector<std::uint8_t> seed(64, static_cast<std::uint8_t>(a));
    check(warpkem_keygen_derand(engine, a, WARPKEM_DK_EXPANDED, 1, {seed.data(), 64, 0}, {ek.data(), ek.size(), 0},
                                {dk.data(), dk.size(), 0}, nullptr, nullptr));
  }
  ~Oracle() { warpkem_engine_free(engine); }
  Oracle(const Oracle&) = delete;
  Oracle& operator=(const Oracle&) = delete;

  warpkem_algorithm algorithm;
  std::vector<std::uint8_t> ek, dk;
  warpkem_engine* engine = nullptr;
};

inline const Oracle& oracle() {
  static const Oracle o(WARPKEM_ML_KEM_512);
  return o;
}

// An encapsulation of `count` items with given m, to the oracle's key.
struct Encaps {
  Encaps(const Oracle& o, std::size_t count, std::uint32_t salt)
      : oracle(o),
        m(32 * count),
        c(warpkem_size(o.algorithm, WARPKEM_SIZE_C) * count, 0xEE),
        K(32 * count, 0xEE),
        statuses(count, 0xEE),
        eks(count, o.ek.data()) {
    for (std::size_t i = 0; i < m.size(); ++i) m[i] = static_cast<std::uint8_t>(salt * 31 + i * 7 + (salt >> 8));
    batch.struct_size = sizeof batch;
    batch.operation = WARPKEM_OP_ENCAPS;
    batch.algorithm = o.algorithm;
    batch.flags = WARPKEM_DERAND;
    batch.count = count;
    batch.ek.table = eks.data();
    batch.m = {m.data(), m.size(), 0, nullptr};
    batch.c_out = {c.data(), c.size(), 0, nullptr};
    batch.K_out = {K.data(), K.size(), 0, nullptr};
    batch.statuses = statuses.data();
    batch.failed = &failed;
    batch.user_data = this;
  }
  Encaps(const Encaps&) = delete;
  Encaps& operator=(const Encaps&) = delete;

  bool is_zero() const {
    const auto zero = [](const auto& v) { return std::ranges::all_of(v, [](std::uint8_t b) { return b == 0; }); };
    return zero(c) && zero(K);
  }
  bool is_right() const {
    std::vector<std::uint8_t> c2(c.size()), K2(K.size());
    warpkem_batch b = batch;
    b.c_out.data = c2.data();
    b.K_out.data = K2.data();
    b.statuses = nullptr;
    b.failed = nullptr;
    return warpkem_run(oracle.engine, &b) == WARPKEM_OK && c2 == c && K2 == K;
  }

  const Oracle& oracle;
  std::vector<std::uint8_t> m, c, K, statuses;
  std::vector<const std::uint8_t*> eks;
  std::size_t failed = 99;
  warpkem_batch batch{};
};

// A set of the oracle's key alone, for the caller to release.
inline warpkem_keys* one_prepared_key(TestEngine& engine) {
  warpkem_keys* keys = nullptr;
  check(warpkem_prepare_ek(engine.get(), WARPKEM_ML_KEM_512, 1, {oracle().ek.data(), oracle().ek.size(), 0}, nullptr,
                           nullptr, &keys));
  return keys;
}

inline void name_keys(Encaps& e, warpkem_keys* keys, const std::uint32_t* index) {
  e.batch.ek = {};
  e.batch.keys = keys;
  e.batch.index = index;
}

// That this request alone has completed, and is right.
inline void expect_done(Queue& queue, const Encaps& begun) {
  const auto completions = queue.poll();
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].status, WARPKEM_OK);
  EXPECT_TRUE(begun.is_right());
}

// A request as a submission makes it, for tests of the units that a scheduler is made of: no deadline, on no list.
struct PlainRequest : host::Request {
  explicit PlainRequest(const host::Batch& batch, host::RequestClass of_class = host::RequestClass::interactive) {
    work = host::Work(batch);
    count = static_cast<std::uint32_t>(batch.count);
    left = count;
    request_class = of_class;
    close_ns = deadline_ns = host::never;
  }
};

inline warpkem_submit_options to(const Queue& queue) {
  warpkem_submit_options o{};
  o.struct_size = sizeof o;
  o.queue = queue.get();
  return o;
}

inline warpkem_request submit(TestEngine& engine, const Encaps& e, const warpkem_submit_options& options) {
  warpkem_request request = 0;
  check(warpkem_submit(engine.get(), &e.batch, 1, &options, &request, nullptr));
  return request;
}

}  // namespace warpkem::testing
