// The bound on what is submitted: what is refused leaves no trace, and who waits for room is served in the order of
// coming. The engine has no threads: what is submitted counts until the test lets it be done and fetches it.
#include <atomic>
#include <chrono>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "tests/host/held.hpp"

namespace warpkem::testing {
namespace {

std::size_t item_bytes() { return oracle().ek.size() + 32 + 768 + 32; }

struct Bounded {
  explicit Bounded(std::size_t most_items, std::size_t most_bytes = std::size_t{1} << 30)
      : engine({{"a", true, 1, scripted::honest()}}, options(most_items, most_bytes), one_thread()) {}

  static host::SchedulerOptions options(std::size_t most_items, std::size_t most_bytes) {
    host::SchedulerOptions o;
    o.threads = false;
    o.device_sentinel = 0;
    o.most_items = most_items;
    o.most_bytes = most_bytes;
    return o;
  }
  Encaps& request(std::size_t count) {
    return requests.emplace_back(oracle(), count, static_cast<std::uint32_t>(requests.size()));
  }
  warpkem_status try_submit(const Encaps& e, std::uint64_t timeout_us = 0, std::size_t* submitted = nullptr) {
    warpkem_submit_options o = to(queue);
    o.timeout_us = timeout_us;
    return warpkem_submit(engine.get(), &e.batch, 1, &o, nullptr, submitted);
  }
  // Makes room: lets everything be done, and fetches so many completions.
  void fetch(std::size_t n) {
    engine.settle();
    EXPECT_EQ(queue.poll(n).size(), n);
  }
  unsigned waiters() { return engine.scheduler().store()->admission.waiters(); }
  void await_waiters(unsigned n) {
    while (waiters() != n) std::this_thread::yield();
  }
  std::size_t items() { return engine.counters().items; }

  TestEngine engine;
  Queue queue{engine};
  std::deque<Encaps> requests;
};

// A submission that waits on a thread of its own.
struct Waiting {
  Waiting(Bounded& b, std::size_t count, std::uint64_t timeout_us = WARPKEM_FOREVER)
      : Waiting(b, {&b.request(count)}, timeout_us) {}
  Waiting(Bounded& b, std::vector<const Encaps*> all, std::uint64_t timeout_us = WARPKEM_FOREVER) {
    for (const Encaps* e : all) batches.push_back(e->batch);
    const unsigned before = b.waiters();
    thread = std::thread([this, &b, timeout_us] {
      warpkem_submit_options o = to(b.queue);
      o.timeout_us = timeout_us;
      status = warpkem_submit(b.engine.get(), batches.data(), batches.size(), &o, nullptr, &submitted);
      over = true;
    });
    // Who has little time may be gone by then.
    const auto patience =
        std::chrono::steady_clock::now() + std::chrono::seconds(timeout_us == WARPKEM_FOREVER ? 60 : 1);
    while (b.waiters() == before && std::chrono::steady_clock::now() < patience) std::this_thread::yield();
  }
  ~Waiting() {
    if (thread.joinable()) thread.join();
  }
  warpkem_status join() {
    thread.join();
    return status;
  }

  std::vector<warpkem_batch> batches;
  std::atomic<bool> over{false};
  warpkem_status status = 99;
  std::size_t submitted = 0;
  std::thread thread;
};

// Others submit, all the time, what there is no room for. There is always room for one more small request.
void expect_no_false_refusals(std::size_t most_items, std::size_t most_bytes, std::size_t large_items) {
  Bounded b(most_items, most_bytes);
  const Encaps &there = b.request(12), &large = b.request(large_items), &small = b.request(1);
  ASSERT_EQ(b.try_submit(there), WARPKEM_OK);
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> accepted{0}, refused{0};
  std::vector<std::thread> others;
  for (int i = 0; i < 2; ++i) {
    others.emplace_back([&] {
      while (!over) b.try_submit(large) == WARPKEM_WOULD_BLOCK ? ++refused : ++accepted;
    });
  }
  Queue queue(b.engine);
  const warpkem_submit_options o = to(queue);
  int false_refusals = 0, false_counts = 0, rounds = 0;
  for (; rounds < 20'000 || refused < 5'000; ++rounds) {
    warpkem_request request = 0;
    if (warpkem_submit(b.engine.get(), &small.batch, 1, &o, &request, nullptr) != WARPKEM_OK) {
      ++false_refusals;
      continue;
    }
    false_counts += b.engine.scheduler().store()->admission.items() != 13;
    check(warpkem_cancel(b.engine.get(), request));
    EXPECT_EQ(queue.poll().size(), 1u);
  }
  over = true;
  for (std::thread& other : others) other.join();
  EXPECT_EQ(false_refusals, 0) << "of " << rounds;
  EXPECT_EQ(false_counts, 0) << "of " << rounds;
  EXPECT_EQ(accepted, 0u);
  EXPECT_EQ(b.items(), 12u);
  EXPECT_EQ(b.engine.counters().bytes, 12 * item_bytes());
  b.fetch(1);
}

TEST(Admission, ALargeRequestThatIsRefusedMakesNoSmallOneFail) {
  expect_no_false_refusals(64, std::size_t{1} << 30, 60);
}

TEST(Admission, NorDoesOneThatHasTooManyBytes) { expect_no_false_refusals(1000, 64 * item_bytes(), 60); }

TEST(Admission, NorDoesOneThatIsLargerThanTheBound) { expect_no_false_refusals(64, std::size_t{1} << 30, 500); }

TEST(Admission, NeitherBoundIsEverExceeded) {
  Bounded b(100, 20 * item_bytes());
  std::atomic<bool> over{false};
  std::deque<Encaps> kinds;
  for (std::size_t count = 1; count <= 8; ++count) kinds.emplace_back(oracle(), count, 1);
  std::vector<std::thread> clients;
  for (std::size_t i = 0; i < 3; ++i) {
    clients.emplace_back([&, i] {
      Queue queue(b.engine);
      warpkem_submit_options o = to(queue);
      for (std::size_t round = 0; round < 4'000; ++round) {
        o.timeout_us = round % 3 == 0 ? 100 : 0;
        const Encaps& e = kinds[(round * 5 + i) % kinds.size()];
        warpkem_request request = 0;
        std::size_t taken = 0;
        if (warpkem_submit(b.engine.get(), &e.batch, 1, &o, &request, &taken) != WARPKEM_OK) continue;
        if (round % 4 != 0) check(warpkem_cancel(b.engine.get(), request));
        if (round % 8 == 0) queue.poll();
      }
    });
  }
  std::thread watcher([&] {
    while (!over) {
      EXPECT_LE(b.items(), 100u);
      EXPECT_LE(b.engine.counters().bytes, 20 * item_bytes());
    }
  });
  for (std::thread& client : clients) client.join();
  over = true;
  watcher.join();
  EXPECT_EQ(b.items(), 0u) << "freeing a queue drops what it has";
  EXPECT_EQ(b.engine.counters().bytes, 0u);
}

TEST(Admission, NobodyOvertakesWhoWaits) {
  Bounded b(4);
  for (int i = 0; i < 4; ++i) ASSERT_EQ(b.try_submit(b.request(1)), WARPKEM_OK);
  Waiting large(b, 3);
  Waiting small(b, 1);
  const Encaps& hasty = b.request(1);
  b.fetch(1);
  EXPECT_EQ(b.try_submit(hasty), WARPKEM_WOULD_BLOCK) << "there is room for it, but others were first";
  EXPECT_EQ(b.items(), 3u);
  b.fetch(1);
  b.await_waiters(2);
  EXPECT_FALSE(large.over);
  EXPECT_FALSE(small.over);
  EXPECT_EQ(b.items(), 2u) << "there is room for the small one, which came later";
  b.fetch(1);
  EXPECT_EQ(large.join(), WARPKEM_OK);
  EXPECT_EQ(b.items(), 4u);
  b.await_waiters(1);
  EXPECT_FALSE(small.over);
  b.fetch(1);
  EXPECT_EQ(small.join(), WARPKEM_OK);
  EXPECT_EQ(b.items(), 4u);
  b.fetch(2);
  EXPECT_EQ(b.try_submit(hasty), WARPKEM_OK) << "nobody waits any more";
  b.fetch(1);
}

TEST(Admission, AWaiterWhoseTimeIsOverLetsTheNextOneGo) {
  Bounded b(4);
  for (int i = 0; i < 2; ++i) ASSERT_EQ(b.try_submit(b.request(2)), WARPKEM_OK);
  Waiting large(b, 4, 300'000);
  Waiting small(b, 1);
  b.fetch(1);
  EXPECT_EQ(large.join(), WARPKEM_WOULD_BLOCK);
  EXPECT_EQ(small.join(), WARPKEM_OK);
  EXPECT_EQ(b.items(), 3u);
  EXPECT_EQ(b.engine.counters().refused, 1u);
  b.fetch(2);
}

TEST(Admission, AFreedQueueMakesRoomForWhoWaits) {
  Bounded b(4, 4 * item_bytes());
  auto other = std::make_unique<Queue>(b.engine);
  const warpkem_submit_options o = to(*other);
  submit(b.engine, b.request(4), o);
  Waiting large(b, 4);
  other.reset();
  EXPECT_EQ(large.join(), WARPKEM_OK);
  b.fetch(1);
}

TEST(Admission, AWaiterIsServedAllThatFitsAndThenWaitsBehindTheOthers) {
  Bounded b(4);
  ASSERT_EQ(b.try_submit(b.request(4)), WARPKEM_OK);
  std::vector<const Encaps*> six;
  for (int i = 0; i < 6; ++i) six.push_back(&b.request(1));
  Waiting many(b, six);
  Waiting one(b, 1);
  b.fetch(1);
  b.await_waiters(2);  // `many` has come again, with two
  EXPECT_EQ(b.items(), 4u);
  EXPECT_FALSE(many.over);
  EXPECT_FALSE(one.over);
  b.fetch(1);
  EXPECT_EQ(one.join(), WARPKEM_OK);
  EXPECT_FALSE(many.over);
  b.fetch(2);
  EXPECT_EQ(many.join(), WARPKEM_OK);
  EXPECT_EQ(many.submitted, 6u);
  b.fetch(4);
  EXPECT_EQ(b.items(), 0u);
}

// The text names the bound.
void expect_told_at_once(Bounded& b, std::size_t count, const char* bound) {
  const Encaps& too_large = b.request(count);
  for (const std::uint64_t timeout_us : {std::uint64_t{60'000'000}, WARPKEM_FOREVER}) {
    std::size_t submitted = 99;
    EXPECT_EQ(b.try_submit(too_large, timeout_us, &submitted), WARPKEM_WOULD_BLOCK);
    EXPECT_EQ(submitted, 0u);
    EXPECT_NE(std::string(warpkem_last_error()).find(bound), std::string::npos) << warpkem_last_error();
  }
}

TEST(Admission, WhatIsLargerThanTheBoundIsToldSoAtOnceUnlessThereIsNothingElse) {
  Bounded by_items(4), by_bytes(100, 4 * item_bytes());
  for (Bounded* b : {&by_items, &by_bytes}) {
    const char* const bound = b == &by_items ? "max_items" : "max_bytes";
    ASSERT_EQ(b->try_submit(b->request(1)), WARPKEM_OK);
    expect_told_at_once(*b, 5, bound);
    expect_told_at_once(*b, 99, bound);
    ASSERT_EQ(b->try_submit(b->request(3)), WARPKEM_OK);
    expect_told_at_once(*b, 5, bound);
    Waiting fits(*b, 2);
    expect_told_at_once(*b, 5, bound);
    b->fetch(1);
    EXPECT_FALSE(fits.over);
    b->fetch(1);
    EXPECT_EQ(fits.join(), WARPKEM_OK);
    b->fetch(1);
    EXPECT_EQ(b->try_submit(b->request(99), WARPKEM_FOREVER), WARPKEM_OK) << "alone it is taken";
    EXPECT_EQ(b->try_submit(b->request(1)), WARPKEM_WOULD_BLOCK);
    b->fetch(1);
    EXPECT_EQ(b->items(), 0u);
  }
}

TEST(Admission, OneOfManyThatIsTooLargeIsNamedByItsNumber) {
  Bounded b(4);
  const Encaps &first = b.request(1), &too_large = b.request(5), &last = b.request(1);
  const warpkem_batch batches[] = {first.batch, too_large.batch, last.batch};
  warpkem_submit_options o = to(b.queue);
  o.timeout_us = WARPKEM_FOREVER;
  std::size_t submitted = 99;
  EXPECT_EQ(warpkem_submit(b.engine.get(), batches, 3, &o, nullptr, &submitted), WARPKEM_WOULD_BLOCK);
  EXPECT_EQ(submitted, 1u);
  EXPECT_NE(std::string(warpkem_last_error()).find("max_items"), std::string::npos) << warpkem_last_error();
  b.fetch(1);
}

// Small ones come all the time and do not wait; what is large, but fits, has its turn all the same.
TEST(Admission, AStreamOfSmallRequestsDoesNotStarveALargeOne) {
  host::SchedulerOptions options;
  options.most_items = 64;
  TestEngine engine({{"a", true, 1, scripted::honest()}}, options);
  std::atomic<bool> over{false};
  std::vector<std::thread> others;
  for (std::uint32_t i = 0; i < 3; ++i) {
    others.emplace_back([&, i] {
      Queue queue(engine);
      const warpkem_submit_options o = to(queue);
      std::deque<Encaps> small;
      std::vector<warpkem_batch> batches;
      for (std::uint32_t k = 0; k < 32; ++k) batches.push_back(small.emplace_back(oracle(), 1, 8 * i + k).batch);
      for (std::size_t under_way = 0; !over || under_way != 0;) {
        std::size_t taken = 0;
        if (!over && under_way == 0) {
          const warpkem_status status =
              warpkem_submit(engine.get(), batches.data(), batches.size(), &o, nullptr, &taken);
          EXPECT_EQ(status, taken == batches.size() ? WARPKEM_OK : WARPKEM_WOULD_BLOCK);
        }
        under_way += taken;
        if (under_way != 0) under_way -= queue.wait(30'000'000, 8).size();
      }
    });
  }
  Queue queue(engine);
  warpkem_submit_options patient = to(queue);
  patient.timeout_us = 60'000'000;
  for (std::uint32_t i = 0; i < 20; ++i) {
    Encaps large(oracle(), 60, i);
    submit(engine, large, patient);
    EXPECT_EQ(queue.wait().size(), 1u);
  }
  over = true;
  for (std::thread& other : others) other.join();
}

TEST(Admission, ARefusalCountsEveryRequestThatWasOffered) {
  Manual manual;
  Held held;
  std::deque<Encaps> requests;
  std::vector<warpkem_batch> batches;
  for (std::uint32_t i = 0; i < 5; ++i) batches.push_back(requests.emplace_back(oracle(), 1, i).batch);
  const Encaps& one = requests.front();
  host::SchedulerOptions options = manual.options();
  options.most_items = 3;
  options.most_bytes = 2 * (oracle().ek.size() + one.m.size() + one.c.size() + one.K.size());
  TestEngine engine({{"a", true, 1, held.behaviour()}}, options, one_thread());
  Queue queue(engine);
  const warpkem_submit_options o = to(queue);
  std::size_t submitted = 99;
  EXPECT_EQ(warpkem_submit(engine.get(), batches.data(), 5, &o, nullptr, &submitted), WARPKEM_WOULD_BLOCK);
  EXPECT_EQ(submitted, 2u) << "bytes bind before items";
  EXPECT_EQ(engine.counters().refused, 3u);
  engine.settle();
  held.finish();
  EXPECT_EQ(queue.poll().size(), 2u);
}

TEST(Admission, AFullQueueRefusesAtOnceAndLosesNothing) {
  Manual manual;
  Held held;
  host::SchedulerOptions options = manual.options();
  options.most_items = 3;
  TestEngine engine({{"a", true, 1, held.behaviour()}}, options, one_thread());
  Queue queue(engine);
  std::deque<Encaps> requests;
  std::vector<warpkem_batch> batches;
  for (std::uint32_t i = 0; i < 5; ++i) batches.push_back(requests.emplace_back(oracle(), 1, i).batch);
  const warpkem_submit_options o = to(queue);
  std::size_t submitted = 99;
  std::vector<warpkem_request> handles(5, 0);
  EXPECT_EQ(warpkem_submit(engine.get(), batches.data(), 5, &o, handles.data(), &submitted), WARPKEM_WOULD_BLOCK);
  EXPECT_EQ(submitted, 3u);
  EXPECT_NE(handles[2], 0u);
  EXPECT_EQ(handles[3], 0u);
  EXPECT_EQ(engine.counters().refused, 2u);
  engine.settle();
  held.finish();
  EXPECT_EQ(warpkem_submit(engine.get(), &batches[3], 1, &o, nullptr, nullptr), WARPKEM_WOULD_BLOCK)
      << "what nobody fetched still counts";
  EXPECT_EQ(queue.poll().size(), 3u);
  check(warpkem_submit(engine.get(), &batches[3], 2, &o, nullptr, nullptr));
  engine.settle();
  held.finish();
  EXPECT_EQ(queue.poll().size(), 2u);
  for (const Encaps& e : requests) EXPECT_TRUE(e.is_right());
}

TEST(Admission, AFullQueueInBytesToo) {
  Manual manual;
  host::SchedulerOptions options = manual.options();
  options.most_bytes = 5'000;
  TestEngine engine({{"a", true, 1, scripted::honest()}}, options, one_thread());
  Queue queue(engine);
  Encaps large(oracle(), 8, 1), a(oracle(), 1, 2);
  const warpkem_submit_options o = to(queue);
  submit(engine, large, o);  // alone it may be larger than the bound
  EXPECT_EQ(warpkem_submit(engine.get(), &a.batch, 1, &o, nullptr, nullptr), WARPKEM_WOULD_BLOCK);
  engine.settle();
  EXPECT_EQ(queue.poll().size(), 1u);
  submit(engine, a, o);
  engine.settle();
  EXPECT_EQ(queue.poll().size(), 1u);
  EXPECT_EQ(engine.counters().bytes, 0u);
}

}  // namespace
}  // namespace warpkem::testing
