// What becomes of a batch that a backend had: completed, redone elsewhere, or checked; step by step, with a manual
// clock.
#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "tests/host/held.hpp"

namespace warpkem::testing {
namespace {

TEST(Scheduler, BatchesFinishInAnyOrder) {
  Manual manual;
  Held held;
  host::SchedulerOptions options = manual.options();
  options.batch_items = 1;
  TestEngine engine({{"device", false, 1, held.behaviour()}}, options);
  Queue queue(engine);
  Encaps a(oracle(), 1, 1), b(oracle(), 1, 2);
  submit(engine, a, to(queue));
  submit(engine, b, to(queue));
  engine.settle();
  ASSERT_EQ(held.size(), 2u);
  held.finish(1);
  auto completions = queue.poll();
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].user_data, &b);
  held.finish(0);
  completions = queue.poll();
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].user_data, &a);
}

// A device with a batch of 1,000 items for which it takes 1 ms.
struct OneUnderWay {
  OneUnderWay() {
    model.calibrate({0, 2'000});
    submit(engine, first, to(queue));
    engine.settle();
    manual.clock.advance_us(960);
  }
  double cost() {
    return static_cast<double>(model.cost({host::Operation::encaps, WARPKEM_ML_KEM_512}).of(first.batch.count));
  }

  Manual manual;
  Held held;
  TestEngine engine{{{"device", false, 1, held.behaviour()}}, manual.options()};
  host::CostModel& model = engine.scheduler().cost_model(engine.engine().slots()[0]);
  Queue queue{engine};
  Encaps first{oracle(), 1000, 1};
};

TEST(Scheduler, ABatchThatIsOvertakenCostsWhatItTookAllTheSame) {
  OneUnderWay s;
  Encaps second(oracle(), 1, 2);
  submit(s.engine, second, to(s.queue));
  s.manual.clock.advance_us(50);
  s.engine.settle();
  ASSERT_EQ(s.held.size(), 2u);
  s.held.finish(1);
  s.manual.clock.advance_us(10);
  s.held.finish();
  EXPECT_NEAR(s.cost(), 1'020'000, 50'000);
}

TEST(Scheduler, ABatchThatNoBackendGetsChangesNobodysCost) {
  OneUnderWay s;
  warpkem_keys* const keys = one_prepared_key(s.engine);
  const std::uint32_t none_such = 3;
  Encaps bad(oracle(), 1, 2);
  name_keys(bad, keys, &none_such);
  submit(s.engine, bad, to(s.queue));
  warpkem_keys_release(keys);
  s.manual.clock.advance_us(50);
  s.engine.settle();
  EXPECT_EQ(s.queue.poll().size(), 1u);
  ASSERT_EQ(s.held.size(), 1u);
  s.manual.clock.advance_us(10);
  s.held.finish();
  EXPECT_NEAR(s.cost(), 1'020'000, 50'000);
}

TEST(Scheduler, WhatABackendLeavesUndoneIsDoneElsewhereWithTheSameSeeds) {
  Manual manual;
  Held held;
  TestEngine engine({{"bad", false, 1, held.behaviour()}, {"good", true, 1, scripted::honest()}}, manual.options(),
                    one_thread());
  engine.scheduler().cost_model(engine.engine().slots()[0]).calibrate({0, 1});  // so that all goes there first
  Queue queue(engine);
  // Randomness is the engine's own here: the results are right if both halves belong to one m, so decapsulation agrees.
  const std::size_t n = 5;
  std::vector<std::uint8_t> c(768 * n), K(32 * n), K2(32 * n);
  std::vector<const std::uint8_t*> eks(n, oracle().ek.data());
  warpkem_batch b{};
  b.struct_size = sizeof b;
  b.operation = WARPKEM_OP_ENCAPS;
  b.algorithm = WARPKEM_ML_KEM_512;
  b.count = n;
  b.ek.table = eks.data();
  b.c_out = {c.data(), c.size(), 0, nullptr};
  b.K_out = {K.data(), K.size(), 0, nullptr};
  std::uint64_t by_backend[WARPKEM_MAX_BACKENDS];
  b.items_by_backend = by_backend;
  const warpkem_submit_options options = to(queue);
  check(warpkem_submit(engine.get(), &b, 1, &options, nullptr, nullptr));
  engine.settle();
  ASSERT_EQ(held.size(), 1u);
  std::vector<std::uint8_t> seeds;
  for (std::size_t i = 0; i < n; ++i)
    seeds.insert(seeds.end(), held.entries[0].batch.m[i], held.entries[0].batch.m[i] + 32);
  held.fail(0, 2);
  engine.settle();
  const auto completions = queue.poll();
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].status, WARPKEM_OK);
  EXPECT_EQ(by_backend[0], 2u);
  EXPECT_EQ(by_backend[1], 3u);
  b.items_by_backend = nullptr;
  b.flags = WARPKEM_DERAND;
  b.m = {seeds.data(), seeds.size(), 0, nullptr};
  std::vector<std::uint8_t> c2(c.size());
  b.c_out.data = c2.data(), b.K_out.data = K2.data();
  ASSERT_EQ(warpkem_run(oracle().engine, &b), WARPKEM_OK);
  EXPECT_EQ(c, c2);
  EXPECT_EQ(K, K2);
  EXPECT_EQ(engine.counters().redone, 3u);
}

TEST(Scheduler, WithEveryBackendGoneEachRequestCompletesWithAnErrorAndZeros) {
  Manual manual;
  Held held;
  TestEngine engine({{"a", true, 1, held.behaviour()}, {"b", true, 1, held.behaviour()}}, manual.options(),
                    one_thread());
  Queue queue(engine);
  Encaps e(oracle(), 3, 1), f(oracle(), 1, 2);
  submit(engine, e, to(queue));
  submit(engine, f, to(queue));
  engine.settle();
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(held.size(), 1u);
    held.fail(0, 1);
    engine.settle();
  }
  EXPECT_EQ(held.size(), 0u);
  for (const auto& completion : queue.poll()) {
    EXPECT_EQ(completion.status, WARPKEM_BACKEND_FAILED);
    EXPECT_EQ(completion.failed, completion.user_data == &e ? 3u : 1u);
  }
  EXPECT_TRUE(e.is_zero());
  EXPECT_TRUE(f.is_zero());
  EXPECT_EQ(e.statuses, std::vector<std::uint8_t>(3, WARPKEM_BACKEND_FAILED));
}

TEST(Scheduler, ABadItemFailsAloneInItsBatch) {
  Manual manual;
  TestEngine engine({{"a", true, 1, scripted::honest()}}, manual.options(), one_thread());
  Queue queue(engine);
  std::vector<std::uint8_t> bad(oracle().ek.size(), 0xff);
  Encaps good(oracle(), 2, 1), mixed(oracle(), 3, 2), lone(oracle(), 1, 3);
  mixed.eks[1] = bad.data();
  lone.eks[0] = bad.data();
  for (const Encaps* e : {&good, &mixed, &lone}) submit(engine, *e, to(queue));
  engine.settle();
  const auto completions = queue.poll();
  ASSERT_EQ(completions.size(), 3u);
  EXPECT_EQ(completions[0].status, WARPKEM_OK);
  EXPECT_EQ(completions[1].status, WARPKEM_ITEM_FAILED);
  EXPECT_EQ(completions[1].failed, 1u);
  EXPECT_EQ(completions[2].status, WARPKEM_INVALID_EK);
  EXPECT_TRUE(good.is_right());
  EXPECT_TRUE(lone.is_zero());
  EXPECT_EQ(mixed.statuses, (std::vector<std::uint8_t>{WARPKEM_OK, WARPKEM_INVALID_EK, WARPKEM_OK}));
  EXPECT_TRUE(std::all_of(mixed.K.begin() + 32, mixed.K.begin() + 64, [](auto b) { return b == 0; }));
  EXPECT_FALSE(std::all_of(mixed.K.begin() + 64, mixed.K.end(), [](auto b) { return b == 0; }));
}

TEST(Scheduler, ALyingBackendIsFoundOutQuarantinedAndTakenBack) {
  Manual manual;
  auto bad = std::make_shared<std::atomic<std::uint64_t>>(0);
  host::SchedulerOptions options = manual.options();
  options.cpu_sentinel = 1;
  std::string logged;
  options.log = [](void* context, std::uint32_t, const char* text) { *static_cast<std::string*>(context) += text; };
  options.log_context = &logged;
  TestEngine engine({{"liar", true, 1, scripted::lying(1, 1, bad)}, {"good", true, 1, scripted::honest()}}, options,
                    one_thread());
  Queue queue(engine);
  std::deque<Encaps> requests;
  for (std::uint32_t i = 0; i < 8; ++i) submit(engine, requests.emplace_back(oracle(), 1, i), to(queue));
  engine.settle();
  EXPECT_EQ(queue.poll().size(), 8u);
  for (const Encaps& e : requests) EXPECT_TRUE(e.is_right());
  EXPECT_EQ(engine.counters().quarantines, 1u);
  EXPECT_GE(engine.counters().mismatched, 1u);
  EXPECT_NE(logged.find("quarantine"), std::string::npos);
  EXPECT_TRUE(engine.engine().slots()[0].quarantined.load());
  const std::uint64_t lies = bad->load();

  Encaps sync(oracle(), 1, 99);
  check(warpkem_run(engine.get(), &sync.batch));
  EXPECT_TRUE(sync.is_right()) << "synchronous calls do not go there either";
  EXPECT_EQ(bad->load(), lies);

  check(warpkem_take_back(engine.get(), "liar"));
  EXPECT_EQ(warpkem_take_back(engine.get(), "nobody"), WARPKEM_UNSUPPORTED);
  Encaps again(oracle(), 1, 100);
  submit(engine, again, to(queue));
  engine.settle();
  EXPECT_GT(bad->load(), lies);
  EXPECT_EQ(queue.poll().size(), 1u);
  EXPECT_TRUE(again.is_right());
  EXPECT_EQ(engine.counters().quarantines, 2u);
}

TEST(Scheduler, ALyingCheckerIsNotBelieved) {
  Manual manual;
  auto bad = std::make_shared<std::atomic<std::uint64_t>>(0);
  host::SchedulerOptions options = manual.options();
  options.cpu_sentinel = 1;
  host::EngineOptions engine_options = one_thread();
  engine_options.backend = "good";
  TestEngine engine({{"liar", true, 1, scripted::lying(1, 1, bad)}, {"good", true, 1, scripted::honest()}}, options,
                    engine_options);
  Queue queue(engine);
  Encaps e(oracle(), 3, 1);
  submit(engine, e, to(queue));
  engine.settle();
  EXPECT_EQ(queue.poll().size(), 1u);
  EXPECT_TRUE(e.is_right());
  EXPECT_TRUE(engine.engine().slots()[0].quarantined.load());
  EXPECT_FALSE(engine.engine().slots()[1].quarantined.load());
  EXPECT_EQ(engine.counters().unchecked, 3u);
}

TEST(Scheduler, WhatAFailedCheckRecomputedIsWiped) {
  Manual manual;
  Held checker;
  host::SchedulerOptions options = manual.options();
  options.cpu_sentinel = 1;
  TestEngine engine({{"a", true, 1, scripted::honest()}, {"checker", true, 1, checker.behaviour()}}, options,
                    one_thread());
  Queue queue(engine);
  Encaps e(oracle(), 2, 1);
  submit(engine, e, to(queue));
  engine.settle();
  ASSERT_EQ(checker.size(), 1u);
  const std::uint8_t* const K = checker.entries[0].batch.K_out[0];  // stays, for the next check
  checker.entries[0].inner->submit(slice(checker.entries[0].batch, 0, 1),
                                   {[](void*, const host::Outcome&) noexcept {}, nullptr});
  EXPECT_TRUE(std::equal(K, K + 32, e.K.begin()));
  checker.fail(0, 1);
  engine.settle();
  EXPECT_EQ(queue.poll().size(), 1u);
  EXPECT_EQ(engine.counters().unchecked, 2u);
  EXPECT_TRUE(std::all_of(K, K + 32, [](std::uint8_t b) { return b == 0; }));
  EXPECT_EQ(engine.engine().slots()[0].done.items(), 2u);
  EXPECT_EQ(engine.engine().slots()[1].done.items(), 0u) << "what is recomputed is no work done";
}

TEST(Scheduler, ItemsAreCountedByTheBackendThatDidThem) {
  Manual manual;
  TestEngine engine({{"a", true, 1, scripted::honest()}}, manual.options(), one_thread());
  Queue queue(engine);
  Encaps e(oracle(), 3, 1);
  std::uint64_t by_backend[WARPKEM_MAX_BACKENDS];
  std::fill(std::begin(by_backend), std::end(by_backend), 77);
  e.batch.items_by_backend = by_backend;
  submit(engine, e, to(queue));
  engine.settle();
  EXPECT_EQ(queue.poll().size(), 1u);
  EXPECT_EQ(by_backend[0], 3u);
  EXPECT_EQ(by_backend[1], 0u);
}

}  // namespace
}  // namespace warpkem::testing
