// Large requests among others of their kind and class: they go piece by piece, nobody waits for all of one, and nobody
// starves them.
#include <deque>
#include <vector>

#include "tests/host/held.hpp"

namespace warpkem::testing {
namespace {

const Oracle& other_kind() {
  static const Oracle o(WARPKEM_ML_KEM_768);
  return o;
}

// One backend that does a batch when the test says so.
struct Bench {
  explicit Bench(std::size_t batch_items, bool on_cpu = true)
      : engine({{"a", on_cpu, 1, held.behaviour()}}, options(batch_items), one_thread()) {}

  host::SchedulerOptions options(std::size_t batch_items) {
    host::SchedulerOptions o = manual.options();
    o.batch_items = batch_items;
    return o;
  }
  warpkem_request add(std::size_t count, bool bulk = false, const Oracle& kind = oracle()) {
    Encaps& e = requests.emplace_back(kind, count, static_cast<std::uint32_t>(requests.size()));
    warpkem_submit_options o = to(queue);
    o.request_class = bulk ? WARPKEM_BULK : WARPKEM_INTERACTIVE;
    const warpkem_request request = submit(engine, e, o);
    engine.settle();
    return request;
  }
  // Lets the oldest batch be done; which requests have completed.
  std::vector<const Encaps*> finish_one(std::uint64_t takes_us = 20) {
    manual.clock.advance_us(takes_us);
    held.finish();
    engine.settle();
    std::vector<const Encaps*> done;
    for (const warpkem_completion& c : queue.poll()) done.push_back(static_cast<const Encaps*>(c.user_data));
    return done;
  }
  // How many batches until the newest request has completed; `most` at the most.
  std::size_t until_newest(std::size_t most = 100) {
    const Encaps* const newest = &requests.back();
    for (std::size_t batches = 1; batches <= most; ++batches) {
      if (std::ranges::count(finish_one(), newest) != 0) return batches;
    }
    return most + 1;
  }
  void finish_all() {
    while (held.size() != 0) finish_one();
    for (const Encaps& e : requests) EXPECT_TRUE(e.is_right());
    EXPECT_EQ(engine.counters().completed, requests.size());
    EXPECT_EQ(engine.counters().items, 0u);
  }

  Manual manual;
  Held held;
  TestEngine engine;
  Queue queue{engine};
  std::deque<Encaps> requests;
};

TEST(LargeRequest, WhatComesUponItIsInTheNextBatch) {
  for (const bool bulk : {false, true}) {
    for (const std::size_t batch_items : {std::size_t{0}, std::size_t{16}, std::size_t{3}}) {
      Bench b(batch_items);
      b.add(batch_items == 0 ? 3000 : 300, bulk);
      for (int i = 0; i < 5; ++i) {
        b.add(i % 3 == 1 ? 2 : 1, bulk);
        EXPECT_EQ(b.until_newest(), 2u) << "the batch that was under way, and its own";
      }
      b.finish_all();
    }
  }
}

TEST(LargeRequest, AlsoUponMany) {
  Bench b(16);
  for (int i = 0; i < 10; ++i) b.add(200);
  for (int i = 0; i < 5; ++i) {
    b.add(1);
    EXPECT_EQ(b.until_newest(), 2u);
  }
  b.finish_all();
}

TEST(LargeRequest, AlsoWhenAllCameBeforeTheFirstBatch) {
  Bench b(16);
  b.add(1);
  for (int i = 0; i < 10; ++i) b.add(200);
  b.add(1);
  EXPECT_EQ(b.until_newest(), 2u);
  b.finish_all();
}

TEST(LargeRequest, LargeOnesHaveTheirTurnsInAPieceEach) {
  Bench b(10);
  b.add(300);
  b.add(300);
  b.add(40);
  EXPECT_LE(b.until_newest(), 13u);
  b.add(21);
  EXPECT_LE(b.until_newest(), 10u);
  b.finish_all();
}

TEST(LargeRequest, IsNotStarvedByWhatIsSmall) {
  for (const std::size_t batch_items : {1u, 2u, 4u, 16u}) {
    Bench b(batch_items);
    b.add(1);
    const std::size_t large_items = 5 * batch_items;
    b.add(large_items);
    const Encaps* const large = &b.requests.back();
    std::size_t batches = 0;
    for (bool done = false; !done && batches < 100; ++batches) {
      // More than a batch, every time.
      for (std::size_t i = 0; i <= batch_items; ++i) b.add(1);
      done = std::ranges::count(b.finish_one(), large) != 0;
    }
    EXPECT_LE(batches, host::BatchFormer::large_share * 5 + 2) << "its right; " << batch_items;
    b.finish_all();
  }
}

TEST(LargeRequest, WhatIsSmallStaysInOrder) {
  Bench b(8);
  b.add(1);
  b.add(50);
  const Encaps* const large = &b.requests.back();
  for (int i = 0; i < 40; ++i) b.add(static_cast<std::size_t>(1 + i % 8));
  std::vector<const Encaps*> small;
  for (const Encaps& e : b.requests) {
    if (&e != large) small.push_back(&e);
  }
  std::vector<const Encaps*> done;
  while (b.held.size() != 0) {
    for (const Encaps* e : b.finish_one()) {
      if (e != large) done.push_back(e);
    }
  }
  EXPECT_EQ(done, small);
  b.finish_all();
}

TEST(LargeRequest, AloneItGoesInFullBatches) {
  Bench b(16);
  b.add(160);
  int batches = 0;
  for (; b.held.size() != 0; ++batches) {
    EXPECT_EQ(b.held.entries[0].batch.count, 16u);
    b.finish_one();
  }
  EXPECT_EQ(batches, 10);
  b.finish_all();
}

TEST(LargeRequest, CanBeCancelledBetweenItsPieces) {
  Bench b(16);
  b.add(200);
  const warpkem_request cancelled = b.add(200);
  const Encaps* const its = &b.requests.back();
  b.add(200);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(b.finish_one().empty());
  check(warpkem_cancel(b.engine.get(), cancelled));
  std::vector<const Encaps*> done;
  for (int i = 0; i < 2 && done.empty(); ++i) done = b.finish_one();
  EXPECT_EQ(std::ranges::count(done, its), 1);
  EXPECT_TRUE(its->is_zero());
  b.add(1);
  EXPECT_EQ(b.until_newest(), 2u);
  while (b.held.size() != 0) b.finish_one();
  for (const Encaps& e : b.requests) EXPECT_TRUE(&e == its || e.is_right());
}

// A device whose full batches take far longer than bulk_cut: an item takes 100 us.
TEST(LargeRequest, IsCutOnADeviceWhileSmallWorkOfItsClassComes) {
  for (const bool same_kind : {true, false}) {
    const auto model_of = [](Bench& b) -> host::CostModel& {
      return b.engine.scheduler().cost_model(b.engine.engine().slots()[0]);
    };
    Bench alone(0, false), b(0, false);
    for (Bench* const each : {&alone, &b}) model_of(*each).calibrate({0, 100'000});
    alone.add(1500);
    const std::size_t full = alone.held.entries[0].batch.count;
    const double item_ns = model_of(b).cost({host::Operation::encaps, WARPKEM_ML_KEM_512}).item_ns;
    const auto bulk_cut_ns = static_cast<double>(b.engine.scheduler().options().bulk_cut_ns);
    ASSERT_GT(static_cast<double>(full) * item_ns, 2 * bulk_cut_ns);
    const Oracle& kind = same_kind ? oracle() : other_kind();
    const auto takes_us = [&] {
      return static_cast<std::uint64_t>(static_cast<double>(b.held.entries[0].batch.count) * item_ns / 1000);
    };
    b.add(1, false, kind);
    b.add(1500);
    b.finish_one(takes_us());
    for (int i = 0; i < 20; ++i) {
      ASSERT_NE(b.held.size(), 0u);
      EXPECT_LE(static_cast<double>(b.held.entries[0].batch.count) * item_ns, 1.005 * bulk_cut_ns + 2 * item_ns) << i;
      b.add(1, false, kind);
      b.finish_one(takes_us());
    }
    // Nobody has come for a while: full batches again.
    b.manual.clock.advance_us(200'000);
    std::size_t largest = 0;
    while (b.held.size() != 0) {
      largest = std::max(largest, static_cast<std::size_t>(b.held.entries[0].batch.count));
      b.finish_one(takes_us());
    }
    EXPECT_EQ(largest, full);
    b.finish_all();
    alone.finish_all();
  }
}

}  // namespace
}  // namespace warpkem::testing
