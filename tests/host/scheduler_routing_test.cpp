// Which executor takes what, how much of it, and on which backend: step by step, with a manual clock.
#include <deque>

#include "tests/host/held.hpp"

namespace warpkem::testing {
namespace {

const Oracle& other_kind() {
  static const Oracle o(WARPKEM_ML_KEM_1024);
  return o;
}

TEST(Scheduler, WhatComesWhileTheBackendIsBusyBecomesOneBatch) {
  Manual manual;
  Held held;
  TestEngine engine({{"a", true, 1, held.behaviour()}}, manual.options(), one_thread());
  Queue queue(engine);
  std::deque<Encaps> requests;
  for (std::uint32_t i = 0; i < 6; ++i) requests.emplace_back(oracle(), i == 3 ? 3 : 1, i);
  submit(engine, requests[0], to(queue));
  engine.settle();
  ASSERT_EQ(held.size(), 1u);
  for (std::uint32_t i = 1; i < 6; ++i) submit(engine, requests[i], to(queue));
  engine.settle();
  ASSERT_EQ(held.size(), 1u) << "the executor takes one batch at a time";
  held.finish();
  engine.settle();
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(held.entries[0].batch.count, 7u);
  held.finish();
  EXPECT_EQ(queue.poll().size(), 6u);
  for (const Encaps& e : requests) EXPECT_TRUE(e.is_right());
}

TEST(Scheduler, ABatchGoesOnALittleForTheQueueThatItEndsWith) {
  Manual manual;
  Held held;
  TestEngine engine({{"a", true, 1, held.behaviour()}}, manual.options(), one_thread());
  Queue first(engine), second(engine), third(engine);
  Encaps busy(oracle(), 1, 5), large(oracle(), 2000, 0);
  submit(engine, busy, to(first));
  engine.settle();
  held.finish();  // in no time: from now on a batch takes as many items as any
  submit(engine, large, to(first));
  engine.settle();
  ASSERT_EQ(held.size(), 1u);
  const std::size_t full = held.entries[0].batch.count;
  ASSERT_GT(full, 56u);
  ASSERT_LT(full, large.batch.count) << "all that a batch takes";
  while (held.size() != 0) held.finish(), engine.settle();
  Encaps a(oracle(), full - 56, 1), b(oracle(), 50, 2), c(oracle(), 50, 3), d(oracle(), 10, 4);
  submit(engine, busy, to(first));
  engine.settle();
  submit(engine, a, to(first));
  submit(engine, b, to(second));
  submit(engine, c, to(second));
  submit(engine, d, to(third));
  held.finish();
  engine.settle();
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(held.entries[0].batch.count, full - 56 + 100) << "a full batch and the rest of c";
  held.finish();
  engine.settle();
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(held.entries[0].batch.count, 10u);
  held.finish();
  EXPECT_EQ(first.poll().size() + second.poll().size() + third.poll().size(), 7u);
  for (const Encaps* e : {&large, &a, &b, &c, &d}) EXPECT_TRUE(e->is_right());
}

TEST(Scheduler, ABusyDeviceGetsASecondBatchThatIsFullOrLate) {
  Manual manual;
  Held held;
  host::SchedulerOptions options = manual.options();
  options.max_delay_ns = 50'000;
  options.batch_items = 4;
  TestEngine engine({{"device", false, 1, held.behaviour()}}, options);
  host::CostModel& model = engine.scheduler().cost_model(engine.engine().slots()[0]);
  model.calibrate({200'000, 1'000});
  const auto cost = [&](std::size_t items) {
    return model.cost({host::Operation::encaps, WARPKEM_ML_KEM_512}).of(items);
  };
  Queue queue(engine);
  std::deque<Encaps> requests;
  const auto add = [&] {
    requests.emplace_back(oracle(), 1, static_cast<std::uint32_t>(requests.size()));
    submit(engine, requests.back(), to(queue));
    engine.settle();
  };
  // When what waits is looked at again. It is not taken a nanosecond before.
  const auto handed_over_at = [&] {
    std::uint64_t next = 0;
    engine.scheduler().step(next);
    manual.clock.advance(next - manual.clock.now_ns() - 1);
    engine.settle();
    EXPECT_EQ(held.size(), 1u);
    manual.clock.advance(1);
    engine.settle();
    EXPECT_EQ(held.size(), 2u);
    return next;
  };
  const std::uint64_t begin = manual.clock.now_ns();
  const std::uint64_t first = cost(1);
  add();
  ASSERT_EQ(held.size(), 1u) << "idle: at once";
  add(), add();
  EXPECT_EQ(held.size(), 1u) << "busy: two are not a full batch";
  EXPECT_EQ(handed_over_at(), begin + first - options.max_delay_ns)
      << "max_delay before the device is expected to be done";
  EXPECT_EQ(held.entries[1].batch.count, 2u);
  const std::uint64_t second = cost(2);
  manual.clock.advance(begin + first - manual.clock.now_ns());
  held.finish();
  add();
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(handed_over_at(), begin + first + second - options.max_delay_ns) << "it has begun with the second one";
  manual.clock.advance(begin + first + second - manual.clock.now_ns());
  held.finish();
  EXPECT_NEAR(static_cast<double>(cost(2)), static_cast<double>(second), 2)
      << "the time that a batch waited there is not its own";
  for (int i = 0; i < 4; ++i) add();
  ASSERT_EQ(held.size(), 2u) << "four are a full batch";
  EXPECT_EQ(held.entries[1].batch.count, 4u);
  held.finish(), held.finish();
  add();
  manual.clock.advance_us(1000);
  add();
  ASSERT_EQ(held.size(), 1u) << "overdue, but this one has not waited its max_delay";
  const std::uint64_t close = manual.clock.now_ns() + options.max_delay_ns;
  EXPECT_EQ(handed_over_at(), close);
  held.finish(1), held.finish();
  EXPECT_EQ(queue.poll().size(), requests.size());
}

TEST(Scheduler, ARequestMayAskForLessDelay) {
  Manual manual;
  Held held;
  TestEngine engine({{"device", false, 64, held.behaviour()}}, manual.options());
  engine.scheduler().cost_model(engine.engine().slots()[0]).calibrate({1'000'000, 100});
  Queue queue(engine);
  Encaps first(oracle(), 1, 1), patient(oracle(), 1, 2), hasty(oracle(), 1, 3), again(oracle(), 1, 4);
  submit(engine, first, to(queue));
  engine.settle();
  submit(engine, patient, to(queue));
  manual.clock.advance_us(100);
  warpkem_submit_options soon = to(queue);
  soon.max_delay_us = 10;
  submit(engine, hasty, soon);
  manual.clock.advance_us(9);
  engine.settle();
  EXPECT_EQ(held.size(), 1u);
  manual.clock.advance_us(1);
  engine.settle();
  ASSERT_EQ(held.size(), 2u);
  EXPECT_EQ(held.entries[1].batch.count, 2u);
  // The next ones of its kind are patient again.
  held.finish();
  submit(engine, again, to(queue));
  manual.clock.advance_us(100);
  engine.settle();
  EXPECT_EQ(held.size(), 1u);
  held.finish();
  engine.settle();
  held.finish();
}

// A device that always has a full batch waiting.
TEST(Scheduler, FullBatchesDoNotKeepOthersFromADevice) {
  for (const bool bulk : {false, true}) {
    Manual manual;
    Held held;
    host::SchedulerOptions options = manual.options();
    options.batch_items = 4;
    TestEngine engine({{"device", false, 1, held.behaviour()}}, options);
    engine.scheduler().cost_model(engine.engine().slots()[0]).calibrate({1'000'000, 100});
    Queue queue(engine);
    warpkem_submit_options many = to(queue);
    if (bulk) many.request_class = WARPKEM_BULK;
    Encaps large(oracle(), 200, 1), lone(other_kind(), 1, 2);
    submit(engine, large, many);
    engine.settle();
    submit(engine, lone, to(queue));
    int batches = 0;
    for (; batches < 40 && held.entries[0].batch.algorithm != other_kind().algorithm; ++batches) {
      manual.clock.advance_us(1000);
      held.finish();
      engine.settle();
    }
    EXPECT_LE(batches, 3) << (bulk ? "bulk" : "interactive");
    while (held.size() != 0) held.finish(), engine.settle();
    EXPECT_EQ(queue.poll().size(), 2u);
  }
}

// Whose requests always have waited their delay when a batch ends.
TEST(Scheduler, TheHastyDoNotKeepOthersFromADevice) {
  for (const bool bulk : {false, true}) {
    Manual manual;
    Held held;
    TestEngine engine({{"device", false, 1, held.behaviour()}}, manual.options());
    engine.scheduler().cost_model(engine.engine().slots()[0]).calibrate({1'000'000, 100});
    Queue queue(engine);
    warpkem_submit_options hasty = to(queue);
    hasty.max_delay_us = 10;
    if (bulk) hasty.request_class = WARPKEM_BULK;
    std::deque<Encaps> requests;
    const auto add = [&] { submit(engine, requests.emplace_back(oracle(), 1, 1), hasty); };
    Encaps lone(other_kind(), 1, 2);
    add();
    engine.settle();
    submit(engine, lone, to(queue));
    int batches = 0;
    for (; batches < 40 && held.entries[0].batch.algorithm != other_kind().algorithm; ++batches) {
      add();
      manual.clock.advance_us(500);
      engine.settle();
      manual.clock.advance_us(500);
      held.finish();
      engine.settle();
    }
    EXPECT_LE(batches, 4) << (bulk ? "bulk" : "interactive");
    while (held.size() != 0) held.finish(), engine.settle();
    EXPECT_EQ(queue.poll().size(), requests.size() + 1);
  }
}

TEST(Scheduler, BulkWaitsForInteractiveIsCutAndStillHasItsTurn) {
  Manual manual;
  Held held;
  TestEngine engine({{"device", false, 1, held.behaviour()}}, manual.options(), one_thread());
  host::CostModel& model = engine.scheduler().cost_model(engine.engine().slots()[0]);
  model.calibrate({0, 100'000});  // 100 us an item of ML-KEM-768
  const double item_ns = model.cost({host::Operation::encaps, WARPKEM_ML_KEM_512}).item_ns;
  const auto bulk_cut_ns = static_cast<double>(engine.scheduler().options().bulk_cut_ns);
  Queue queue(engine);
  warpkem_submit_options bulk = to(queue);
  bulk.request_class = WARPKEM_BULK;
  Encaps large(oracle(), 1000, 1), quick(oracle(), 1, 2);
  submit(engine, large, bulk);
  submit(engine, quick, to(queue));
  engine.settle();
  ASSERT_GE(held.size(), 1u);
  EXPECT_EQ(held.entries[0].batch.count, 1u) << "interactive first";
  bool had_turn = false;
  std::deque<Encaps> more;
  for (std::uint32_t i = 0; i < 60; ++i) {
    submit(engine, more.emplace_back(oracle(), 1, 10 + i), to(queue));
    const std::size_t count = held.entries[0].batch.count;
    if (count > 1) {
      had_turn = true;
      EXPECT_LE(static_cast<double>(count) * item_ns, 1.005 * bulk_cut_ns);
    }
    manual.clock.advance_us(static_cast<std::uint64_t>(static_cast<double>(count) * item_ns / 1000));
    held.finish();
    engine.settle();
  }
  EXPECT_TRUE(had_turn);
  while (held.size() != 0) held.finish(), engine.settle();
  EXPECT_EQ(queue.poll().size(), 62u);
  EXPECT_TRUE(large.is_right());
}

TEST(Scheduler, WhatADeviceWillHaveDoneSoonerIsLeftToItAlsoWhenItIsDue) {
  Manual manual;
  Held cpu, device;
  TestEngine engine({{"device", false, 64, device.behaviour()}, {"cpu", true, 1, cpu.behaviour()}}, manual.options(),
                    one_thread());
  host::CostModel& model = engine.scheduler().cost_model(engine.engine().slots()[0]);
  model.calibrate({200'000, 100});
  engine.scheduler().cost_model(engine.engine().slots()[1]).calibrate({0, 20'000});
  const std::uint64_t busy = model.cost({host::Operation::encaps, WARPKEM_ML_KEM_512}).of(1000);
  Queue queue(engine);
  Encaps first(oracle(), 1000, 1), second(oracle(), 1000, 2), small(oracle(), 2, 3);
  submit(engine, first, to(queue));
  engine.settle();
  ASSERT_EQ(device.size(), 1u);
  submit(engine, second, to(queue));
  manual.clock.advance(busy - engine.scheduler().options().max_delay_ns - 1);
  engine.settle();
  EXPECT_EQ(cpu.size() + device.size(), 1u) << "due since long, but done soonest by the device";
  manual.clock.advance(1);
  engine.settle();
  ASSERT_EQ(device.size(), 2u);
  EXPECT_EQ(device.entries[1].batch.count, 1000u);
  device.finish();
  submit(engine, small, to(queue));
  engine.settle();
  EXPECT_EQ(cpu.size(), 1u) << "sooner done than the device is free";
  cpu.finish();
  manual.clock.advance(10 * busy);
  Encaps third(oracle(), 1000, 4);
  submit(engine, third, to(queue));
  engine.settle();
  EXPECT_EQ(cpu.size(), 1u) << "the device is overdue";
  while (cpu.size() + device.size() != 0) {
    if (cpu.size() != 0) cpu.finish();
    if (device.size() != 0) device.finish();
    engine.settle();
  }
  EXPECT_EQ(queue.poll().size(), 4u);
}

TEST(Scheduler, SmallWorkGoesToTheCpuAndLargeToTheDevice) {
  Manual manual;
  Held cpu, device;
  TestEngine engine({{"device", false, 64, device.behaviour()}, {"cpu", true, 1, cpu.behaviour()}}, manual.options(),
                    one_thread());
  engine.scheduler().cost_model(engine.engine().slots()[0]).calibrate({100'000, 100});
  engine.scheduler().cost_model(engine.engine().slots()[1]).calibrate({0, 20'000});
  Queue queue(engine);
  Encaps small(oracle(), 1, 1), large(oracle(), 5000, 2);
  submit(engine, small, to(queue));
  engine.settle();
  EXPECT_EQ(cpu.size(), 1u);
  EXPECT_EQ(device.size(), 0u);
  cpu.finish();
  submit(engine, large, to(queue));
  engine.settle();
  ASSERT_EQ(device.size(), 1u);
  EXPECT_GT(device.entries[0].batch.count, 4000u);
  while (cpu.size() + device.size() != 0) {
    while (cpu.size() != 0) cpu.finish();
    while (device.size() != 0) device.finish();
    engine.settle();
  }
  EXPECT_EQ(queue.poll().size(), 2u);
}

TEST(Scheduler, WhatASuspendedBackendIsLeftWithIsTakenWhenItMayWorkAgain) {
  Manual manual;
  Held cpu, device;
  host::EngineOptions forced = one_thread();
  forced.backend = "device";
  TestEngine engine({{"device", false, 1, device.behaviour()}, {"cpu", true, 1, cpu.behaviour()}}, manual.options(),
                    forced);
  Queue queue(engine);
  Encaps first(oracle(), 1, 1), second(oracle(), 1, 2);
  submit(engine, first, to(queue));
  engine.settle();
  ASSERT_EQ(device.size(), 1u);
  device.fail();
  engine.settle();
  ASSERT_EQ(cpu.size(), 1u) << "the device is suspended, and the only core busy with what it failed";
  submit(engine, second, to(queue));
  std::uint64_t next = 0;
  EXPECT_FALSE(engine.scheduler().step(next));
  EXPECT_GT(next, manual.clock.now_ns());
  ASSERT_NE(next, host::never) << "somebody must look again when the suspension ends";
  manual.clock.advance_us((next - manual.clock.now_ns()) / 1000);
  engine.settle();
  ASSERT_EQ(device.size(), 1u);
  device.finish(), cpu.finish();
  EXPECT_EQ(queue.poll().size(), 2u);
  EXPECT_TRUE(second.is_right());
}

}  // namespace
}  // namespace warpkem::testing
