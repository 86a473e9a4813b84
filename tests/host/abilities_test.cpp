// Backends that do not have everything: what one lacks goes to the others, and that is no failure of it.
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "tests/host/held.hpp"

namespace warpkem::testing {
namespace {

using namespace host;
using scripted::Script;

constexpr std::uint32_t lacked = WARPKEM_ML_KEM_512, had = WARPKEM_ML_KEM_768;

bool lacks_an_algorithm(Operation, std::uint32_t algorithm, DkFormat) { return algorithm == lacked; }
bool lacks_everything(Operation, std::uint32_t, DkFormat) { return true; }
bool lacks_prepared_keys(Operation operation, std::uint32_t, DkFormat) { return spec_of(operation).prepares; }
bool lacks_seeds(Operation, std::uint32_t, DkFormat format) { return format == DkFormat::seed; }

// Counts what a backend is given, and fails the test for what it lacks.
struct Seen {
  std::size_t batches = 0, items = 0;
  scripted::Behaviour behaviour(bool (*lacks)(Operation, std::uint32_t, DkFormat)) {
    return [this, lacks](scripted::Backend& inner, const Batch& batch, Completion done) {
      ++batches;
      items += batch.count;
      EXPECT_FALSE(lacks != nullptr && lacks(batch.operation, batch.algorithm, batch.dk_format));
      inner.submit(batch, done);
    };
  }
};

// One or two backends of which the first is the faster.
struct Scene {
  Scene(bool (*first_lacks)(Operation, std::uint32_t, DkFormat),
        bool (*second_lacks)(Operation, std::uint32_t, DkFormat) = nullptr, bool first_on_cpu = true,
        EngineOptions engine_options = one_thread(), SchedulerOptions options = {})
      : engine({{"first", first_on_cpu, 1, seen[0].behaviour(first_lacks), "portable", first_lacks},
                {"second", true, 1, seen[1].behaviour(second_lacks), "portable", second_lacks}},
               prepared(options), engine_options) {}
  SchedulerOptions prepared(SchedulerOptions options) {
    options.threads = false;
    options.clock = &clock;
    return options;
  }

  ManualClock clock;
  Seen seen[2];
  TestEngine engine;
};

EngineOptions forced(const char* backend, bool fail_over) {
  EngineOptions options = one_thread();
  options.backend = backend;
  options.fail_over = fail_over;
  return options;
}

TEST(Abilities, WhatABackendLacksIsDoneByTheNext) {
  Scene s(lacks_an_algorithm);
  const Oracle o(lacked), p(had);
  Encaps a(o, 3, 1), b(p, 3, 2);
  check(warpkem_run(s.engine.get(), &a.batch));
  check(warpkem_run(s.engine.get(), &b.batch));
  EXPECT_TRUE(a.is_right());
  EXPECT_TRUE(b.is_right());
  EXPECT_EQ(s.seen[0].items, 3u);
  EXPECT_EQ(s.seen[1].items, 3u);
}

TEST(Abilities, WithoutFailOverToo) {
  EngineOptions options = one_thread();
  options.fail_over = false;
  Scene s(lacks_an_algorithm, nullptr, true, options);
  const Oracle o(lacked);
  Encaps a(o, 3, 1);
  check(warpkem_run(s.engine.get(), &a.batch));
  EXPECT_TRUE(a.is_right());
  EXPECT_EQ(s.seen[1].items, 3u);
}

TEST(Abilities, WhatTheBackendThatWasAskedForLacksGoesElsewhereOnlyWithFailOver) {
  const Oracle o(lacked);
  for (const bool fail_over : {true, false}) {
    Scene s(lacks_an_algorithm, nullptr, true, forced("first", fail_over));
    Encaps a(o, 2, 1), b(o, 2, 2);
    Queue queue(s.engine);
    EXPECT_EQ(warpkem_run(s.engine.get(), &a.batch), fail_over ? WARPKEM_OK : WARPKEM_UNSUPPORTED);
    const warpkem_submit_options options = to(queue);
    EXPECT_EQ(warpkem_submit(s.engine.get(), &b.batch, 1, &options, nullptr, nullptr),
              fail_over ? WARPKEM_OK : WARPKEM_UNSUPPORTED);
    s.engine.settle();
    EXPECT_EQ(queue.poll().size(), fail_over ? 1u : 0u);
    EXPECT_EQ(s.seen[1].items, fail_over ? 4u : 0u);
    if (!fail_over) {
      EXPECT_STREQ(warpkem_last_error(), "backend \"first\" does not have encaps with ML-KEM-512");
    }
  }
}

TEST(Abilities, WhatNobodyHasIsRefusedAtOnce) {
  Scene s(lacks_an_algorithm, lacks_an_algorithm);
  const Oracle o(lacked), p(had);
  Encaps a(o, 1, 1), good(p, 1, 2);
  EXPECT_EQ(warpkem_run(s.engine.get(), &a.batch), WARPKEM_UNSUPPORTED);
  EXPECT_STREQ(warpkem_last_error(), "no backend of this engine has encaps with ML-KEM-512");
  Queue queue(s.engine);
  const warpkem_submit_options options = to(queue);
  std::size_t submitted = 99;
  EXPECT_EQ(warpkem_submit(s.engine.get(), &a.batch, 1, &options, nullptr, &submitted), WARPKEM_UNSUPPORTED);
  EXPECT_EQ(submitted, 0u);
  EXPECT_EQ(a.statuses[0], 0xEE) << "nothing ran";
  warpkem_keys* keys = nullptr;
  EXPECT_EQ(warpkem_prepare_ek(s.engine.get(), lacked, 1, {o.ek.data(), o.ek.size(), 0}, nullptr, nullptr, &keys),
            WARPKEM_UNSUPPORTED);
  EXPECT_EQ(keys, nullptr);
  check(warpkem_run(s.engine.get(), &good.batch));
}

TEST(Abilities, SubmittedWorkGoesToAnExecutorThatHasItAndNobodyIsBlamed) {
  for (const bool first_on_cpu : {true, false}) {
    Scene s(lacks_an_algorithm, nullptr, first_on_cpu);
    s.engine.scheduler().cost_model(s.engine.engine().slots()[0]).calibrate({0, 1});  // it is preferred where it may be
    const Oracle o(lacked), p(had);
    Queue queue(s.engine);
    std::deque<Encaps> requests;
    for (std::uint32_t i = 0; i < 6; ++i) {
      submit(s.engine, requests.emplace_back(i % 2 == 0 ? o : p, 2, i), to(queue));
    }
    s.engine.settle();
    EXPECT_EQ(queue.poll().size(), 6u);
    for (const Encaps& e : requests) EXPECT_TRUE(e.is_right());
    EXPECT_EQ(s.seen[0].items + s.seen[1].items, 12u);
    EXPECT_GE(s.seen[1].items, 6u);
    EXPECT_EQ(s.engine.counters().redone, 0u);
    EXPECT_EQ(s.engine.counters().failed, 0u);
  }
}

// With threads: an executor without a backend for the queued work must not keep that work from the executor that has
// one.
TEST(Abilities, NoWakeUpIsLostOnAnExecutorThatLacksTheWork) {
  for (const bool first_on_cpu : {true, false}) {
    Seen seen[2];
    SchedulerOptions options;
    options.manual_calibration = true;
    TestEngine engine({{"first", first_on_cpu, 1, seen[0].behaviour(lacks_everything), "portable", lacks_everything},
                       {"second", true, 1, seen[1].behaviour(nullptr)}},
                      options, one_thread());
    const Oracle o(lacked);
    Queue queue(engine);
    for (std::uint32_t i = 0; i < 50; ++i) {
      Encaps e(o, 1 + i % 3, i);
      submit(engine, e, to(queue));
      ASSERT_EQ(queue.wait(30'000'000).size(), 1u);
      EXPECT_TRUE(e.is_right());
    }
    EXPECT_EQ(seen[0].batches, 0u);
  }
}

TEST(Abilities, WhatFailsIsNotRedoneByABackendThatLacksIt) {
  Seen seen;
  Manual manual;
  TestEngine engine({{"failing", true, 1,
                      [](scripted::Backend&, const Batch&, Completion done) {
                        done.call(done.context, {Status::backend_failed, "told to fail"});
                      }},
                     {"lacking", true, 1, seen.behaviour(lacks_an_algorithm), "portable", lacks_an_algorithm}},
                    manual.options(), one_thread());
  const Oracle o(lacked);
  Queue queue(engine);
  Encaps e(o, 2, 1), sync(o, 2, 2);
  submit(engine, e, to(queue));
  engine.settle();
  const auto completions = queue.poll();
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].status, WARPKEM_BACKEND_FAILED);
  EXPECT_TRUE(e.is_zero());
  EXPECT_EQ(warpkem_run(engine.get(), &sync.batch), WARPKEM_BACKEND_FAILED);
  EXPECT_EQ(seen.batches, 0u);
}

TEST(Abilities, TheSentinelAsksOnlyWhoHasIt) {
  SchedulerOptions options;
  options.cpu_sentinel = 1;
  {
    Scene s(nullptr, lacks_an_algorithm, true, one_thread(), options);
    const Oracle o(lacked), p(had);
    Queue queue(s.engine);
    Encaps a(o, 3, 1), b(p, 3, 2);
    submit(s.engine, a, to(queue));
    submit(s.engine, b, to(queue));
    s.engine.settle();
    EXPECT_EQ(queue.poll().size(), 2u);
    EXPECT_EQ(s.engine.counters().unchecked, 3u);
    EXPECT_EQ(s.engine.counters().checked, 3u);
    EXPECT_EQ(s.engine.counters().quarantines, 0u);
  }
}

TEST(Abilities, PreparedKeysAreMadeAndUsedWhereTheyCanBe) {
  for (auto* const lacks : {lacks_an_algorithm, lacks_prepared_keys}) {
    Scene s(lacks);
    const Oracle o(lacked);
    warpkem_keys* keys = nullptr;
    check(warpkem_prepare_ek(s.engine.get(), lacked, 1, {o.ek.data(), o.ek.size(), 0}, nullptr, nullptr, &keys));
    Queue queue(s.engine);
    Encaps a(o, 2, 1), b(o, 2, 2);
    for (Encaps* e : {&a, &b}) {
      e->batch.ek = {};
      e->batch.keys = keys;
    }
    check(warpkem_run(s.engine.get(), &a.batch));
    submit(s.engine, b, to(queue));
    s.engine.settle();
    EXPECT_EQ(queue.poll().size(), 1u);
    for (Encaps* e : {&a, &b}) {
      e->batch.ek.table = e->eks.data();
      e->batch.keys = nullptr;
      EXPECT_TRUE(e->is_right());
    }
    warpkem_keys_release(keys);
    EXPECT_EQ(s.seen[0].items, 0u);
    EXPECT_EQ(s.seen[1].items, 4u);
  }
}

// Also of a set that was made from them.
TEST(Abilities, ADkFormatMayBeLacking) {
  Scene s(lacks_seeds);
  const Oracle o(lacked);
  const std::vector<std::uint8_t> seed(64, static_cast<std::uint8_t>(lacked));
  Encaps e(o, 1, 1);
  check(warpkem_run(o.engine, &e.batch));
  std::vector<std::uint8_t> K(32);
  check(warpkem_decaps(s.engine.get(), lacked, WARPKEM_DK_SEED, 1, {seed.data(), 64, 0}, {e.c.data(), e.c.size(), 0},
                       {K.data(), 32, 0}, nullptr, nullptr));
  EXPECT_EQ(K, e.K);
  warpkem_keys* keys = nullptr;
  check(warpkem_prepare_dk(s.engine.get(), lacked, WARPKEM_DK_SEED, 1, {seed.data(), 64, 0}, nullptr, nullptr, &keys));
  K.assign(32, 0);
  check(warpkem_decaps_prepared(s.engine.get(), keys, nullptr, 1, {e.c.data(), e.c.size(), 0}, {K.data(), 32, 0},
                                nullptr, nullptr));
  warpkem_keys_release(keys);
  EXPECT_EQ(K, e.K);
  EXPECT_EQ(s.seen[0].items, 0u);
  EXPECT_EQ(s.seen[1].items, 2u);
}

TEST(Abilities, TheSelfTestIsOfWhatABackendHasAndItsDetailSaysWhatItLacks) {
  Scene s(lacks_an_algorithm);
  check(warpkem_selftest(s.engine.get(), "first"));
  EXPECT_NE(s.seen[0].batches, 0u);
  warpkem_backend_info info{};
  info.struct_size = sizeof info;
  check(warpkem_engine_backend(s.engine.get(), 0, &info));
  EXPECT_NE(std::string(info.detail).find("; without ML-KEM-512"), std::string::npos) << info.detail;
  check(warpkem_engine_backend(s.engine.get(), 1, &info));
  EXPECT_EQ(std::string(info.detail).find("without"), std::string::npos) << info.detail;
}

}  // namespace
}  // namespace warpkem::testing
